package alertmail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// afterwards makes the mailer do more after it has taken a mail.
func (s *story) afterwards(script string) {
	s.t.Helper()
	text := contents(s.t, s.o.Sendmail)
	if err := os.WriteFile(s.o.Sendmail, []byte(text+script+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// died is a run that is killed between the mailer's word and its own record.
func (s *story) died(all ...cells) []parsed {
	s.t.Helper()
	before := contents(s.t, s.o.Sendmail)
	s.afterwards("cp state.csv died")
	mails := s.run(all...)
	for path, text := range map[string]string{s.o.Sendmail: before, s.o.State: contents(s.t, s.dir, "died")} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chmod(s.o.State, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return mails
}

func id(p parsed) string { return p.header.Get("Message-Id") }

// A kill, as killstorm reports it, with others of its cells.
func killing(more ...any) cells {
	return with(with(incident, rows.UID, 1001, rows.Archived, ""), more...)
}

// TestMailerThatDeliversAndFailsIsNotTriedEachMinute: a mailer that has delivered and doesn't say so isn't given the
// message each minute, nor under another id while it is the same.
func TestMailerThatDeliversAndFailsIsNotTriedEachMinute(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.afterwards("exit 67")
	byID := map[string]string{}
	sent := 0
	hour := func(all ...cells) {
		for range 60 {
			mails, _ := s.input(stream(all...))
			for _, p := range mails {
				sent++
				text := p.header.Get("Date") + p.body
				if known := byID[id(p)]; known != "" && known != text {
					t.Errorf("%s is of two messages:\n%s\n%s", id(p), known, text)
				}
				byID[id(p)] = text
			}
		}
	}
	hour(lasting)
	if sent > 10 || len(byID) != 1 {
		t.Errorf("%d mails in an hour, with %d ids", sent, len(byID))
	}
	sent = 0
	hour(lasting)
	hour()
	if sent > 15 || len(byID) > 4 { // the storm each hour, and its end
		t.Errorf("%d mails in two hours, with %d ids", sent, len(byID))
	}
	// What is new isn't held up.
	if mails, _ := s.input(stream(with(lasting, rows.UID, 1002))); len(mails) != 1 {
		t.Errorf("%d mails of a new storm", len(mails))
	}
}

// TestMessageOfADeadRunIsNotMixedWithNews: the message that it died over goes as it was, and what the next
// run has found in another.
func TestMessageOfADeadRunIsNotMixedWithNews(t *testing.T) {
	s := newStory(t)
	first := s.died(killing())
	mails := s.run(killing(rows.Count, 5000, rows.Killed, 4990, rows.Remaining, 10))
	if len(first) != 1 || len(mails) != 2 {
		t.Fatalf("%d and then %d mails", len(first), len(mails))
	}
	if id(mails[0]) != id(first[0]) || mails[0].body != first[0].body || mails[0].subject != first[0].subject {
		t.Errorf("not sent as it was:\n%s\n%s", first[0].body, mails[0].body)
	}
	if id(mails[1]) == id(first[0]) {
		t.Error("another message under the same id")
	}
	same(t, mails[1].subject, "5000 groucho imapd on moscow: killed 4990, 10 LEFT")
	s.silent(3, killing())
}

// TestMessageOfADeadRunStaysWhileTheMailerIsDown: nor does the mailer's being down in the next run make it a new
// message.
func TestMessageOfADeadRunStaysWhileTheMailerIsDown(t *testing.T) {
	s := newStory(t)
	first := s.died(lasting)
	s.mailer(true)
	s.input(stream(lasting))
	s.mailer(false)
	mails := s.run(lasting)
	if len(mails) != 1 || id(mails[0]) != id(first[0]) || mails[0].body != first[0].body {
		t.Errorf("%d mails", len(mails))
	}
	s.silent(3, lasting)
}

// TestKilledAllIsSaidOfTheLastRowAlone: what became of a row is said of that row alone.
func TestKilledAllIsSaidOfTheLastRowAlone(t *testing.T) {
	s := newStory(t)
	s.run(killing())
	s.silent(1, killing()) // summed, and not reported yet
	same(t, s.reports("90 groucho imapd on moscow: 808 killed before, mail saved", with(lasting, rows.Count, 90, rows.Archived, "/a/new")), `
          90 groucho imapd
        first seen 00:18 -0500, 2 minutes ago; peak 404
        808 killed in 2 runs since 00:18
        saved user mail file as /a/new
`)
	s = newStory(t)
	s.mailer(true)
	s.input(stream(killing()))
	s.mailer(false)
	same(t, s.reports("80 groucho imapd on moscow: 404 killed before", with(lasting, rows.Count, 80)), `
          80 groucho imapd
        first seen 00:18 -0500, 60 seconds ago; peak 404
        404 killed in 1 run since 00:18
`)
}

// TestKilledAllIsNotSaidOfALoggedRow: nor is it said of a row that is only logged by now.
func TestKilledAllIsNotSaidOfALoggedRow(t *testing.T) {
	s := newStory(t)
	s.mailer(true)
	s.input(stream(killing()))
	s.mailer(false)
	s.reports("30 groucho imapd on moscow: 404 killed before", with(lasting, rows.Count, 30, rows.Actions, "log=20"))
}

// TestLaterKillOfNobodyHidesNone: not by a later one that got nobody.
func TestLaterKillOfNobodyHidesNone(t *testing.T) {
	for _, c := range []struct {
		next          cells
		subject, said string
	}{
		{killing(rows.Count, 100, rows.Killed, 0, rows.Remaining, 6, rows.Errors, "killstorm: 6 remaining: 6 uninterruptible (D)"),
			"100 groucho imapd on moscow: killed 0, 6 LEFT", "        killed 0 groucho imapd processes, 6 remaining (6 uninterruptible (D))\n"},
		{killing(rows.Count, 100, rows.Killed, 0, rows.Remaining, 0),
			"100 groucho imapd on moscow: 404 killed before", ""},
	} {
		s := newStory(t)
		s.mailer(true)
		s.input(stream(killing()))
		s.mailer(false)
		same(t, s.reports(c.subject, c.next), `
         100 groucho imapd
        first seen 00:18 -0500, 60 seconds ago; peak 404
        404 killed in 1 run since 00:18
`+c.said)
	}
}

// TestLastReasonStands: of several failures to kill, the last one's words stand, and none
// beside a kill of all.
func TestLastReasonStands(t *testing.T) {
	remaining := func(n int, why string) cells {
		return killing(rows.Killed, 400, rows.Remaining, n, rows.Errors, fmt.Sprintf("killstorm: %d remaining: %s", n, why))
	}
	for _, c := range []struct {
		last cells
		want string
	}{
		{remaining(3, "1 uninterruptible (D) and 2 respawned"), "        killed 400 groucho imapd processes, 3 remaining (1 uninterruptible (D), 2 respawned)\n"},
		{killing(rows.Killed, 100, rows.Remaining, 0), "        killed all groucho imapd processes\n"},
	} {
		s := newStory(t)
		s.mailer(true)
		s.input(stream(remaining(6, "4 uninterruptible (D) and 2 respawned")))
		s.input(stream(remaining(9, "9 respawned")))
		s.mailer(false)
		mails := s.run(c.last)
		if len(mails) != 1 || !strings.HasSuffix(below(t, mails[0].body), c.want) || strings.Contains(mails[0].body, "FAILED") {
			t.Errorf("%v", mails)
		}
	}
}

// TestWouldKillIsSaidOfTheLastRowAlone: what would be killed is said of the last row alone.
func TestWouldKillIsSaidOfTheLastRowAlone(t *testing.T) {
	s := newStory(t)
	s.mailer(true)
	for n := 5; n < 9; n++ {
		s.input(stream(with(lasting, rows.Notes, fmt.Sprintf("killstorm: would kill %d (dry run): pids%s; mine: seen by %d", n, strings.Repeat(" 123", n), n))))
	}
	s.mailer(false)
	s.now = s.now.Add(15 * time.Minute)
	body := s.run(with(lasting, rows.Notes, "killstorm: would kill 9 (dry run)", rows.Errors, "x: y"))[0].body
	if !strings.HasSuffix(below(t, body), "ago\n        mine: seen by 8\n        would kill 9 (dry run)\n        FAILED x: y\n") {
		t.Error(body)
	}
}

// TestPageSaysWhatTheMailDoes: both are made of the same rows.
func TestPageSaysWhatTheMailDoes(t *testing.T) {
	s := newStory(t)
	s.o.PageTo = []string{"pager"}
	worst := killing(rows.Actions, "alert=60 page=80 kill=100", rows.Killed, 398, rows.Remaining, 6, rows.Errors, "killstorm: 6 remaining: 6 uninterruptible (D)")
	larger := cells{rows.User: "zz", rows.UID: "1002", rows.Count: "500", rows.Actions: "page=80"}
	mails := s.run(worst, larger)
	if len(mails) != 2 {
		t.Fatalf("%d mails", len(mails))
	}
	const want = "404 groucho imapd on moscow: killed 398, 6 LEFT (and 1 more)"
	same(t, mails[0].subject, want)
	same(t, mails[1].body, want+"\n")
}

// TestStormNoLongerDueForAPageIsNotPaged: a storm that once was due for a page isn't paged, nor urgent,
// each hour.
func TestStormNoLongerDueForAPageIsNotPaged(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.o.PageTo = []string{"pager"}
	if n := len(s.run(with(lasting, rows.Actions, "log=20 alert=60 page=100"))); n != 2 {
		t.Fatalf("%d mails", n)
	}
	s.silent(56, with(lasting, rows.Count, 61))
	s.reports("61 groucho imapd on moscow", with(lasting, rows.Count, 61))

	// A page that nobody took is still reported, urgent as it was.
	s = newStory(t)
	s.o.PageTo = []string{"pager"}
	s.mailer(true)
	s.input(stream(with(lasting, rows.Actions, "log=20 alert=60 page=100")))
	s.mailer(false)
	s.now = s.now.Add(2 * time.Hour)
	mails := s.run(with(lasting, rows.Count, 61))
	if len(mails) != 2 || mails[0].subject != "61 groucho imapd on moscow" || mails[1].body != mails[0].subject+"\n" {
		t.Errorf("%v", mails)
	}
}

// TestPagesAloneReport: what pages alone have reported is reported, and so is broken input.
func TestPagesAloneReport(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.o.PageTo, s.o.To = []string{"pager"}, nil
	if n := len(s.run(killing(rows.Host, "tula", rows.Actions, "page=100 kill=100"))); n != 1 {
		t.Fatalf("%d pages", n)
	}
	s.silent(70)
	mails, _ := s.input("")
	if len(mails) != 1 || !strings.HasPrefix(mails[0].body, "stormcheck on moscow is not working: ") {
		t.Errorf("%v", mails)
	}
	if mails, _ := s.input(""); len(mails) > 0 {
		t.Errorf("%v", mails)
	}
	s.o.State = ""
	if mails, _ := s.input(""); len(mails) != 1 {
		t.Errorf("%v", mails)
	}
}

// TestLoggedRowIsNeitherNewsNorTheEnd: a row that is only logged is no news, and not the storm's end.
func TestLoggedRowIsNeitherNewsNorTheEnd(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	below := with(lasting, rows.Count, 59, rows.Actions, "log=20")
	s.silent(3, below)
	sent := 0
	for range 30 {
		sent += len(s.run(with(lasting, rows.Count, 60)))
		for range 5 {
			sent += len(s.run(below))
		}
	}
	if sent != 3 { // at first, and after one and two hours
		t.Errorf("%d mails in three hours", sent)
	}
	s.silent(70, below) // it isn't worth one each hour
	none := with(below, rows.Actions, "")
	s.silent(4, none)
	s.reports("groucho imapd on moscow: over", none)
}

// TestDamagedLineOfTheStateLeavesTheRest: the rest of the state stays, and a copy of all of it.
func TestDamagedLineOfTheStateLeavesTheRest(t *testing.T) {
	s := newStory(t)
	s.run(lasting, with(lasting, rows.UID, 1002, rows.User, "harpo"))
	text := strings.Replace(contents(t, s.o.State), ",404,404,", ",404,x404,", 1)
	if err := os.WriteFile(s.o.State, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mails, problems := s.input(stream(lasting, with(lasting, rows.UID, 1002, rows.User, "harpo")))
	if len(mails) != 1 || strings.Contains(mails[0].subject, "+1") || len(problems) != 1 || !strings.HasSuffix(problems[0], ": kept as "+s.o.State+".bad") {
		t.Errorf("%v, reported %q", mails, problems)
	}
	same(t, contents(t, s.o.State+".bad"), text)
}

// TestClockThatJumpsSilencesNoHost: a host that has rows isn't silent, whatever the clock
// says.
func TestClockThatJumpsSilencesNoHost(t *testing.T) {
	for _, days := range []int{2, -2} {
		s := newStory(t)
		s.run(lasting)
		s.now = s.now.AddDate(0, 0, days)
		s.silent(4)
		if body := s.reports("groucho imapd on moscow: over"); strings.Contains(body, "no rows of") {
			t.Error(body)
		}
	}
}

// TestNewWordsOfOneToolHideNoOther: one that finds ever new words doesn't hide another's.
func TestNewWordsOfOneToolHideNoOther(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	for i := range 12 {
		s.run(with(lasting, rows.Errors, "mailarchive: held by "+strings.Repeat("x", i+1)))
	}
	s.reports("404 groucho imapd on moscow: FAILED, mail NOT saved", with(lasting, rows.Errors, "killstorm: permission denied"))
}

// frozen returns a program of these lines that no signal ends: it freezes itself. It
// needs root and a kernel with version 1 of the control groups.
func frozen(t *testing.T, path string) {
	t.Helper()
	const freezer = "/sys/fs/cgroup/freezer"
	if os.Getuid() != 0 {
		t.Skip("needs root, to freeze a process")
	}
	group := filepath.Join(freezer, fmt.Sprintf("alertmail.%d.%s", os.Getpid(), t.Name()))
	if err := os.Mkdir(group, 0o700); err != nil {
		t.Skip("needs the freezer of the control groups: ", err)
	}
	t.Cleanup(func() {
		_ = os.WriteFile(group+"/freezer.state", []byte("THAWED"), 0)
		for deadline := time.Now().Add(20 * time.Second); os.Remove(group) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("%s is left", group)
				return
			}
		}
	})
	script := fmt.Sprintf("#!/bin/sh\ncat >/dev/null\necho $$ >%[1]s/cgroup.procs\necho FROZEN >%[1]s/freezer.state\n", group)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestUnkillableMailerDelaysNothing: a mailer that doesn't end even when it is killed, as on a sick
// disk, holds nobody up.
func TestUnkillableMailerDelaysNothing(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	frozen(t, s.o.Sendmail)
	s.o.Deadline = time.Second
	start := time.Now()
	_, problems := s.input(stream(lasting))
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %s", took)
	}
	if want := s.o.Sendmail + ": killed, but doesn't end"; len(problems) != 1 || problems[0] != want {
		t.Errorf("reported %q, want %q", problems, want)
	}
	if text := contents(t, s.o.State); !strings.Contains(text, ",new,") {
		t.Errorf("not on its way any more:\n%s", text)
	}
}

// TestUnkillableJournalDelaysNothing: nor does what looks for lines of logs.
func TestUnkillableJournalDelaysNothing(t *testing.T) {
	s := newStory(t)
	bin := t.TempDir()
	frozen(t, filepath.Join(bin, "journalctl"))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	s.o.Context = []string{"journal"}
	mails, problems := s.input(stream(lasting))
	if len(mails) != 1 || !strings.HasSuffix(below(t, mails[0].body), "        | journal:\n        | (journal: doesn't answer)\n") {
		t.Errorf("%v", mails)
	}
	if len(problems) != 1 || problems[0] != "journal: doesn't answer" {
		t.Errorf("reported %q", problems)
	}
}

// TestForgedSuppressionsPushOutNothing: anybody can write that lines were left out, and that doesn't
// push out those that weren't.
func TestForgedSuppressionsPushOutNothing(t *testing.T) {
	at := dry().Now().Add(-time.Minute).Format(time.Stamp)
	log := strings.Repeat(at+" moscow dovecot: imap-login: Login: user=<groucho>\n", 30) +
		strings.Repeat(at+" moscow harpo: Suppressed 1 messages\n", 30)
	o := logs(t, strings.Split(strings.TrimSuffix(log, "\n"), "\n")...)
	out := quiet(t, o, stream(lasting))
	if own, left := strings.Count(out, "Login:"), strings.Count(out, "Suppressed 1"); own != 20 || left != 3 {
		t.Errorf("%d lines, and %d that say of others", own, left)
	}
}

// TestParentHasItsStart: a parent that runs on this machine under the name in the row is
// shown with its start. Another process may have its PID, and so may one of another machine.
func TestParentHasItsStart(t *testing.T) {
	comm, start, err := proc.StartOf(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	o := printed()
	o.Now = time.Now
	for _, c := range []struct {
		host, name string
		since      bool
	}{{o.Node(), comm, true}, {o.Node(), comm[1:], false}, {"tula", comm, false}} {
		parent := fmt.Sprintf("404:%d:%s", os.Getpid(), rows.EscapeName(c.name))
		out := quiet(t, o, stream(with(lasting, rows.Count, 404, rows.Host, c.host, rows.Parent, parent)))
		_, text, found := strings.Cut(out, fmt.Sprintf("started by %s (PID %d", rows.EscapeName(c.name), os.Getpid()))
		if text, _, _ = strings.Cut(text, ")"); !found || (text != "") != c.since || c.since && !strings.HasPrefix(text, ", since "+start.Format("15:04")) {
			t.Errorf("%s, %s: %q in\n%s", c.host, c.name, text, out)
		}
	}
}

// TestQuietSnapshotsAreOfTheNameThatTheHostHasNow: a storm of this machine ends though the
// machine's name was set after the pipe had started.
func TestQuietSnapshotsAreOfTheNameThatTheHostHasNow(t *testing.T) {
	s := newStory(t)
	asked := 0 // in each run first when it starts, then for its one snapshot
	s.o.Node = func() string {
		asked++
		return []string{"moscow", "localhost"}[asked%2]
	}
	s.run(lasting)
	s.silent(4)
	s.reports("groucho imapd on moscow: over")
}
