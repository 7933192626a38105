package alertmail_test

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stormcheck/pkg/rows"
)

func TestTextOfTheIncident(t *testing.T) {
	o := printed()
	o.Title, o.Level = "PIKT ALERT", "urgent"
	o.Name, o.Task = "ProcNumChkUrgent", "Report unusually high numbers of per-user procs."
	same(t, quiet(t, o, stream(incident)), `404 groucho imapd on moscow: killed, mail saved

                                PIKT ALERT
                         Tue Apr 25 00:17:02 2000
                                  moscow

URGENT:
    ProcNumChkUrgent
        Report unusually high numbers of per-user procs.

         404 groucho imapd
        saved user mail file as /var/mail/arc/groucho.956639822
        killed all groucho imapd processes

What to do next, on moscow:
    look:   ps -u groucho -o pid,ppid,stat,lstart,wchan:20,args
            pgrep -c -u groucho -x imapd
    exempt: a row groucho,imapd
            in /etc/stormcheck/limits.d/00-off.csv, with the header user,proc
    read:   man stormcheck
`)
}

// several is a snapshot with something of everything.
var several = stream(
	cells{rows.User: "chico", rows.Count: "61", rows.Actions: "alert=60"},
	cells{rows.Actions: "alert=60 kill=100", rows.Archived: "/a/groucho.1:/a/groucho.1.pop", rows.Killed: "398", rows.Remaining: "6",
		rows.Notes: "mailarchive: unchanged since 2000-04-25T05:15:02Z; mine: seen before", rows.Errors: "killstorm: 12 uninterruptible (D); mine: no luck"},
	cells{rows.Host: "tula", rows.User: "harpo", rows.Count: "12345", rows.Actions: "alert=60 kill=100", rows.Killed: "0", rows.Remaining: "0",
		rows.Notes: "mailarchive: not this host; killstorm: not this host"},
	cells{rows.User: "zeppo", rows.Proc: "", rows.Actions: "kill=100", rows.Notes: "killstorm: would kill 404 (dry run): pids 1 2 3", rows.Errors: "mailarchive: /var/mail/zeppo: a symbolic link"},
)

func TestWholeMail(t *testing.T) {
	o := dry()
	o.To = []string{"root", "admin@example.org"}
	same(t, quiet(t, o, several), `From: stormcheck <root@moscow>
To: root,
 admin@example.org
Subject: 404 groucho imapd on moscow: killed 398, 6 LEFT, mail saved (and 3 more)
Date: Tue, 25 Apr 2000 00:17:02 -0500
Message-ID: <stormcheck.956639822000000005.4711@moscow>
References: <stormcheck.ee95692c46cd194a8f7a5fed@moscow>
 <stormcheck.98d268662f10b11a96d464f2@moscow>
 <stormcheck.32eebfaa5303ec092be59a2d@moscow>
 <stormcheck.4c768b76c7b14f904ba553b5@moscow>
Auto-Submitted: auto-generated
Precedence: bulk
X-Auto-Response-Suppress: All
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

404 groucho imapd on moscow: killed 398, 6 LEFT, mail saved (and 3 more)

                               STORM ALERT
                         Tue Apr 25 00:17:02 2000
                                  moscow

URGENT:
    stormcheck
        Report unusually high numbers of per-user processes.

         404 groucho imapd
        saved user mail file as /a/groucho.1
        saved user mail file as /a/groucho.1.pop
        mailbox unchanged since the copy of 00:15 -0500
        killed 398 groucho imapd processes, 6 remaining
        mine: seen before
        FAILED killstorm: 12 uninterruptible (D)
        FAILED mine: no luck

         404 zeppo ""
        would kill 404 (dry run): pids 1 2 3
        FAILED mailarchive: /var/mail/zeppo: a symbolic link

        12345 harpo imapd on tula
        not this host

          61 chico imapd

What to do next, on moscow:
    look:   ps -u groucho -o pid,ppid,stat,lstart,wchan:20,args
            pgrep -c -u groucho -x imapd
    end:    stormcheck --end groucho/imapd
    exempt: a row groucho,imapd
            in /etc/stormcheck/limits.d/00-off.csv, with the header user,proc
    read:   man stormcheck
`)
}

