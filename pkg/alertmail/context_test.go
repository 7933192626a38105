package alertmail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/rows"
)

// quoted returns the lines of logs in a text.
func quoted(text string) (lines []string) {
	for _, line := range strings.Split(text, "\n") {
		if line, is := strings.CutPrefix(line, "        | "); is {
			lines = append(lines, line)
		}
	}
	return lines
}

// logs returns Options with a log of these lines, which needn't end in a newline.
func logs(t *testing.T, lines ...string) alertmail.Options {
	t.Helper()
	o := printed()
	path := filepath.Join(t.TempDir(), "mail.log")
	writeLog(t, path, strings.Join(lines, "\n"))
	o.Context = []string{path}
	return o
}

func writeLog(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestContextLines(t *testing.T) {
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
		o := logs(t, at+"a line with a time", c.line, "")
		got := quoted(quiet(t, o, stream(incident)))
		want := []string{}
		if c.want {
			want = []string{o.Context[0] + ":", c.line}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %q", c.line, got)
		}
	}
}

// TestContextStandsBelowWhatWasDone: below what was done, for each row its own, the last 20, each cut
// to 200 bytes, and nothing that a terminal would obey.
func TestContextStandsBelowWhatWasDone(t *testing.T) {
	const at = "Apr 25 00:16:00 moscow dovecot: "
	var lines []string
	for i := range 30 {
		lines = append(lines, fmt.Sprintf("%simap(groucho): %d", at, i), at+"imap(harpo): \x1b[2J"+strings.Repeat("x", 300))
	}
	o := logs(t, append(lines, at+"imap(groucho): unfinished")...)
	text := below(t, quiet(t, o, stream(incident, with(incident, rows.User, "harpo", rows.Count, 3), with(incident, rows.User, "zeppo", rows.Count, 1))))
	blocks := strings.Split(text, "\n\n")
	if len(blocks) != 3 {
		t.Fatal(text)
	}
	groucho := quoted(blocks[0])
	if len(groucho) != 21 || groucho[1] != at+"imap(groucho): 10" || groucho[20] != at+"imap(groucho): 29" {
		t.Errorf("%q", groucho)
	}
	if !strings.Contains(blocks[0], "killed all groucho imapd processes\n        | "+o.Context[0]+":\n") {
		t.Error(blocks[0])
	}
	harpo := quoted(blocks[1])
	if len(harpo) != 21 || len(harpo[1]) != 200 || !strings.HasPrefix(harpo[1], at+`imap(harpo): \x1b[2Jxxx`) {
		t.Errorf("%q", harpo)
	}
	if strings.Contains(blocks[2], "|") {
		t.Errorf("lines about nobody: %s", blocks[2])
	}
}

// TestContextAcrossBlocks: lines are whole wherever the blocks of the reading begin,
// and the search ends with the window.
func TestContextAcrossBlocks(t *testing.T) {
	var b strings.Builder
	for i := range 40000 { // 2.6 MB, of which the window is most
		fmt.Fprintf(&b, "Apr 25 00:%02d:%02d moscow dovecot: imap(harpo): %s\n", i/2500, i/42%60, strings.Repeat("x", i%50))
		if i%2500 == 0 {
			fmt.Fprintf(&b, "Apr 25 00:%02d:%02d moscow dovecot: imap(groucho): %d\n", i/2500, i/42%60, i)
		}
	}
	o := logs(t, b.String())
	got := quoted(quiet(t, o, stream(incident)))
	if len(got) != 9 || !strings.HasSuffix(got[1], " 20000") || !strings.HasSuffix(got[8], " 37500") {
		t.Errorf("%q", got)
	}
	o.Window = time.Hour
	if got := quoted(quiet(t, o, stream(incident))); len(got) != 17 {
		t.Errorf("%q", got)
	}
	// A line longer than may be is passed over.
	o = logs(t, "Apr 25 00:16:00 imapd: groucho 1", strings.Repeat("groucho", 1<<19), "Apr 25 00:16:00 imapd: groucho 2", "")
	if got := quoted(quiet(t, o, stream(incident))); len(got) != 3 {
		t.Errorf("%.200q", got)
	}
}

