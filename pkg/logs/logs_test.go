package logs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/logs"
)

// now is in the zone of the lines.
var now = time.Date(2000, 4, 25, 0, 17, 2, 0, time.FixedZone("CDT", -5*3600))

var groucho = logs.Subject{User: "groucho", Program: "imapd"}

// find returns what a source has about each subject within a window, and what was
// reported.
func find(source string, window time.Duration, subjects ...logs.Subject) (found [][]string, reported []string) {
	report := func(err error) { reported = append(reported, err.Error()) }
	return logs.Excerpts([]string{source}, subjects, now, window, report), reported
}

// about returns what a source has about one subject in the last ten minutes.
func about(t *testing.T, source string, subject logs.Subject) []string {
	t.Helper()
	found, reported := find(source, 10*time.Minute, subject)
	if len(reported) > 0 {
		t.Errorf("reported %q", reported)
	}
	return found[0]
}

// write writes a log of these lines, which needn't end in a newline.
func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newLog(t *testing.T, lines ...string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "mail.log")
	write(t, path, lines...)
	return path
}

func TestLinesAboutAUserAndAProgram(t *testing.T) {
	const at = "Apr 25 00:16:00 moscow "
	for _, c := range []struct {
		line string
		want bool
	}{
		{at + "dovecot: imap(groucho)<4711><x>: Disconnected", true},
		{at + "dovecot: imap-login: Login: user=<groucho>, method=PLAIN", true},
		{at + "imapd[4711]: Login user=groucho host=mail", true},
		{at + "imapd: groucho", true},
		{at + "imapd: for groucho.", true},
		{at + "imapd: groucho-", true},
		{at + "imapd: /home/groucho/mail", true},
		{at + "imapd: grouchox groucho", true},
		{at + "imapd: grouchox", false},
		{at + "imapd: xgroucho", false},
		{at + "imapd: groucho.marx", false},
		{at + "imapd: marx.groucho", false},
		{at + "imapd: old-groucho", false},
		{at + "imapd: groucho_2", false},
		{at + "imapd: grouchoä", false},
		{at + "imapdx: groucho", false},
		{at + "sendmail[3]: from=groucho", false},
		{at + "imapd: harpo", false},
		{at + "systemd-journald[1]: Suppressed 4711 messages from dovecot.service", true},
		{at + "x: Suppressed all messages", false},
		{"Apr 25 00:07:02 moscow imapd: groucho", true},
		{"Apr 25 00:07:01 moscow imapd: groucho", false},
		{"Apr 24 00:16:00 moscow imapd: groucho", false},
		{"Apr 27 00:16:00 moscow imapd: groucho of the year before", false},
		{"Apr  5 00:16:00 moscow imapd: groucho", false},
		{"2000-04-25T00:16:00-05:00 moscow imapd: groucho", true},
		{"2000-04-25T05:16:00.123456+00:00 moscow imapd: groucho", true},
		{"2000-04-25T05:16:00Z moscow imapd: groucho", true},
		{"2000-04-25T00:16:00+00:00 moscow imapd: groucho", false},
		{"imapd: groucho without a time", false},
		{"", false},
	} {
		path := newLog(t, at+"a line with a time", c.line, "")
		got := about(t, path, groucho)
		want := []string{}
		if c.want {
			want = []string{path + ":", c.line}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %q", c.line, got)
		}
	}
}

