package alertmail_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/alertmail"
)

// mailing returns Options that send by a mailer of these shell lines, and the
// directory that it runs in.
func mailing(t *testing.T, script string) (o alertmail.Options, dir string) {
	t.Helper()
	o, dir = dry(), t.TempDir()
	o.DryRun, o.Deadline = false, 20*time.Second
	o.Sendmail = filepath.Join(dir, "sendmail")
	if err := os.WriteFile(o.Sendmail, []byte("#!/bin/sh\ncd '"+dir+"'\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return o, dir
}

func contents(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestMailerGetsTheMessage(t *testing.T) {
	o, dir := mailing(t, `for a; do echo "<$a>"; done >args; cat >mail; echo done; echo 'warning: queue is slow' >&2`)
	o.To = []string{"root", "admin@example.org"}
	if out := quiet(t, o, several); out != "" {
		t.Errorf("printed %q", out)
	}
	same(t, contents(t, dir, "args"), "<-i>\n<-froot@moscow>\n<-->\n<root>\n<admin@example.org>\n")
	whole := o
	whole.DryRun = true
	same(t, contents(t, dir, "mail"), quiet(t, whole, several))
}

func TestNoMailWithoutAStorm(t *testing.T) {
	o, dir := mailing(t, `touch called`)
	quiet(t, o, stream(cells{}))
	o.DryRun = true
	quiet(t, o, stream(incident))
	if _, err := os.Stat(filepath.Join(dir, "called")); err == nil {
		t.Error("mailer called")
	}
}

func TestMessageThatIsNotTakenGoesToStderr(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"try later", `exit 75`, "exit status 75"},
		{"unread", `exec <&-; exit 1`, "exit status 1"},
		{"says why", `cat >/dev/null; echo 'no such queue' >&2; printf '\033[2J' >&2; exit 71`, `exit status 71: "no such queue\n\x1b[2J"`},
		{"says much", `yes | head -c 100000 >&2; exit 1`, `exit status 1: "` + strings.Repeat(`y\n`, 99) + `y"`},
		{"dies", `kill -KILL $$`, "signal: killed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _ := mailing(t, c.script)
			if _, problems := run(t, o, several); len(problems) != 1 || problems[0] != o.Sendmail+": "+c.want {
				t.Errorf("reported %q, want %q", problems, c.want)
			}
		})
	}
	o := dry()
	o.DryRun, o.Deadline = false, time.Second
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		t.TempDir():                        "permission denied",
		"no-such-mailer":                   "executable file not found in $PATH",
	} {
		o.Sendmail = path
		if _, problems := run(t, o, several); len(problems) != 1 || problems[0] != path+": "+want {
			t.Errorf("reported %q, want %q", problems, want)
		}
	}
}

// TestStatusIsOneIfNotTaken: the command says which mailer didn't take it and ends with 1.
func TestStatusIsOneIfNotTaken(t *testing.T) {
	o, dir := mailing(t, `for a; do echo "<$a>"; done >args; test ! -e full`)
	args := []string{"--to", "root", "--from", "Storm <storm@example.org>", "--sendmail", o.Sendmail}
	if out, problems, status := tool(several, args...); out != "" || problems != "" || status != 0 {
		t.Errorf("status %d, %s%s", status, out, problems)
	}
	same(t, contents(t, dir, "args"), "<-i>\n<-fstorm@example.org>\n<-->\n<root>\n")
	if err := os.WriteFile(filepath.Join(dir, "full"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, problems, status := tool(several, args...)
	// No later run reports it: it must be seen here.
	said, text, _ := strings.Cut(problems, "\n")
	if out != "" || said != "alertmail: "+o.Sendmail+": exit status 1" || !strings.Contains(text, "\n         404 groucho imapd\n") || status != 1 {
		t.Errorf("status %d, %s%s", status, out, problems)
	}
}

// TestHangingMailerIsKilledWithItsChildren: a mailer that doesn't end is killed at the deadline with its own
// children. All of them hold a pipe, which is at its end when they are gone.
func TestHangingMailerIsKilledWithItsChildren(t *testing.T) {
	t.Parallel()
	o, dir := mailing(t, `exec 3>alive; echo >&3; sleep 600 & sleep 600`)
	o.Deadline = 2 * time.Second
	alive := filepath.Join(dir, "alive")
	if err := unix.Mkfifo(alive, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(alive, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	start := time.Now()
	_, problems := run(t, o, several)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %s", took)
	}
	if want := o.Sendmail + ": killed, not done within 2s"; len(problems) != 1 || problems[0] != want {
		t.Errorf("reported %q, want %q", problems, want)
	}
	_ = reader.SetReadDeadline(time.Now().Add(time.Minute))
	if text, err := io.ReadAll(reader); err != nil || string(text) != "\n" {
		t.Errorf("the mailer or its child lives on: read %q, %v", text, err)
	}
}

// TestTakenInBackground: a mailer that leaves the delivery to a child of its own
// has taken the message, and the child isn't ours to end.
func TestTakenInBackground(t *testing.T) {
	o, dir := mailing(t, `cat >mail; (for i in $(seq 200); do test -e go && exec touch gone; sleep 0.1; done) &`)
	start := time.Now()
	quiet(t, o, several)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "gone")); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the delivery was ended")
		}
	}
}

// TestGoesOnAfterFailure: with --each a message that isn't taken doesn't keep
// the next from being sent.
func TestGoesOnAfterFailure(t *testing.T) {
	o, dir := mailing(t, `cat >>mail; exit 1`)
	o.Each = true
	if _, problems := run(t, o, several+several); len(problems) != 2 {
		t.Errorf("reported %q", problems)
	}
	if n := strings.Count(contents(t, dir, "mail"), "Message-ID"); n != 2 {
		t.Errorf("%d messages", n)
	}
}