// A parsed is a mail as a program of others reads it.
type parsed struct {
	header  mail.Header
	subject string // decoded
	body    string // decoded
}

func parse(t *testing.T, text string) parsed {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	var body io.Reader = m.Body
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	decoded, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return parsed{m.Header, subject, string(decoded)}
}

func TestParsesAsMail(t *testing.T) {
	p := parse(t, quiet(t, dry(), stream(incident)))
	if date, err := p.header.Date(); err != nil || date.Unix() != 956639822 {
		t.Errorf("date %v, %v", date, err)
	}
	from, err := p.header.AddressList("From")
	if err != nil || len(from) != 1 || *from[0] != (mail.Address{Name: "stormcheck", Address: "root@moscow"}) {
		t.Errorf("from %v, %v", from, err)
	}
	o := printed()
	same(t, p.body, quiet(t, o, stream(incident)))
}

func TestMessageSaysWhatBecameOfAStorm(t *testing.T) {
	for _, c := range []struct {
		name    string
		row     cells
		text    string // beneath the row
		subject string // behind the names
	}{
		{"all killed", cells{rows.Killed: "404", rows.Remaining: "0"}, "killed all groucho imapd processes\n", ": killed"},
		{"all killed, another tool failed", cells{rows.Killed: "404", rows.Remaining: "0", rows.Errors: "mine: killstorm: no"},
			"killed all groucho imapd processes\nFAILED mine: killstorm: no\n", ": killed"},
		{"killed, but something failed", cells{rows.Killed: "404", rows.Remaining: "0", rows.Errors: "mine: no; killstorm: blind"},
			"killed 404 groucho imapd processes\nFAILED mine: no\nFAILED killstorm: blind\n", ": killed 404"},
		{"killed, but some are not to be touched", cells{rows.Killed: "2", rows.Remaining: "0", rows.Notes: "killstorm: refused: 30 in containers"},
			"killed 2 groucho imapd processes\nrefused: 30 in containers\n", ": killed 2"},
		{"some killed", cells{rows.Killed: "398", rows.Remaining: "6"}, "killed 398 groucho imapd processes, 6 remaining\n", ": killed 398, 6 LEFT"},
		{"some killed, and why not the others", cells{rows.Killed: "398", rows.Remaining: "6", rows.Errors: "mine: odd; killstorm: 6 remaining: 4 uninterruptible (D) and 2 respawned"},
			"killed 398 groucho imapd processes, 6 remaining (4 uninterruptible (D), 2 respawned)\nFAILED mine: odd\n", ": killed 398, 6 LEFT"},
		{"one killed", cells{rows.Killed: "1", rows.Remaining: "6"}, "killed 1 groucho imapd process, 6 remaining\n", ": killed 1, 6 LEFT"},
		{"none killed", cells{rows.Killed: "0", rows.Remaining: "6"}, "killed 0 groucho imapd processes, 6 remaining\n", ": killed 0, 6 LEFT"},
		{"remaining unknown", cells{rows.Killed: "398"}, "killed 398 groucho imapd processes\n", ": killed 398"},
		{"killed unknown", cells{rows.Remaining: "6"}, "6 groucho imapd processes remaining\n", ": 6 LEFT"},
		{"subsided", cells{rows.Killed: "0", rows.Remaining: "0", rows.Notes: "killstorm: subsided to 3"}, "subsided to 3\n", ": subsided to 3"},
		{"subsided, remaining unknown", cells{rows.Killed: "0", rows.Notes: "killstorm: subsided to 3"}, "subsided to 3\n", ": subsided to 3"},
		{"only failed", cells{rows.Errors: "killstorm: uid 0"}, "FAILED killstorm: uid 0\n", ": FAILED"},
		{"only archived", cells{rows.Archived: "/a/b"}, "saved user mail file as /a/b\n", ": mail saved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, quiet(t, dry(), stream(c.row)))
			got := strings.ReplaceAll(below(t, p.body), "\n        ", "\n")
			same(t, got, "\n 404 groucho imapd\n"+c.text)
			_, end, _ := strings.Cut(p.subject, "groucho imapd on moscow")
			same(t, end, c.subject)
		})
	}
}