// Lines are whole wherever the blocks of the reading begin, and the search ends with the
// window.
func TestLinesAcrossBlocksAreWhole(t *testing.T) {
	var b strings.Builder
	for i := range 40000 { // 2.6 MB, of which the window is most
		fmt.Fprintf(&b, "Apr 25 00:%02d:%02d moscow dovecot: imap(harpo): %s\n", i/2500, i/42%60, strings.Repeat("x", i%50))
		if i%2500 == 0 {
			fmt.Fprintf(&b, "Apr 25 00:%02d:%02d moscow dovecot: imap(groucho): %d\n", i/2500, i/42%60, i)
		}
	}
	path := newLog(t, b.String())
	got := about(t, path, groucho)
	if len(got) != 9 || !strings.HasSuffix(got[1], " 20000") || !strings.HasSuffix(got[8], " 37500") {
		t.Errorf("%q", got)
	}
	if got, _ := find(path, time.Hour, groucho); len(got[0]) != 17 {
		t.Errorf("%q", got)
	}
	// A line longer than may be is passed over.
	path = newLog(t, "Apr 25 00:16:00 imapd: groucho 1", strings.Repeat("groucho", 1<<19), "Apr 25 00:16:00 imapd: groucho 2", "")
	if got := about(t, path, groucho); len(got) != 3 {
		t.Errorf("%.200q", got)
	}
}

