package alertmail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
