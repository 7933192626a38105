# remote.pl - runs in an emulated machine what remote.py sends: a line with the length of
# a command, the command, and its standard input. It answers with a line of the exit status
# and the length of standard output, then with that and standard error.
use strict;
use IO::Socket::INET;

my $all = IO::Socket::INET->new(LocalPort => 7000, Listen => 64, ReuseAddr => 1) or die "port 7000: $@";
$SIG{CHLD} = 'IGNORE';
while (1) {
	my $peer = $all->accept or next;
	next if fork;
	$SIG{CHLD} = 'DEFAULT';
	$/ = \65536;
	my ($length, $byte, $command, %file) = '';
	while ($peer->read($byte, 1) && $byte ne "\n") { $length .= $byte }
	$peer->read($command, $length);
	for my $name (qw(in out err)) { open $file{$name}, '+>', "/run/remote/$name.$$" or die $!; unlink "/run/remote/$name.$$" }
	print { $file{in} } $_ while <$peer>;
	$file{in}->flush;
	my $pid = fork;
	if (!$pid) {
		close $all;
		close $peer;
		sysseek $file{in}, 0, 0;
		open STDIN, '<&', $file{in};
		open STDOUT, '>&', $file{out};
		open STDERR, '>&', $file{err};
		exec '/bin/bash', '-c', $command;
	}
	waitpid $pid, 0;
	printf $peer "%d %d\n", $? & 127 ? 128 + ($? & 127) : $? >> 8, -s $file{out};
	for my $name (qw(out err)) { seek $file{$name}, 0, 0; print $peer $_ while readline $file{$name} }
	exit;
}