func TestRotatedLogIsRead(t *testing.T) {
	const at = "Apr 25 00:16:00 moscow imapd: groucho "
	for _, name := range []string{".1", "-20000425"} {
		path := newLog(t, at+"new", "")
		write(t, path+name, at+"old\n")
		write(t, path+name+".gz", "")
		write(t, path+"-20000424", at+"older\n")
		got := about(t, path, groucho)
		if len(got) != 3 || got[1] != at+"old" || got[2] != at+"new" {
			t.Errorf("%s: %q", name, got)
		}
		// Not where this log goes further back than the window.
		write(t, path, "Apr 24 00:00:00 x\n"+at+"new\n")
		if got := about(t, path, groucho); len(got) != 2 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// journalctl is one that prints a text, in place of the machine's.
func journalctl(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestJournalIsSearched(t *testing.T) {
	args := filepath.Join(t.TempDir(), "args")
	journalctl(t, `echo "$@" >'`+args+`'; cat <<'END'
{"__REALTIME_TIMESTAMP":"956639821000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(groucho): newest"}
{"__REALTIME_TIMESTAMP":"956639820000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":[105,109,97,112,40,103,114,111,117,99,104,111,41,27,255]}
{"__REALTIME_TIMESTAMP":"956639819000000","_COMM":"imapd","MESSAGE":["groucho","twice"]}
{"__REALTIME_TIMESTAMP":"956639818000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":null}
{"__REALTIME_TIMESTAMP":"956639818000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(harpo): other"}
{"__REALTIME_TIMESTAMP":"956639817000000","SYSLOG_IDENTIFIER":"systemd-journald","MESSAGE":"Suppressed 99 messages from dovecot.service"}
{"__REALTIME_TIMESTAMP":"nonsense","SYSLOG_IDENTIFIER":"imapd","MESSAGE":"groucho"}
no json: imapd groucho
END`)
	got := strings.Join(about(t, "journal", groucho), "\n")
	const want = `journal:
Apr 25 00:16:57 systemd-journald: Suppressed 99 messages from dovecot.service
Apr 25 00:16:59 imapd: groucho twice
Apr 25 00:17:00 dovecot: imap(groucho)\x1b\xff
Apr 25 00:17:01 dovecot: imap(groucho): newest`
	if got != want {
		t.Errorf("%s", got)
	}
	if got, _ := os.ReadFile(args); !strings.Contains(string(got), "--output=json") || !strings.Contains(string(got), "--since=@956639222\n") {
		t.Errorf("asked with %s", got)
	}
}

// A journalctl that hangs is ended, so is one with much more than is wanted, and one that
// fails is reported.
func TestJournalctlHasBounds(t *testing.T) {
	entry := `{"__REALTIME_TIMESTAMP":"956639821000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(groucho): x"}`
	start := time.Now()
	journalctl(t, `echo '`+entry+`'; sleep 600 & wait`)
	if got := about(t, "journal", groucho); len(got) != 3 || got[1] != "(not searched to its end)" {
		t.Errorf("%q", got)
	}
	journalctl(t, `yes '`+entry+`'`)
	if got := about(t, "journal", groucho); len(got) != 21 {
		t.Errorf("%q", got)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	journalctl(t, `echo 'no journal' >&2; exit 1`)
	if found, problems := find("journal", time.Hour, groucho); len(problems) != 1 || problems[0] != `journalctl: exit status 1: "no journal"` || len(found[0]) != 2 {
		t.Errorf("reported %q, found %q", problems, found)
	}
	t.Setenv("PATH", t.TempDir())
	if _, problems := find("journal", time.Hour, groucho); len(problems) != 1 || problems[0] != "journalctl: executable file not found in $PATH" {
		t.Errorf("reported %q", problems)
	}
}

// Programs write the time of their own logs in forms of their own.
func TestFormsOfTimes(t *testing.T) {
	for _, c := range []struct {
		proc, line string
		want       bool
	}{
		{"exim4", "2000-04-25 00:16:00 1tGxYz-000AbC-2d <= groucho@moscow U=groucho P=local S=500", true},
		{"exim", "2000-04-25 00:16:00.123 -0500 [811] 1tGxYz-00000AbCdEf-1aB2 => groucho <groucho@moscow>", true},
		{"sendmail", "2000-04-25 05:16:00 +0000 1tGxYz-000AbC-2d <= groucho@moscow", true},
		{"exim4", "1999-04-25 00:16:00 1tGxYz-000AbC-2d <= groucho@moscow", false},
		{"vi", "2000-04-25 00:16:00 1tGxYz-000AbC-2d <= groucho@moscow", false},
		{"vi", "2000-04-25 00:16:00 vi: groucho", true},
		{"imapd", "2000-04-25T05:16:00.123456+0000 moscow imapd: groucho", true},
		{"imapd", "2000-04-25T00:16:00,5-0500 moscow imapd: groucho", true},
		{"imapd", "2000-04-25T00:16:00.123456789-05:00 moscow imapd: groucho", true},
		{"apache2", `10.0.0.1 - groucho [25/Apr/2000:00:16:00 -0500] "GET / HTTP/1.1" 200 9`, true},
		{"httpd", `10.0.0.1 - - [25/Apr/2000:05:16:00 +0000] "GET /~groucho/ HTTP/1.1" 200 9`, true},
		{"httpd", `10.0.0.1 - - [24/Apr/2000:05:16:00 +0000] "GET /~groucho/ HTTP/1.1" 200 9`, false},
		{"apache2", "[Tue Apr 25 00:16:00.123456 2000] [core:error] [pid 4711] /home/groucho: denied", true},
		{"cron", "Apr 25 00:16:00 moscow CRON[4711]: (groucho) CMD (true)", true},
		{"crond", "Apr 25 00:16:00 moscow CROND[4711]: (groucho) CMD (true)", true},
		{"sshd", "Apr 25 00:16:00 moscow sshd-auth[4711]: Failed password for groucho", true},
		{"sshd-session", "Apr 25 00:16:00 moscow sshd-auth[4711]: Failed password for groucho", true},
		{"sshd-session", "Apr 25 00:16:00 moscow sshd[4711]: Accepted publickey for groucho", true},
	} {
		got := about(t, newLog(t, c.line, ""), logs.Subject{User: "groucho", Program: c.proc})
		if found := len(got) > 0; found != c.want {
			t.Errorf("%s: %q: found %t", c.proc, c.line, found)
		}
	}
}

// It is named once, not with each subject.
func TestLogWithoutKnownTimesIsNamedOnce(t *testing.T) {
	path := newLog(t, "groucho ran imapd at noon", "so he did", "")
	got, _ := find(path, time.Hour, groucho, logs.Subject{User: "harpo"})
	if len(got[0]) != 2 || len(got[1]) != 0 || got[0][1] != "(no line has a known time)" {
		t.Errorf("%q", got)
	}
	if got := about(t, newLog(t, ""), groucho); len(got) > 0 {
		t.Errorf("an empty log: %q", got)
	}
}