func TestLevelIsByTheActions(t *testing.T) {
	for _, c := range []struct {
		level string
		row   cells
		want  string
	}{
		{"", cells{rows.Actions: "alert=60"}, "WARNING"},
		{"", cells{rows.Archived: "/a"}, "WARNING"},
		{"", cells{rows.Errors: "x: y"}, "WARNING"},
		{"", cells{rows.Actions: "page=60"}, "URGENT"},
		{"", cells{rows.Actions: "alert=20 kill=60"}, "URGENT"},
		{"", cells{rows.Actions: "alert=20", rows.Killed: "3"}, "URGENT"},
		{"", cells{rows.Actions: "alert=20", rows.Remaining: "3"}, "URGENT"},
		{"info", cells{rows.Actions: "page=20"}, "INFO"},
		{"emergency", cells{rows.Actions: "alert=20"}, "EMERGENCY"},
	} {
		o := dry()
		o.Level = c.level
		p := parse(t, quiet(t, o, stream(c.row)))
		if !strings.Contains(p.body, "\n"+c.want+":\n") {
			t.Errorf("%q, %v: want %s in %q and:\n%s", c.level, c.row, c.want, p.subject, p.body)
		}
	}
	// Also a row that isn't shown any more decides, but none that isn't reported.
	many := []cells{{rows.Count: "1", rows.Actions: "alert=1 kill=+1"}, {rows.Actions: "log=20 kill=100"}}
	for range 50 {
		many = append(many, cells{rows.Actions: "alert=1"})
	}
	if p := parse(t, quiet(t, dry(), stream(many...))); !strings.Contains(p.body, "\nURGENT:\n") {
		t.Error(p.body)
	}
	if p := parse(t, quiet(t, dry(), stream(many[1:]...))); !strings.Contains(p.body, "\nWARNING:\n") {
		t.Error(p.body)
	}
}

func TestSubjectIsCut(t *testing.T) {
	long := maps.Clone(incident)
	long[rows.User] = strings.Repeat("averylong", 9)
	p := parse(t, quiet(t, dry(), stream(long, cells{rows.Errors: "x: y"})))
	want := "404 averylongaverylongaveryl… imapd on moscow: killed, mail saved (and 1 more)"
	same(t, p.subject, want)
	if n := utf8.RuneCountInString(want); n != 78 {
		t.Errorf("%d characters", n)
	}

	for _, user := range []string{strings.Repeat("я", 50), "x" + strings.Repeat("я", 50)} {
		long[rows.User] = user
		raw := quiet(t, dry(), stream(long))
		p = parse(t, raw)
		if !utf8.ValidString(p.subject) || utf8.RuneCountInString(p.subject) > 78 || !strings.HasSuffix(p.subject, "я… imapd on moscow: killed, mail saved") {
			t.Errorf("subject %q", p.subject)
		}
		if !strings.Contains(raw, "?=\n =?utf-8?q?") {
			t.Errorf("encoded words on one line:\n%s", raw)
		}
	}
}

// People behind one account are reported with it, and a user who has the name of another
// account, or behind another one, is somebody else: also in what programs thread by.
func TestPeopleBehindOneAccountAreReportedWithIt(t *testing.T) {
	behind := func(user, account string) cells {
		return cells{rows.User: user, rows.UID: "5000", rows.Account: account, rows.Proc: "imap", rows.Actions: "alert=60", rows.Killed: "404", rows.Remaining: "0"}
	}
	p := parse(t, quiet(t, dry(), stream(behind("groucho@example.org", "vmail"), behind("groucho@example.org", "cyrus"), behind("harpo", ""))))
	same(t, below(t, p.body), `
         404 groucho@example.org (vmail) imap
        killed all groucho@example.org (vmail) imap processes

         404 groucho@example.org (cyrus) imap
        killed all groucho@example.org (cyrus) imap processes

         404 harpo imap
        killed all harpo imap processes
`)
	if threads := strings.Fields(p.header.Get("References")); len(threads) != 3 {
		t.Errorf("threads %q", threads)
	}
	if subject := p.header.Get("Subject"); !strings.Contains(subject, "404 groucho@example.org (vmail) imap on moscow: killed") {
		t.Errorf("subject %q", subject)
	}
}

