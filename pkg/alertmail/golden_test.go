package alertmail_test

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"stormcheck/pkg/rows"
)

// situations are what a message can be about, each with its rows.
var situations = map[string][]cells{
	"killed": {with(incident, rows.UID, 1001, rows.Archived, "/var/lib/stormcheck/archive/groucho.956639822", rows.Parent, "404:812:imap-login", rows.Oldest, "2000-04-25T05:14:02Z")},
	"trimmed": {{rows.UID: "1001", rows.Count: "75", rows.Actions: "alert=60 trim=60", rows.Killed: "16", rows.Remaining: "0",
		rows.Notes: "killstorm: " + rows.FormatTrimmed(16, 75, 59)}},
	"dry-run": {{rows.UID: "1001", rows.Count: "120", rows.Actions: "alert=60 archive=60 kill=100",
		rows.Notes: "killstorm: " + rows.FormatWouldKill(120) + ": pids 523 525 and 118 more"}},
	"partly-killed": {with(incident, rows.UID, 1001, rows.Killed, 398, rows.Remaining, 6,
		rows.Errors, "killstorm: "+rows.FormatRemaining(6, "6 uninterruptible (D)"))},
	"respawned": {with(incident, rows.UID, 1001, rows.Remaining, 12, rows.Errors, "killstorm: "+rows.FormatRemaining(12, "12 respawned"))},
	"zombies": {{rows.User: "root", rows.UID: "0", rows.Proc: "sleep", rows.Count: "25", rows.Zombies: "22", rows.Actions: "alert=20",
		rows.Parent: "25:811:backup.sh"}},
	"subsided": {{rows.UID: "1001", rows.Actions: "alert=60 kill=100", rows.Killed: "0", rows.Remaining: "0",
		rows.Notes: "killstorm: " + rows.FormatSubsided(0, "120 named bash started at the same time")}},
	"not-working": {gap("moscow", "threshold: /etc/stormcheck/limits.csv:33: kill: ' 100' is not a number")},
	"churn": {{rows.UID: "1001", rows.Proc: "curl", rows.Count: "3", rows.Zombies: "0", rows.Started: "8700", rows.Actions: "alert=3000/m",
		rows.Parent: "3:4711:bash"}},
	"many": {
		with(incident, rows.UID, 1001), {rows.User: "harpo", rows.UID: "1002", rows.Count: "150", rows.Actions: "alert=60"},
		{rows.User: "chico", rows.UID: "1003", rows.Proc: "httpd", rows.Count: "90", rows.Actions: "alert=60", rows.Errors: "mine: no luck"},
		{rows.Host: "tula", rows.User: "zeppo", rows.UID: "1004", rows.Count: "61", rows.Actions: "alert=60"},
	},
	"page": {with(incident, rows.UID, 1001, rows.Actions, "alert=60 page=100 kill=100")},
}

// TestMessagesAsDocumented holds what is sent against testdata/mail, where a reader sees
// what the product says. UPDATE=1 writes the files. Python's email and s-nail read each
// back.
func TestMessagesAsDocumented(t *testing.T) {
	dir, err := filepath.Abs("../../testdata/mail")
	if err != nil {
		t.Fatal(err)
	}
	for name, all := range situations {
		o := dry()
		if name == "page" {
			o.To, o.PageTo = nil, []string{"pager@example.org"}
		}
		golden(t, filepath.Join(dir, name+".txt"), quiet(t, o, stream(all...)))
	}
	s := newStory(t)
	for _, n := range []int{404, 911, 700, 120} {
		s.run(with(lasting, rows.Count, n))
	}
	for range 5 {
		s.run()
	}
	mails, _ := filepath.Glob(s.dir + "/mail.*")
	golden(t, filepath.Join(dir, "over.txt"), contents(t, mails[len(mails)-1]))
	documented, _ := filepath.Glob(dir + "/*.txt")
	readByPython(t, documented)
}

// golden holds a mail against a file, and against another program that reads mail.
func golden(t *testing.T, path, mail string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(mail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	same(t, mail, contents(t, path))
	if first, _, _ := strings.Cut(parse(t, mail).body, "\n"); first != parse(t, mail).subject {
		t.Errorf("%s: subject and first line differ", path)
	}
	readBySnail(t, path, mail)
}

// readByPython has Python's own reader of mail read the files, if it is there.
func readByPython(t *testing.T, paths []string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		return
	}
	cmd := exec.Command("python3", append([]string{"-c", `
import email, email.policy, sys, unicodedata
for path in sys.argv[1:]:
    m = email.message_from_binary_file(open(path, 'rb'), policy=email.policy.default)
    assert not m.defects and m.get_content_type() == 'text/plain', (path, m.defects)
    first = m.get_content().split('\n')[0]
    columns = sum(2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in first)
    assert m['Subject'] == first and columns <= 78, (path, m['Subject'], first)`}, paths...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
}

// readBySnail has s-nail, a descendant of the mail of BSD, show the mail, if it is there.
// It only runs for an account that has a name.
func readBySnail(t *testing.T, path, mail string) {
	t.Helper()
	snail, err := exec.LookPath("s-nail")
	if _, nameless := user.Current(); err != nil || nameless != nil {
		return
	}
	mbox := filepath.Join(t.TempDir(), "mbox")
	if err := os.WriteFile(mbox, []byte("From root Tue Apr 25 00:17:02 2000\n"+mail), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(snail, "-n", "-N", "-R", "-f", mbox)
	cmd.Env = []string{"LC_ALL=C.UTF-8", "HOME=/nonexistent", "MAILRC=/dev/null"}
	cmd.Stdin = strings.NewReader("print 1\n")
	out, err := cmd.CombinedOutput()
	want := parse(t, mail)
	header, body, _ := strings.Cut(string(out), "\n\n")
	if err != nil || !strings.Contains(header, "\nSubject: "+want.subject+"\n") || strings.TrimSpace(body) != strings.TrimSpace(want.body) {
		t.Errorf("%s: %v: s-nail shows %s", path, err, out)
	}
}

// TestSummaryFitsWithNamesOfAnyLengthAndScript: 78 columns as Unicode counts them.
func TestSummaryFitsWithNamesOfAnyLengthAndScript(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", 300), strings.Repeat("я", 120), strings.Repeat("日本", 80), strings.Repeat("ｗ", 90)} {
		row := with(incident, rows.User, name, rows.Proc, name, rows.Host, name, rows.UID, 1001)
		p := checkSafe(t, quiet(t, dry(), stream(row, lasting)))
		columns := 0
		for _, r := range p.subject {
			if columns++; strings.ContainsRune("日本ｗ", r) {
				columns++
			}
		}
		if columns > 78 || columns < 60 || !strings.Contains(p.subject, ": killed, mail saved (and 1 more)") {
			t.Errorf("%d columns: %s", columns, p.subject)
		}
	}
}
