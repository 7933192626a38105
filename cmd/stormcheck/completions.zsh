#compdef procstat threshold mailarchive killstorm alertmail stormcheck
# Completions of stormcheck's commands, from their flags. Made by
#	go test ./cmd -run TestCompletions -update
case $service in
procstat)
	_arguments \
		'(--min)--min[only rows of N processes or more (default 1)]:N:' \
		'(--total)--total[also a row for all processes of each user, with proc *]' \
		'(--host)--host[NAME in the host column (default: this machine'\''s node name)]:NAME:' \
		'(--input)--input[take the text of ps from FILE, - for standard input; needs --host]:FILE:_files' \
		'(--every)--every[a snapshot each DUR, until told to end]:DUR:' \
		'(--no-realtime)--no-realtime[with --every, run at the priority that it was started with]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
threshold)
	_arguments \
		'(--limits)--limits[the table of limits is in FILE (default /etc/stormcheck/limits.csv where it exists, else built in)]:FILE:_files' \
		'(--all)--all[pass rows that reach no limit too, with empty actions]' \
		'(--log)--log[append the rows that reach the limit log to FILE too]:FILE:_files' \
		'(--dry-run -n)--dry-run[write no log]' \
		'(--dry-run -n)-n[write no log]' \
		'(--print-limits)--print-limits[print the table in force, and end]' \
		'(--check)--check[report every fault of the table, and end]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
mailarchive)
	_arguments \
		'(--dir)--dir[make copies in DIR (default /var/lib/stormcheck/archive)]:DIR:_files' \
		'*--mailbox[a mailbox is PATH, with {user} or {home} in it (default /var/mail/{user} and /var/mail/.{user}.pop)]:PATH:_files' \
		'(--host)--host[act on the rows of host NAME (default: this machine'\''s node name)]:NAME:' \
		'(--dry-run -n)--dry-run[copy nothing, note what would be]' \
		'(--dry-run -n)-n[copy nothing, note what would be]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
killstorm)
	_arguments \
		'(--signal)--signal[send SIG first, and KILL to what is left 5 s later (default KILL)]:SIG:' \
		'(--timeout)--timeout[give a row up after DUR (default 30s)]:DUR:' \
		'(--host)--host[act on the rows of host NAME (default: this machine'\''s node name)]:NAME:' \
		'(--dry-run -n)--dry-run[signal nobody, note who would be]' \
		'(--dry-run -n)-n[signal nobody, note who would be]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
alertmail)
	_arguments \
		'*--to[mail the message to ADDR; repeatable (default: print it)]:ADDR:' \
		'(--from)--from[sender ADDR (default: root at this machine)]:ADDR:' \
		'(--each)--each[a message at each snapshot'\''s end, not one at the end of input]' \
		'(--title)--title[TEXT above the message (default STORM ALERT)]:TEXT:' \
		'(--level)--level[one LEVEL of emergency, urgent, critical, error, warning, notice, info, debug (default: urgent or warning, by the actions)]:LEVEL:' \
		'(--name)--name[NAME of the check (default stormcheck)]:NAME:' \
		'(--task)--task[TEXT that says what the check does]:TEXT:' \
		'(--sendmail)--sendmail[mailer at PATH (default /usr/sbin/sendmail)]:PATH:_files' \
		'(--log)--log[append all rows to FILE]:FILE:_files' \
		'(--dry-run -n)--dry-run[print what would be sent, and log nothing]' \
		'(--dry-run -n)-n[print what would be sent, and log nothing]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
stormcheck)
	_arguments \
		'(--dry-run -n)--dry-run[touch nothing, show what would be done]' \
		'(--dry-run -n)-n[touch nothing, show what would be done]' \
		'(--every)--every[stand ready, and look each DUR]:DUR:' \
		'(--check)--check[say what is well and what is wrong, and end]' \
		'(--status)--status[show the last run and what was done, and end]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
esac