func TestNonASCII(t *testing.T) {
	in := stream(cells{rows.User: "grüßer", rows.Proc: "日本", rows.Killed: "404", rows.Remaining: "0"})
	raw := quiet(t, dry(), in)
	for i, r := range raw {
		if r > unicode.MaxASCII {
			t.Fatalf("%q at %d of:\n%s", r, i, raw)
		}
	}
	p := parse(t, raw)
	same(t, p.subject, "404 grüßer 日本 on moscow: killed")
	same(t, below(t, p.body), "\n         404 grüßer 日本\n        killed all grüßer 日本 processes\n")
	same(t, p.header.Get("Content-Transfer-Encoding"), "quoted-printable")
}

// TestFromIsTheHeaderAndTheEnvelope: the header as it was typed, the bare address in the envelope.
func TestFromIsTheHeaderAndTheEnvelope(t *testing.T) {
	for _, c := range []struct{ from, header string }{
		{"root", "root"},
		{"a@b.example", "a@b.example"},
		{"Storm Check <a@b.example>", "Storm Check <a@b.example>"},
		{"Storm Check <root>", "Storm Check <root>"},
		{"Check, Storm <root>", `"Check, Storm" <root>`},
		{"Sturm Über <a@b.example>", "=?utf-8?q?Sturm_=C3=9Cber?= <a@b.example>"},
	} {
		out, problems, status := tool(stream(incident), "-n", "--to", "root", "--from", c.from)
		if status != 0 || !strings.HasPrefix(out, "From: "+c.header+"\n") {
			t.Errorf("%q: status %d, %s%s", c.from, status, problems, out)
		}
	}
}

// headers are all that a mail has, in net/mail's spelling.
var headers = []string{
	"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id",
	"Mime-Version", "Precedence", "References", "Subject", "To", "X-Auto-Response-Suppress",
}

// checkSafe holds a mail, whatever its rows are, against all that must be true.
func checkSafe(t *testing.T, raw string) parsed {
	t.Helper()
	p := parse(t, raw)
	if got := slices.Sorted(maps.Keys(p.header)); !slices.Equal(got, headers) {
		t.Errorf("headers %q", got)
	}
	for name, values := range p.header {
		if len(values) != 1 {
			t.Errorf("%s: %q", name, values)
		}
	}
	same(t, p.header.Get("To"), "root")
	same(t, p.header.Get("From"), "stormcheck <root@moscow>")
	for _, line := range strings.Split(raw, "\n") {
		if len(line) > 990 {
			t.Errorf("line of %d bytes: %.80s", len(line), line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			t.Errorf("%q in %q", line[i], line)
		}
	}
	for _, line := range strings.Split(p.body, "\n") {
		if len(line) > 900 {
			t.Errorf("line of %d bytes: %.80s", len(line), line)
		}
	}
	for _, r := range p.body + p.subject {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q gets through", r)
		}
	}
	if len(p.body) >= 64<<10 {
		t.Errorf("%d bytes", len(p.body))
	}
	if n := utf8.RuneCountInString(p.subject); n > 78 {
		t.Errorf("subject of %d characters", n)
	}
	return p
}

var hostile = []string{
	"\x1b[2J\x1b]0;x\a", "a\nBcc: x@y", "a\r\nBcc: x@y\r\n\r\nhello", "a\rb", "\u202egpj.exe", "a\u2028b\u2066c\u200f",
	"\xff\xfe", "\x00", "=?utf8?b?4oCu?=", "=?utf-8?q?=E2=80=AE?=", "a\n.\nb", "From root", strings.Repeat("x", 10<<10),
	strings.Repeat("\x1b", 10<<10), strings.Repeat("я", 10<<10), strings.Repeat("a; b:c ", 2000), "", " ", ":", "; ", "../../etc/passwd", `\x1b`,
}