func TestContextReadsTheRotatedLog(t *testing.T) {
	const at = "Apr 25 00:16:00 moscow imapd: groucho "
	for _, name := range []string{".1", "-20000425"} {
		o := logs(t, at+"new", "")
		writeLog(t, o.Context[0]+name, at+"old\n")
		writeLog(t, o.Context[0]+name+".gz", "")
		writeLog(t, o.Context[0]+"-20000424", at+"older\n")
		got := quoted(quiet(t, o, stream(incident)))
		if len(got) != 3 || got[1] != at+"old" || got[2] != at+"new" {
			t.Errorf("%s: %q", name, got)
		}
		// Not where this log goes further back than the window.
		writeLog(t, o.Context[0], "Apr 24 00:00:00 x\n"+at+"new\n")
		if got := quoted(quiet(t, o, stream(incident))); len(got) != 2 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestContextSaysWhatIsWrongWithALog: what is wrong with a log is said in the message too, and
// nothing waits for it.
func TestContextSaysWhatIsWrongWithALog(t *testing.T) {
	o := printed()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{
		fifo: "not a regular file", dir: "not a regular file", dir + "/none": "no such file or directory", "/dev/zero": "not a regular file",
	} {
		o.Context = []string{path}
		out, problems := run(t, o, stream(incident))
		if want := path + ": " + why; len(problems) != 1 || problems[0] != want || !strings.Contains(out, "        | "+path+":\n        | ("+want+")\n") {
			t.Errorf("%s: reported %q, message\n%s", path, problems, out)
		}
	}
	o.Context = []string{filepath.Join(dir, "empty")}
	writeLog(t, o.Context[0], "")
	if got := quoted(quiet(t, o, stream(incident))); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestContextGivesWay: what was done stands before any log, however many rows.
func TestContextGivesWay(t *testing.T) {
	line := "Apr 25 00:16:00 moscow imapd: u%d " + strings.Repeat("x", 150)
	var lines []string
	var all []cells
	for i := range 50 {
		for range 20 {
			lines = append(lines, fmt.Sprintf(line, i))
		}
		all = append(all, with(incident, rows.User, fmt.Sprintf("u%d", i), rows.Count, 900-i))
	}
	o := logs(t, append(lines, "")...)
	text := quiet(t, o, stream(all...))
	if n := strings.Count(text, "\n        killed all u"); n != 50 || len(text) >= 64<<10 {
		t.Errorf("%d rows in %d bytes", n, len(text))
	}
	if n := len(quoted(text)); n < 200 || n > 400 {
		t.Errorf("%d lines of the log", n)
	}
}

// journalctl is one that prints a text, in place of the machine's.
func journalctl(t *testing.T, script string) alertmail.Options {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	o := printed()
	o.Context = []string{"journal"}
	return o
}

func TestJournalIsSearched(t *testing.T) {
	args := filepath.Join(t.TempDir(), "args")
	o := journalctl(t, `echo "$@" >'`+args+`'; cat <<'END'
{"__REALTIME_TIMESTAMP":"956639821000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(groucho): newest"}
{"__REALTIME_TIMESTAMP":"956639820000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":[105,109,97,112,40,103,114,111,117,99,104,111,41,27,255]}
{"__REALTIME_TIMESTAMP":"956639819000000","_COMM":"imapd","MESSAGE":["groucho","twice"]}
{"__REALTIME_TIMESTAMP":"956639818000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":null}
{"__REALTIME_TIMESTAMP":"956639818000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(harpo): other"}
{"__REALTIME_TIMESTAMP":"956639817000000","SYSLOG_IDENTIFIER":"systemd-journald","MESSAGE":"Suppressed 99 messages from dovecot.service"}
{"__REALTIME_TIMESTAMP":"nonsense","SYSLOG_IDENTIFIER":"imapd","MESSAGE":"groucho"}
no json: imapd groucho
END`)
	got := strings.Join(quoted(quiet(t, o, stream(incident))), "\n")
	same(t, got, `journal:
Apr 25 00:16:57 systemd-journald: Suppressed 99 messages from dovecot.service
Apr 25 00:16:59 imapd: groucho twice
Apr 25 00:17:00 dovecot: imap(groucho)\x1b\xff
Apr 25 00:17:01 dovecot: imap(groucho): newest`)
	if got := contents(t, args); !strings.Contains(got, "--output=json") || !strings.Contains(got, "--since=@956639222\n") {
		t.Errorf("asked with %s", got)
	}
}

// TestJournalBounds: one that hangs is ended, one with much more than is wanted too,
// and one that fails is said to.
func TestJournalBounds(t *testing.T) {
	entry := `{"__REALTIME_TIMESTAMP":"956639821000000","SYSLOG_IDENTIFIER":"dovecot","MESSAGE":"imap(groucho): x"}`
	start := time.Now()
	o := journalctl(t, `echo '`+entry+`'; sleep 600 & wait`)
	if got := quoted(quiet(t, o, stream(incident))); len(got) != 3 || got[1] != "(not searched to its end)" {
		t.Errorf("%q", got)
	}
	o = journalctl(t, `yes '`+entry+`'`)
	if got := quoted(quiet(t, o, stream(incident))); len(got) != 21 {
		t.Errorf("%q", got)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	o = journalctl(t, `echo 'no journal' >&2; exit 1`)
	if out, problems := run(t, o, stream(incident)); len(problems) != 1 || problems[0] != `journalctl: exit status 1: "no journal"` || len(quoted(out)) != 2 {
		t.Errorf("reported %q, message %s", problems, out)
	}
	t.Setenv("PATH", t.TempDir())
	if _, problems := run(t, o, stream(incident)); len(problems) != 1 || problems[0] != "journalctl: executable file not found in $PATH" {
		t.Errorf("reported %q", problems)
	}
}

func FuzzLog(f *testing.F) {
	f.Add("Apr 25 00:16:00 imapd: groucho\n", "groucho", "imapd")
	f.Add("2000-04-25T00:16:00-05:00 imapd: \x1b[2J groucho\r\nSuppressed 3 messages\n", "groucho", "imapd")
	f.Add("Apr 25 00:16:00 Suppressed 3 messages\n\n\ngroucho", `\x0a`, `\xff`)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, log, user, proc string) {
		if user == "count" || proc == "count" {
			return // it may be a header
		}
		o := dry()
		o.Context = []string{filepath.Join(dir, "log")}
		writeLog(t, o.Context[0], log)
		checkSafe(t, quiet(t, o, stream(with(incident, rows.User, user, rows.Proc, proc))))
	})
}

// TestFormsOfLogs: the forms in which programs write the time of their own logs.
func TestFormsOfLogs(t *testing.T) {
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
		o := logs(t, c.line, "")
		got := quoted(quiet(t, o, stream(with(incident, rows.Proc, c.proc))))
		if found := len(got) > 0; found != c.want {
			t.Errorf("%s: %q: found %t", c.proc, c.line, found)
		}
	}
}

// TestLogWithoutKnownTimesIsNamedOnce: a log in which no line has a known time is named once, not with
// each row.
func TestLogWithoutKnownTimesIsNamedOnce(t *testing.T) {
	o := logs(t, "groucho ran imapd at noon", "so he did", "")
	got := quoted(quiet(t, o, stream(incident, with(incident, rows.User, "harpo"))))
	if len(got) != 2 || got[1] != "(no line has a known time)" {
		t.Errorf("%q", got)
	}
	if got := quoted(quiet(t, logs(t, ""), stream(incident))); len(got) > 0 {
		t.Errorf("an empty log: %q", got)
	}
}
