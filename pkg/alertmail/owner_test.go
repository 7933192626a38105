package alertmail_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/rows"
)

// newOwnerStory is a story of the accounts u1001, u1002 and so on, each with that uid,
// and of groucho, 1001. Its mailer keeps the arguments and the mails of each recipient
// apart, and takes none for one who is down.
func newOwnerStory(t *testing.T) *story {
	t.Helper()
	s := newStory(t)
	s.o.Owners = alertmail.Owners{To: "{user}@example.org", ReplyTo: "ops@example.org"}
	s.o.Accounts = func(name string) (account.Account, error) {
		a := account.Account{Name: name, UID: 1001, Home: "/home/" + name, Shell: "/bin/sh"}
		if name == "groucho" {
			return a, nil
		}
		if n, err := fmt.Sscanf(name, "u%d", &a.UID); n != 1 || err != nil {
			return account.Account{}, account.ErrNone
		}
		return a, nil
	}
	s.script(`for to; do :; done
test ! -e down || exit 75
test ! -e "down.$to" || exit 75
echo "$@" >>"args.$to"
cat >>"mail.$to"; printf '\0' >>"mail.$to"`)
	return s
}

// script makes these shell lines the mailer.
func (s *story) script(lines string) {
	s.t.Helper()
	if err := os.WriteFile(s.o.Sendmail, []byte("#!/bin/sh\ncd '"+s.dir+"'\n"+lines+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// got returns the mails that a recipient has got.
func (s *story) got(to string) []string {
	text, err := os.ReadFile(filepath.Join(s.dir, "mail."+to))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

// owned returns how many mails each owner has got.
func (s *story) owned() map[string]int {
	all := map[string]int{}
	paths, _ := filepath.Glob(s.dir + "/mail.*@example.org")
	for _, path := range paths {
		to := strings.TrimPrefix(filepath.Base(path), "mail.")
		all[strings.TrimSuffix(to, "@example.org")] = len(s.got(to))
	}
	return all
}

// later is a run after a while, with what it has reported.
func (s *story) later(after time.Duration, all ...cells) (problems []string) {
	s.t.Helper()
	s.now = s.now.Add(after)
	_, problems = run(s.t, s.o, stream(all...))
	return problems
}

// ended is the row of an account u1001 and so on of which processes were ended.
func ended(uid int, more ...any) cells {
	return with(with(incident, rows.User, fmt.Sprint("u", uid), rows.UID, uid), more...)
}

// TestOwnerMailAsDocumented holds the mail against testdata/mail/owner.txt.
func TestOwnerMailAsDocumented(t *testing.T) {
	s := newOwnerStory(t)
	s.later(0, with(incident, rows.UID, 1001, rows.Archived, "/var/lib/stormcheck/archive/groucho.956639822"))
	got := s.got("groucho@example.org")
	if len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	golden(t, "../../testdata/mail/owner.txt", got[0])
	same(t, contents(t, s.dir, "args.groucho@example.org"), "-i -f<> -- groucho@example.org\n")
	header := parse(t, got[0]).header
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Precedence": "bulk", "Reply-To": "ops@example.org", "To": "groucho@example.org",
		"From": "stormcheck <root@moscow>",
	} {
		same(t, header.Get(name), want)
	}
	if admin := s.got("root"); len(admin) != 1 || strings.Contains(admin[0], "owner") {
		t.Errorf("the administrator got %q", admin)
	}
}

// TestOwnerMailHasASender: a mailer would make one of the empty envelope's.
func TestOwnerMailHasASender(t *testing.T) {
	s := newOwnerStory(t)
	s.o.From, s.o.Sender = "", ""
	s.later(0, ended(1002))
	same(t, parse(t, s.got("u1002@example.org")[0]).header.Get("From"), "ops@example.org")
	same(t, contents(t, s.dir, "args.u1002@example.org"), "-i -f<> -- u1002@example.org\n")
	same(t, contents(t, s.dir, "args.root"), "-i -- root\n")
}

// TestWhichOwnerGetsMail: who doesn't, and why.
func TestWhichOwnerGetsMail(t *testing.T) {
	silent := errors.New("name service: no answer within 2s")
	answer := func(uid uint32, shell string, err error) func(*alertmail.Options) {
		return func(o *alertmail.Options) {
			o.Accounts = func(name string) (account.Account, error) {
				return account.Account{Name: name, UID: uid, Home: "/", Shell: shell}, err
			}
		}
	}
	to := func(address string) func(*alertmail.Options) {
		return func(o *alertmail.Options) { o.Owners.To = address }
	}
	agent := func(proc string) []cells {
		return []cells{ended(1002), {rows.User: "u1002", rows.UID: "1002", rows.Proc: proc}}
	}
	type rule struct {
		why  string
		rows []cells
		set  func(*alertmail.Options)
		gets int
	}
	rules := []rule{
		{"processes were ended", []cells{ended(1002)}, nil, 1},
		{"trimmed", []cells{ended(1002, rows.Actions, "trim=60", rows.Killed, 16)}, nil, 1},
		{"a login shell that lets nobody in", []cells{ended(1002)}, answer(1002, "/usr/sbin/nologin", nil), 1},
		{"none were ended", []cells{ended(1002, rows.Killed, 0, rows.Remaining, 404)}, nil, 0},
		{"a dry run of killstorm", []cells{ended(1002, rows.Killed, "", rows.Remaining, "", rows.Notes, "killstorm: "+rows.FormatWouldKill(404))}, nil, 0},
		{"a system account", []cells{ended(33)}, nil, 0},
		{"root", []cells{ended(0)}, nil, 0},
		{"nobody", []cells{ended(65534)}, nil, 0},
		{"a service's dynamic uid", []cells{ended(61200)}, answer(61200, "/usr/sbin/nologin", nil), 0},
		{"read from titles", []cells{ended(1002, rows.Account, "vmail")}, nil, 0},
		{"another machine's", []cells{ended(1002, rows.Host, "tula")}, nil, 0},
		{"no uid", []cells{ended(1002, rows.UID, "")}, nil, 0},
		{"no account of that name", []cells{ended(1002, rows.User, "harpo")}, nil, 0},
		{"another uid", []cells{ended(1002)}, answer(1003, "/bin/sh", nil), 0},
		{"no answer", []cells{ended(1002)}, answer(1002, "/bin/sh", silent), 0},
		{"a name that a shell could take for more", []cells{ended(1002, rows.User, "u1002|sh")}, answer(1002, "/bin/sh", nil), 0},
		{"a name that is an option", []cells{ended(1002, rows.User, "-oQ/tmp")}, answer(1002, "/bin/sh", nil), 0},
		{"a header in the name", []cells{ended(1002, rows.User, `u\x0aBcc: x@y`)}, answer(1002, "/bin/sh", nil), 0},
		{"no domain for the address", []cells{ended(1002)}, to("{name}@{domain}"), 0},
		{"two domains", []cells{ended(1002, rows.User, "u1002@example.org")}, answer(1002, "/bin/sh", nil), 0},
		{"its domain", []cells{ended(1002, rows.User, "u1002@example.org")}, func(o *alertmail.Options) {
			answer(1002, "/bin/sh", nil)(o)
			to("{name}@{domain}")(o)
		}, 1},
		{"a dry run", []cells{ended(1002)}, func(o *alertmail.Options) { o.DryRun = true }, 0},
		{"a state that can't be had", []cells{ended(1002)}, func(o *alertmail.Options) { o.State = "/nonexistent/state.csv" }, 0},
		{"not asked for", []cells{ended(1002)}, to(""), 0},
	}
	for _, proc := range []string{"local", "procmail", "dovecot-lda", "lmtp", "sieve", "vacation", "sendmail"} {
		rules = append(rules,
			rule{proc, []cells{ended(1002, rows.Proc, proc)}, nil, 0},
			rule{"imapd beside " + proc, agent(proc), nil, 0})
	}
	for _, r := range rules {
		t.Run(r.why, func(t *testing.T) {
			s := newOwnerStory(t)
			if r.set != nil {
				r.set(&s.o)
			}
			s.later(0, r.rows...)
			sum := 0
			for _, n := range s.owned() {
				sum += n
			}
			if sum != r.gets {
				t.Errorf("mails %v; want %d", s.owned(), r.gets)
			}
		})
	}
}

// TestTestMailsNoOwner: a test reads no rows, and has nobody to write to.
func TestTestMailsNoOwner(t *testing.T) {
	s := newOwnerStory(t)
	s.o.Report = func(err error) { t.Error(err) }
	alertmail.Test(s.o, func(string) {})
	if len(s.owned()) > 0 || len(s.got("root")) != 1 {
		t.Errorf("mails %v", s.owned())
	}
}

// TestOneOwnerMailADay, however often processes are ended, also of another name. The
// rest is counted in the administrator's mail, once.
func TestOneOwnerMailADay(t *testing.T) {
	s := newOwnerStory(t)
	s.later(0, ended(1002))
	s.later(time.Hour, ended(1002))
	s.later(22*time.Hour, ended(1002, rows.Proc, "bash"))
	if n := s.owned()["u1002"]; n != 1 {
		t.Errorf("%d mails", n)
	}
	s.later(59*time.Minute, ended(1003))
	s.later(time.Minute, ended(1002))
	if n := s.owned()["u1002"]; n != 2 {
		t.Errorf("after a day %d mails", n)
	}
	var counts []string
	for _, mail := range s.got("root") {
		for line := range strings.Lines(parse(t, mail).body) {
			if strings.Contains(line, "owner") {
				counts = append(counts, strings.TrimSpace(line))
			}
		}
	}
	const one = "1 mail to an owner was not sent: at most one a day for each account, and 20 an hour"
	if len(counts) != 2 || counts[0] != one || counts[1] != one {
		t.Errorf("counted %q", counts)
	}
}

// TestTwentyOwnerMailsAnHour: in all, and the accounts with the most ended processes
// come first.
func TestTwentyOwnerMailsAnHour(t *testing.T) {
	s := newOwnerStory(t)
	var all []cells
	for n := range 25 {
		all = append(all, ended(1001+n, rows.Killed, 1000-n))
	}
	s.later(0, all...)
	if got := s.owned(); len(got) != 20 || got["u1001"] != 1 || got["u1021"] != 0 {
		t.Errorf("mails %v", got)
	}
	s.later(30*time.Minute, ended(1030))
	if got := s.owned(); got["u1030"] != 0 {
		t.Error("a 21st in the hour")
	}
	s.later(31*time.Minute, ended(1031))
	if got := s.owned(); got["u1031"] != 1 {
		t.Error("none in the next hour")
	}
	var counts []string
	for _, mail := range s.got("root") {
		_, rest, _ := strings.Cut(parse(t, mail).body, " mails to owners were not sent: at most one a day for each account, and 20 an hour\n")
		before, _, is := strings.Cut(parse(t, mail).body, " mails to owners")
		if is && rest != "" {
			counts = append(counts, before[strings.LastIndexByte(before, '\n')+1:])
		}
		if strings.Contains(mail, "1 mail to an owner was not sent") {
			counts = append(counts, "1")
		}
	}
	if want := []string{"        5", "1"}; !slices.Equal(counts, want) {
		t.Errorf("counted %q; want %q", counts, want)
	}
}

// TestOwnerMailThatIsRefused is reported as others are, keeps nobody else's back, and
// goes out in a later run, verbatim.
func TestOwnerMailThatIsRefused(t *testing.T) {
	s := newOwnerStory(t)
	down := filepath.Join(s.dir, "down.u1002@example.org")
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	problems := s.later(0, ended(1002), ended(1003))
	if want := "mail to the owner of u1002: " + s.o.Sendmail + ": exit status 75"; len(problems) != 1 || problems[0] != want {
		t.Errorf("reported %q; want %q", problems, want)
	}
	if len(s.got("root")) != 1 || len(s.owned()) != 0 {
		t.Errorf("mails %v", s.owned())
	}
	waiting := contents(t, s.o.State)
	if !strings.Contains(waiting, "\naccount,,u1002,1002,") || !strings.Contains(waiting, "\nowner,") {
		t.Errorf("the state:\n%s", waiting)
	}
	if status := alertmail.Run(silently(s.o), strings.NewReader(stream()), io.Discard); status == nil || len(s.owned()) != 0 {
		t.Errorf("at once: %v, %v", status, s.owned())
	}
	s.later(time.Minute)
	if got := s.owned(); got["u1003"] != 1 || got["u1002"] != 0 {
		t.Errorf("a minute later mails %v", got)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	if problems := s.later(time.Minute); len(problems) > 0 {
		t.Errorf("reported %q", problems)
	}
	if got := s.owned(); got["u1002"] != 1 {
		t.Fatalf("mails %v", got)
	}
	same(t, parse(t, s.got("u1002@example.org")[0]).header.Get("Date"), "Tue, 25 Apr 2000 00:17:02 -0500") // as it was composed
	s.later(time.Minute, ended(1002))
	if got := s.owned(); got["u1002"] != 1 {
		t.Error("two in a day")
	}
}

// TestOwnerMailThatIsLateIsDropped, and counted.
func TestOwnerMailThatIsLateIsDropped(t *testing.T) {
	s := newOwnerStory(t)
	if err := os.WriteFile(filepath.Join(s.dir, "down.u1002@example.org"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.later(0, ended(1002))
	s.later(25*time.Hour, ended(1003))
	if text := contents(t, s.o.State); strings.Contains(text, "\naccount,,u1002") || !strings.Contains(text, "\naccount,,u1003") {
		t.Errorf("the state:\n%s", text)
	}
	last := s.got("root")
	if !strings.Contains(last[len(last)-1], "1 mail to an owner was not sent") {
		t.Error(last[len(last)-1])
	}
}

// TestAdministratorDoesNotWaitForOwner: while the owner's mailer hangs, the input is
// read, and the administrator gets the next mail.
func TestAdministratorDoesNotWaitForOwner(t *testing.T) {
	s := newOwnerStory(t)
	s.o.Each = true
	s.script(`for to; do :; done
case $to in root) cat >"draft.$$" && ln "draft.$$" "mail.$(date +%s%N)" ;; *) touch begun; while test ! -e go; do sleep .05; done; cat >"mail.$to" ;; esac`)
	await := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("waited for %s", what)
				return
			}
		}
	}
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(s.dir, name)); return err == nil }
	admins := func() int { all, _ := filepath.Glob(s.dir + "/mail.[0-9]*"); return len(all) }
	feed := &feeder{text: stream(ended(1002)) + stream()}
	step := 0
	feed.atEnd = func() {
		switch step++; step {
		case 1:
			await("the first mails", func() bool { return exists("begun") && admins() == 1 })
			s.awaitMailer() // the clock moves only then
			s.pass(2 * time.Minute)
			feed.text = stream(cells{rows.User: "harpo", rows.UID: "1004", rows.Actions: "alert=60"}) + stream()
		case 2:
			await("the administrator's second mail", func() bool { return admins() == 2 })
			if exists("mail.u1002@example.org") {
				t.Error("the owner's mailer doesn't hang")
			}
			if err := os.WriteFile(filepath.Join(s.dir, "go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	s.o.Report = func(err error) { t.Error(err) }
	if err := alertmail.Run(s.o, feed, io.Discard); err != nil {
		t.Error(err)
	}
	if !exists("mail.u1002@example.org") {
		t.Error("the owner has no mail")
	}
}

// TestOwnerMailsEndWithTheRun: mailers that hang, or are slow, take the time of one or
// two, not of twenty, and what is left goes out in later runs.
func TestOwnerMailsEndWithTheRun(t *testing.T) {
	s := newOwnerStory(t)
	s.o.Deadline = time.Second
	s.script(`for to; do :; done; case $to in root) cat >mail.root ;; *) echo "$to" >>tried; exec sleep 600 ;; esac`)
	if problems := s.later(0, ended(1002), ended(1003), ended(1004)); len(problems) != 1 {
		t.Errorf("reported %q", problems)
	}
	if tried := contents(t, s.dir, "tried"); strings.Count(tried, "\n") != 1 {
		t.Errorf("tried %q", tried)
	}
	s.script(`for to; do :; done; echo "$to" >>slow; sleep 2; cat >/dev/null`)
	s.o.Deadline = 3 * time.Second
	s.later(time.Minute, ended(1005), ended(1006))
	if slow := strings.Count(contents(t, s.dir, "slow"), "@example.org"); slow < 1 || slow > 3 {
		t.Errorf("%d slow mails in one run", slow)
	}
	s.script(`for to; do :; done; echo "$to" >>quick; cat >/dev/null`)
	s.o.Deadline = time.Minute
	s.later(time.Hour)
	s.later(time.Hour)
	if text := contents(t, s.o.State); strings.Contains(text, "Message-ID: <stormcheck.owner.") {
		t.Errorf("the state:\n%s", text)
	}
}

// TestOwnerMailOfDeadRun: what a run has composed, and died over, the next one sends.
func TestOwnerMailOfDeadRun(t *testing.T) {
	s := newOwnerStory(t)
	if err := os.WriteFile(filepath.Join(s.dir, "down"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.later(0, ended(1002))
	if err := os.Remove(filepath.Join(s.dir, "down")); err != nil {
		t.Fatal(err)
	}
	// As the run had it on the disk before it handed anything over.
	text := contents(t, s.o.State)
	lines := slices.DeleteFunc(strings.SplitAfter(text, "\n"), func(line string) bool { return strings.HasPrefix(line, "owner,") })
	writeLog(t, s.o.State, strings.Join(lines, ""))
	s.later(time.Second)
	if got := s.owned(); got["u1002"] != 1 {
		t.Errorf("mails %v", got)
	}
}

// TestOwnerMailSaysWhatBecameOfTheMail, and of which programs.
func TestOwnerMailSaysWhatBecameOfTheMail(t *testing.T) {
	for want, row := range map[string]cells{
		"your mailbox was copied before; the administrator can put it back from /a/u.1, /a/u.1.pop": ended(1002, rows.Archived, "/a/u.1:/a/u.1.pop"),
		"your mailbox was copied before\n": ended(1002, rows.Archived, "/a/$(reboot)"),
		"your mailbox was copied at 00:15, and has changed since then; the administrator can put it back from /a/u.1\n": ended(1002, rows.Archived, "/a/u.1",
			rows.Notes, "mailarchive: "+rows.FormatChanged(time.Date(2000, 4, 25, 5, 15, 2, 0, time.UTC), "1h")),
		"so the copy may be torn; the":  ended(1002, rows.Archived, "/a/u.1", rows.Errors, "mailarchive: /var/mail/u: "+rows.Torn),
		"your mailbox was not copied\n": ended(1002, rows.Archived, "", rows.Errors, "mailarchive: /var/mail/u: no space: 3G"),
		"mail:  your mailbox was not":   ended(1002, rows.Archived, ""),
		"no mailbox file to copy":       ended(1002, rows.Archived, "", rows.Notes, "mailarchive: "+rows.NoMailbox),
		"limit: 100\n":                  ended(1002),
		"limit: 60\n":                   ended(1002, rows.Actions, "trim=60 kill=500", rows.Notes, "killstorm: "+rows.FormatTrimmed(16, 75, 59)),
		"limit: 3000/m\n":               ended(1002, rows.Actions, "kill=3000/m"),
		"limit: unknown\n":              ended(1002, rows.Actions, ""),
		"ended: 404 ?\n":                ended(1002, rows.Proc, "http://evil.example"),
		"found: 404 imapd\n":            ended(1002),
	} {
		s := newOwnerStory(t)
		s.later(0, row)
		if got := s.got("u1002@example.org"); len(got) != 1 || !strings.Contains(parse(t, got[0]).body, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	s := newOwnerStory(t)
	var all []cells
	for n := range 7 {
		all = append(all, ended(1002, rows.Proc, fmt.Sprint("p", n), rows.Count, 100-n, rows.Killed, 90-n))
	}
	s.later(0, all...)
	body := parse(t, s.got("u1002@example.org")[0]).body
	if !strings.Contains(body, "ended: 90 p0, 89 p1, 88 p2, 87 p3, 86 p4, 2 more\n") {
		t.Error(body)
	}
}

// TestHostileOwnerMail: whatever is in the rows, the mail is one, and has nothing of it.
func TestHostileOwnerMail(t *testing.T) {
	for _, cell := range hostile {
		s := newOwnerStory(t)
		s.o.Accounts = func(name string) (account.Account, error) {
			return account.Account{Name: name, UID: 1002, Home: "/"}, nil
		}
		columns := []rows.Column{rows.Proc, rows.Archived, rows.Notes, rows.Errors, rows.Parent}
		row := ended(1002)
		for _, c := range columns {
			row[c] = cell
		}
		s.later(0, row, with(row, rows.User, cell, rows.UID, 1003))
		got := s.got("u1002@example.org")
		if len(got) != 1 || len(s.owned()) != 1 {
			t.Fatalf("%q: mails %v", cell, s.owned())
		}
		p := parse(t, got[0])
		if strings.ContainsAny(p.body, "\x1b\r\\") || strings.Contains(p.body, "Bcc") || strings.Contains(p.body, "xxx") || len(p.body) > 2000 {
			t.Errorf("%q gets through:\n%s", cell, p.body)
		}
		if len(p.header) != 12 {
			t.Errorf("headers %v", p.header)
		}
	}
}

// TestOwnTextForOwners: the site's words, and what is wrong with them.
func TestOwnTextForOwners(t *testing.T) {
	write := func(s *story, text string) {
		s.o.Owners.Text = filepath.Join(s.dir, "owner.txt")
		writeLog(t, s.o.Owners.Text, text)
	}
	s := newOwnerStory(t)
	write(s, "Prozesse von {user} wurden beendet\r\n\r\nGrüße von {host}: {ended} ({seen}, {limit}), {time}\n\t{mail}; {contact} {\n")
	if problems := s.later(0, ended(1002)); len(problems) > 0 {
		t.Errorf("reported %q", problems)
	}
	p := parse(t, s.got("u1002@example.org")[0])
	same(t, p.subject, "Prozesse von u1002 wurden beendet")
	same(t, p.body, `Prozesse von u1002 wurden beendet

Grüße von moscow: 404 imapd (404 imapd, 100), 2000-04-25 00:17 -0500
        your mailbox was copied before; the administrator can put it back from /var/mail/arc/groucho.956639822; ops@example.org {
`)
	s.mailer(true) // it waits in the state, and is read from there
	s.later(time.Hour, ended(1003))
	s.mailer(false)
	s.later(time.Minute)
	same(t, parse(t, s.got("u1003@example.org")[0]).subject, "Prozesse von u1003 wurden beendet")

	for text, want := range map[string]string{
		"":                           "line 1: empty, but it is the subject",
		"a\n{comm}\n":                "line 2: {comm} is none of {user} {host} {time} {seen} {limit} {ended} {mail} {contact}",
		"a\nb\x00\n":                 "line 2: not text in UTF-8",
		"a\n\n\xff\n":                "line 3: not text in UTF-8",
		strings.Repeat("a\n", 10000): "over 16384 bytes",
	} {
		s := newOwnerStory(t)
		write(s, text)
		want = s.o.Owners.Text + ": " + want + ": owners get the built-in text"
		if problems := s.later(0, ended(1002)); len(problems) != 1 || problems[0] != want {
			t.Errorf("reported %q; want %q", problems, want)
		}
		if got := s.got("u1002@example.org"); len(got) != 1 || !strings.Contains(got[0], "\nSubject: Processes of your account u1002 on moscow were ended\n") {
			t.Errorf("got %q", got)
		}
	}
	s = newOwnerStory(t)
	write(s, "a\n")
	if err := os.Chmod(s.o.Owners.Text, 0o666); err != nil {
		t.Fatal(err)
	}
	if problems := s.later(0); os.Geteuid() == 0 && (len(problems) != 1 || !strings.Contains(problems[0], "writable by group or others")) {
		t.Errorf("reported %q", problems)
	}
}

func TestOwnerFlags(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state.csv")
	flags := func(to, replyTo string, more ...string) []string {
		return append([]string{"--owner-to", to, "--owner-reply-to", replyTo, "--state", state}, more...)
	}
	all := flags("{user}@example.org", "ops@example.org")
	for _, c := range []struct {
		args []string
		want string
	}{
		{all, ""},
		{flags("{user}", "root"), ""},
		{flags("{name}@mail.{domain}", "root"), ""},
		{all[:4], "--owner-to: needs --state"},
		{append(slices.Clone(all[:2]), all[4:]...), "--owner-to: needs --owner-reply-to"},
		{all[2:], "--owner-reply-to: needs --owner-to"},
		{[]string{"--owner-text", "x", "--state", state}, "--owner-text: needs --owner-to"},
		{flags("", "root"), "--owner-to: empty"},
		{flags("{user}", "a b"), `--owner-reply-to: "a b" is not an address`},
	} {
		out, problems, status := tool(stream(), c.args...)
		switch {
		case c.want == "" && (out != "" || problems != "" || status != 0):
			t.Errorf("%q: status %d, %s", c.args, status, problems)
		case c.want != "" && (status != 2 || !strings.HasPrefix(problems, "alertmail: "+c.want+"\nusage: alertmail ")):
			t.Errorf("%q: status %d, %s", c.args, status, problems)
		}
	}
	for _, to := range []string{"root", "{name}", "{domain}@x", "{user} x", "{user}@{host}", "|{user}", "{user}@", "-{user}"} {
		_, problems, status := tool(stream(), flags(to, "root")...)
		want := fmt.Sprintf("alertmail: --owner-to: %q is not an address with {user}, or {name} and {domain}, in it\n", to)
		if status != 2 || !strings.HasPrefix(problems, want) {
			t.Errorf("%q: status %d, %s", to, status, problems)
		}
	}
	// A fault of the text is found where nothing is sent, as stormcheck --check does.
	_, problems, status := tool(stream(), flags("{user}", "root", "-n", "--owner-text", "/nonexistent/text")...)
	if status != 1 || !strings.HasPrefix(problems, "alertmail: /nonexistent") {
		t.Errorf("status %d, %s", status, problems)
	}
}