func TestHostileCells(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hundreds of long messages")
	}
	for _, cell := range hostile {
		t.Run(fmt.Sprintf("%.20q", cell), func(t *testing.T) {
			t.Parallel()
			for _, c := range []rows.Column{rows.Host, rows.User, rows.Proc, rows.Actions, rows.Archived, rows.Notes, rows.Errors} {
				row := maps.Clone(incident)
				row[c] = cell
				checkSafe(t, quiet(t, dry(), stream(row)))
			}
			var all []cells
			for i := range 60 {
				all = append(all, cells{
					rows.Host: cell + fmt.Sprint(i%2), rows.User: cell, rows.Proc: cell, rows.Killed: "4", rows.Remaining: "2",
					rows.Archived: cell, rows.Notes: cell, rows.Errors: "killstorm: still visible; " + cell,
				})
			}
			checkSafe(t, quiet(t, dry(), stream(all...)))
		})
	}
	p := checkSafe(t, quiet(t, dry(), stream(cells{rows.User: "a\nBcc: x@y", rows.Proc: "\u202e", rows.Killed: "404", rows.Remaining: "0"})))
	same(t, p.subject, `404 a\x0aBcc: x@y \xe2\x80\xae on moscow: killed`)
	p = checkSafe(t, quiet(t, dry(), stream(cells{rows.Proc: "=?utf8?b?4oCu?=", rows.Killed: "404", rows.Remaining: "0"})))
	same(t, p.subject, `404 groucho =\x3futf8?b?4oCu?= on moscow: killed`)
}

// TestHostileFlags: what the flags say is the administrator's, but goes on one
// line all the same.
func TestHostileFlags(t *testing.T) {
	for _, text := range hostile {
		o := dry()
		o.Title, o.Name, o.Task = text, text, text
		checkSafe(t, quiet(t, o, stream(incident)))
	}
}

// TestLongNameHidesNothing: one doesn't hide what stands behind it.
func TestLongNameHidesNothing(t *testing.T) {
	long := strings.Repeat("x", 10<<10)
	p := checkSafe(t, quiet(t, dry(), stream(incident, cells{rows.User: long, rows.Host: long, rows.Actions: "alert=60"})))
	if !strings.Contains(p.body, "xxx... imapd on xxx") {
		t.Errorf("no imapd in:\n%s", p.body)
	}
}

// TestEachRowHasItsShare: a row gets its share of the message. In a long note something is
// cut and of many the last are, and both show; an error behind a long note is seen.
func TestEachRowHasItsShare(t *testing.T) {
	long := "would kill 9999 (dry run): pids" + strings.Repeat(" 12345", 9999)
	var all []cells
	for range 50 {
		all = append(all, cells{rows.Notes: "killstorm: " + long + "; mine: " + long, rows.Errors: "mine: no luck"})
	}
	for _, n := range []int{1, 50} {
		p := checkSafe(t, quiet(t, dry(), stream(all[:n]...)))
		if got := strings.Count(p.body, "...\n        FAILED mine: no luck\n"); got != n {
			t.Errorf("%d errors of %d seen", got, n)
		}
	}
	many := cells{rows.Notes: strings.Repeat("mine: a; mine: b; ", 20000), rows.Killed: "1"}
	p := checkSafe(t, quiet(t, dry(), stream(many)))
	if !strings.Contains(p.body, "\n        and more\n\nWhat") || len(p.body) < 60<<10 {
		t.Errorf("%d bytes, the end: %q", len(p.body), p.body[len(p.body)-400:])
	}
}

func FuzzMessage(f *testing.F) {
	for _, cell := range hostile {
		f.Add("moscow", cell, "imapd", "alert=60", "/a/b:/c", "killstorm: "+cell, cell, uint32(404), uint32(6))
		f.Add(cell, "groucho", cell, cell, cell, "", "", uint32(404), uint32(0))
	}
	f.Fuzz(func(t *testing.T, host, user, proc, actions, archived, notes, errors string, killed, remaining uint32) {
		row := cells{
			rows.Host: host, rows.User: user, rows.Proc: proc, rows.Actions: actions, rows.Archived: archived, rows.Notes: notes,
			rows.Errors: errors, rows.Killed: fmt.Sprint(killed / 2), rows.Remaining: fmt.Sprint(remaining / 2),
		}
		if slices.Contains(slices.Collect(maps.Values(row)), "count") {
			return // it may be a header
		}
		checkSafe(t, quiet(t, dry(), stream(row, incident, row)))
	})
}
