package alertmail_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// A story is a state with a clock of its own, and a mailer that takes mails
// unless it is down.
type story struct {
	t   *testing.T
	o   alertmail.Options
	dir string
	now time.Time

	mutex sync.Mutex // of now, while alertmail runs
}

func newStory(t *testing.T) *story {
	t.Helper()
	o, dir := mailing(t, `test ! -e down || exit 75; n=$(ls mail.* 2>/dev/null | wc -l); cat >mail.$(printf %04d $n)`)
	s := &story{t: t, dir: dir, now: dry().Now()}
	s.o = o
	s.o.State = filepath.Join(dir, "state.csv")
	s.o.Now = func() time.Time {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		return s.now
	}
	return s
}

// pass moves the clock of a running alertmail.
func (s *story) pass(while time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.now = s.now.Add(while)
}

// runFeed is a Run whose input is fed. A mailer that is busy when the clock moves would
// make the number of mails depend on the machine, so each snapshot waits for it.
func (s *story) runFeed(feed *feeder) {
	s.t.Helper()
	var out bytes.Buffer
	next := feed.atEnd
	feed.atEnd = func() {
		s.awaitMailer()
		next()
	}
	if err := alertmail.Run(s.o, feed, &out); err != nil {
		s.t.Error(err)
	}
	if out.Len() > 0 {
		s.t.Errorf("printed %q", &out)
	}
}

// awaitMailer waits until no message is in flight in the state.
func (s *story) awaitMailer() {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(s.o.State); err != nil || !strings.Contains(string(text), "\nmail,,") && !strings.Contains(string(text), "\npage,,") {
			return
		} else if !strings.Contains(string(text), ",<stormcheck.") {
			return
		}
	}
	s.t.Error("the mailer hangs")
}

// sent returns the subjects of all mails up to now.
func (s *story) sent() (subjects []string) {
	s.t.Helper()
	paths, _ := filepath.Glob(s.dir + "/mail.*")
	for _, path := range paths {
		subjects = append(subjects, parse(s.t, contents(s.t, path)).subject)
	}
	return subjects
}

// mentions reports whether a mail has the text.
func (s *story) mentions(text string) bool {
	s.t.Helper()
	paths, _ := filepath.Glob(s.dir + "/mail.*")
	return slices.ContainsFunc(paths, func(path string) bool { return strings.Contains(parse(s.t, contents(s.t, path)).body, text) })
}

// run is a run a minute later, in which there is nothing to report. It returns the
// mails that were sent.
func (s *story) run(all ...cells) []parsed {
	s.t.Helper()
	mails, problems := s.input(stream(all...))
	if len(problems) > 0 {
		s.t.Errorf("at %s: %q", s.now.Format(time.TimeOnly), problems)
	}
	return mails
}

func (s *story) input(in string) (mails []parsed, problems []string) {
	s.t.Helper()
	s.now = s.now.Add(time.Minute)
	before, _ := filepath.Glob(s.dir + "/mail.*")
	out, problems := run(s.t, s.o, in)
	if out != "" {
		s.t.Errorf("printed %q", out)
	}
	after, _ := filepath.Glob(s.dir + "/mail.*")
	for _, path := range after[len(before):] {
		mails = append(mails, parse(s.t, contents(s.t, path)))
	}
	return mails, problems
}

// subjects returns those of a run.
func (s *story) subjects(all ...cells) (subjects []string) {
	s.t.Helper()
	for _, p := range s.run(all...) {
		subjects = append(subjects, p.subject)
	}
	return subjects
}

// silent is some runs in which nothing must be sent.
func (s *story) silent(runs int, all ...cells) {
	s.t.Helper()
	for range runs {
		if sent := s.subjects(all...); len(sent) > 0 {
			s.t.Errorf("at %s sent %q", s.now.Format(time.TimeOnly), sent)
		}
	}
}

// reports is a run in which one mail with the subject must be sent; it returns the
// rows of the text.
func (s *story) reports(subject string, all ...cells) string {
	s.t.Helper()
	mails := s.run(all...)
	if len(mails) != 1 {
		s.t.Errorf("at %s %d mails, want one: %s", s.now.Format(time.TimeOnly), len(mails), subject)
		return ""
	}
	same(s.t, mails[0].subject, subject)
	return below(s.t, mails[0].body)
}

func (s *story) mailer(down bool) {
	s.t.Helper()
	path := filepath.Join(s.dir, "down")
	if !down {
		_ = os.Remove(path)
	} else if err := os.WriteFile(path, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// with returns the row with more cells.
func with(row cells, more ...any) cells {
	row = maps.Clone(row)
	for i := 0; i < len(more); i += 2 {
		row[more[i].(rows.Column)] = fmt.Sprint(more[i+1])
	}
	return row
}

var lasting = cells{rows.UID: "1001", rows.Actions: "log=20 alert=60"}

func TestStormIsReportedWhenNewAndWhenOver(t *testing.T) {
	s := newStory(t)
	s.silent(3)
	same(t, s.reports("404 groucho imapd on moscow", lasting), "\n         404 groucho imapd\n")
	s.silent(55, lasting)
	s.silent(1, with(lasting, rows.Count, 807, rows.Recent, 1))
	// 57 minutes after the last mail, not after the last run.
	same(t, s.reports("100 groucho imapd on moscow", with(lasting, rows.Count, 100, rows.Recent, 61)),
		"\n         100 groucho imapd\n        first seen 00:21 -0500, 57 minutes ago; peak 807; 61 started in the last minute\n")
	s.silent(4)
	same(t, s.reports("groucho imapd on moscow: over"),
		"\n        over groucho imapd\n        lasted 57 minutes, from 00:21 -0500 to 01:18; peak 807\n")
	s.silent(70)
	if text := contents(t, s.o.State); strings.Count(text, "\n") != 1 {
		t.Errorf("still remembered:\n%s", text)
	}
	s.reports("404 groucho imapd on moscow", lasting)
}

// TestNewsIsMailedAtOnceAndOnce: each of these is mailed at once, and once.
func TestNewsIsMailedAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		next     cells
		reported bool
	}{
		{"nothing", lasting, false},
		{"a limit's other number", with(lasting, rows.Actions, "log=30 alert=20"), false},
		{"a new action", with(lasting, rows.Actions, "alert=60 archive=60"), true},
		{"not quite twice", with(lasting, rows.Count, 807), false},
		{"twice", with(lasting, rows.Count, 808), true},
		{"a copy", with(lasting, rows.Archived, "/a/groucho.1"), true},
		{"a failure", with(lasting, rows.Errors, "killstorm: 6 uninterruptible (D)"), true},
		{"a note", with(lasting, rows.Notes, "killstorm: no mailbox to lock"), false},
		{"a kill", with(lasting, rows.Killed, 3, rows.Remaining, 0), true},
		{"no kill", with(lasting, rows.Killed, 0), false},
		{"a name for the uid", with(lasting, rows.User, "renamed"), false},
		{"another uid", with(lasting, rows.UID, "1002"), true},
		{"another process", with(lasting, rows.Proc, "pop3d"), true},
		{"another host", with(lasting, rows.Host, "tula"), true},
		{"somebody behind the uid", with(lasting, rows.Account, "vmail"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t)
			s.run(lasting)
			if sent := s.subjects(c.next); (len(sent) > 0) != c.reported || len(sent) > 1 {
				t.Errorf("sent %q", sent)
			}
			s.silent(3, c.next)
		})
	}
}

// TestStormThatSubsidesAgainIsNews: one that is gone whenever killstorm comes is
// reported once more.
func TestStormThatSubsidesAgainIsNews(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	subsided := func(n int64) cells {
		return with(lasting, rows.Actions, "alert=60 kill=100", rows.Killed, 0, rows.Remaining, 0,
			rows.Notes, "killstorm: "+rows.FormatSubsided(n, "120 named bash started at the same time"))
	}
	s.reports("404 groucho imapd on moscow: subsided to 0", subsided(0))
	s.silent(1, with(lasting, rows.Actions, "alert=60 kill=100"))
	s.reports("404 groucho imapd on moscow: subsided to 3", subsided(3))
	s.silent(3, subsided(0))
}

// TestNumbersMakeNoNewFailure: numbers don't make a failure new, and one that finds ever
// new words is reported with the storm in the end.
func TestNumbersMakeNoNewFailure(t *testing.T) {
	s := newStory(t)
	s.run(with(lasting, rows.Errors, "mailarchive: held by pid 4711"))
	s.silent(3, with(lasting, rows.Errors, "mailarchive: held by pid 12"))
	sent := 0
	for i := range 40 {
		sent += len(s.run(with(lasting, rows.Errors, "mailarchive: held by "+strings.Repeat("x", i+1))))
	}
	if sent != 7 {
		t.Errorf("%d mails about words that a user chose", sent)
	}
}

func TestKillsAreSummed(t *testing.T) {
	s := newStory(t)
	kill := with(incident, rows.UID, 1001, rows.Count, 120, rows.Killed, 120)
	same(t, s.reports("120 groucho imapd on moscow: killed, mail saved", kill), `
         120 groucho imapd
        saved user mail file as /var/mail/arc/groucho.956639822
        killed all groucho imapd processes
`)
	s.silent(56, kill)
	same(t, s.reports("110 groucho imapd on moscow: killed 103, 7 LEFT, mail saved", with(kill, rows.Count, 110, rows.Killed, 103, rows.Remaining, 7,
		rows.Errors, "killstorm: 7 remaining: 3 uninterruptible (D) and 4 respawned")), `
         110 groucho imapd
        first seen 00:18 -0500, 57 minutes ago; peak 120
        6943 killed in 58 runs since 00:18
        saved user mail file as /var/mail/arc/groucho.956639822
        killed 103 groucho imapd processes, 7 remaining (3 uninterruptible (D), 4 respawned)
`)
	s.silent(2, kill)
	s.silent(4)
	same(t, s.reports("groucho imapd on moscow: over, 7183 killed, mail saved"), `
        over groucho imapd
        lasted 59 minutes, from 00:18 -0500 to 01:17; peak 120
        7183 killed in 60 runs since 00:18
        saved user mail file as /var/mail/arc/groucho.956639822
        killed all groucho imapd processes
`)
}

func TestAfterRunsInARow(t *testing.T) {
	s := newStory(t)
	s.o.After = 3
	s.silent(2, lasting)
	s.silent(1)
	s.silent(2, lasting)
	s.reports("404 groucho imapd on moscow", lasting)
	s.silent(1)
	s.silent(1, lasting)
	s.silent(4)
	s.reports("groucho imapd on moscow: over")

	s.silent(2, lasting)
	s.silent(20) // it was never reported, and so isn't its end
	s.reports("404 groucho imapd on moscow: killed", with(lasting, rows.Killed, 404, rows.Remaining, 0))
	s.reports("404 harpo imapd on moscow: FAILED", cells{rows.User: "harpo", rows.Errors: "x: y"})
}

func TestRepeatZeroReportsInEveryRun(t *testing.T) {
	s := newStory(t)
	s.o.Repeats = []time.Duration{0}
	for range 3 {
		s.reports("404 groucho imapd on moscow", lasting)
	}
	s.silent(4)
}

// TestWhichRunsCount: of the runs without a storm only those that were whole and had rows
// of its host.
func TestWhichRunsCount(t *testing.T) {
	tula := with(lasting, rows.Host, "tula")
	quiet := cells{rows.Host: "tula", rows.User: "harpo"} // nothing to report
	t.Run("another host", func(t *testing.T) {
		s := newStory(t)
		s.run(tula)
		s.silent(10)
		s.silent(10, cells{rows.User: "harpo"})
		s.silent(4, quiet)
		s.reports("groucho imapd on tula: over", quiet)
	})
	t.Run("silence", func(t *testing.T) {
		s := newStory(t)
		s.run(tula)
		s.now = s.now.Add(24*time.Hour - 2*time.Minute)
		s.silent(1)
		same(t, s.reports("groucho imapd on tula: over"), "\n        over groucho imapd\n        seen once, at Apr 25 00:18 -0500; no rows of tula since; peak 404\n")
	})
	t.Run("broken", func(t *testing.T) {
		s := newStory(t)
		s.run(lasting)
		for range 10 {
			s.input(stream() + "cut,row\n")
		}
		s.input("")
		s.silent(4)
		mails := s.run()
		if len(mails) != 1 || mails[0].subject != "groucho imapd on moscow: over (and 1 more)" {
			t.Errorf("%v", mails)
		}
	})
	t.Run("here, by a header among rows of others", func(t *testing.T) {
		s := newStory(t)
		s.run(lasting)
		for range 5 {
			s.input(stream() + stream(quiet))
		}
		if text := contents(t, s.o.State); strings.Contains(text, "groucho") {
			t.Errorf("not over:\n%s", text)
		}
	})
}

func TestEachSnapshotIsARun(t *testing.T) {
	s := newStory(t)
	s.o.Each = true
	subjects := func(in string) (subjects []string) {
		mails, problems := s.input(in)
		if len(problems) > 0 {
			t.Error(problems)
		}
		for _, p := range mails {
			subjects = append(subjects, p.subject)
		}
		return subjects
	}
	one, none := stream(lasting), stream()
	if got, want := subjects(one+one+none+none+none+none+none+none), []string{"404 groucho imapd on moscow", "groucho imapd on moscow: over"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The header behind the last snapshot of a standing pipe is none.
	subjects(one + none)
	for range 4 {
		if got := subjects(none + none); len(got) > 0 {
			t.Errorf("sent %q", got)
		}
	}
	if got := subjects(none + none); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
	// An unfit header spoils its own snapshot, not the one before.
	subjects(one)
	for range 9 {
		s.input(none + strings.Repeat("cut,row\n", 9) + "time,user,proc,count\n" + none)
	}
	if text := contents(t, s.o.State); !strings.Contains(text, "\nstorm,moscow,groucho") {
		t.Errorf("over:\n%s", text)
	}
}

func TestBrokenInputIsReportedOnce(t *testing.T) {
	s := newStory(t)
	mails, problems := s.input("")
	if len(mails) != 1 || len(problems) != 1 {
		t.Fatalf("%d mails, reported %q", len(mails), problems)
	}
	same(t, mails[0].subject, "stormcheck on moscow is not working: <stdin>: no input, not even a header: th…")
	same(t, below(t, mails[0].body), "\n        stormcheck on moscow is not working: <stdin>: no input, not even a header: the stage before failed\n")
	for range 55 {
		if mails, _ := s.input(""); len(mails) > 0 {
			t.Errorf("at %s %q", s.now.Format(time.TimeOnly), mails[0].subject)
		}
	}
	bad := stream(incident) + strings.Repeat("cut,row\n", 9)
	mails, _ = s.input(bad)
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	same(t, mails[0].subject, "stormcheck on moscow is not working: <stdin>: no input, not even… (and 1 more)")
	same(t, below(t, mails[0].body), `
        stormcheck on moscow is not working: <stdin>: no input, not even a header: the stage before failed
        <stdin>:7: 2 cells where the header has 19
        9 faults in the last input
        first seen 00:18 -0500, 56 minutes ago

         404 groucho imapd
        saved user mail file as /var/mail/arc/groucho.956639822
        killed all groucho imapd processes
`)
}

// TestUnreportedAddsUpWhileNobodyTakesMail: while nobody takes the mail all is added up, storms that are over
// by then too. What is wrong is said at first and then hourly; the status is 1 each
// time.
func TestUnreportedAddsUpWhileNobodyTakesMail(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.mailer(true)
	said := 0
	run := func(all ...cells) {
		t.Helper()
		mails, problems := s.input(stream(all...))
		if len(mails) > 0 {
			t.Errorf("sent %q", mails[0].subject)
		}
		said += len(problems)
	}
	kill := with(incident, rows.UID, 1001)
	for range 3 {
		run(kill)
	}
	if said != 1 {
		t.Errorf("%d failures said", said)
	}
	harpo := cells{rows.User: "harpo", rows.Count: "61", rows.Actions: "alert=60"}
	run(harpo, with(kill, rows.Errors, "mine: odd", rows.Archived, "/a/2", rows.Killed, 911, rows.Count, 911))
	for range 116 {
		run(with(harpo, rows.Count, 62))
	}
	if said != 2 {
		t.Errorf("%d failures said in two hours", said)
	}
	if err := alertmail.Run(silently(s.o), strings.NewReader(stream()), nil); err != filter.ErrFailed {
		t.Errorf("a failure that was said before: %v", err)
	}
	s.mailer(false)
	s.input(stream(harpo)) // nothing is new: it isn't tried each minute
	s.now = s.now.Add(15 * time.Minute)
	same(t, s.reports("groucho imapd on moscow: over, 2123 killed, mail saved (and 1 more)", harpo), `
        over groucho imapd
        lasted 3 minutes, from 00:18 -0500 to 00:21; peak 911
        2123 killed in 4 runs since 00:18
        saved user mail file as /var/mail/arc/groucho.956639822
        saved user mail file as /a/2
        killed all groucho imapd processes
        FAILED mine: odd

          62 harpo imapd
        first seen 00:21, 74 minutes ago
`)
	s.silent(4)
	s.reports("harpo imapd on moscow: over")
	s.silent(5)
	s.mailer(true)
	run(kill)
	if said != 3 {
		t.Errorf("a new failure wasn't said: %d", said)
	}
}

// TestFailedMailerHasAPause: a mailer that has just failed isn't tried by each snapshot of a
// standing pipe, but a minute later it is.
func TestFailedMailerHasAPause(t *testing.T) {
	s := newStory(t)
	s.mailer(true)
	s.input(stream(lasting))
	s.mailer(false)
	s.now = s.now.Add(-time.Minute + retryPause - time.Second)
	if mails, problems := s.input(stream(lasting)); len(mails) > 0 || len(problems) > 0 {
		t.Errorf("%d mails, reported %q", len(mails), problems)
	}
	s.now = s.now.Add(-time.Minute + time.Second)
	s.reports("404 groucho imapd on moscow", lasting)
}

const retryPause = 20 * time.Second

func silently(o alertmail.Options) alertmail.Options {
	o.Report = func(error) {}
	return o
}

// TestFailureGoesToSyslog: a failure goes to the system's log as well.
func TestFailureGoesToSyslog(t *testing.T) {
	s := newStory(t)
	s.mailer(true)
	s.o.Syslog = filepath.Join(s.dir, "log")
	log, err := net.ListenPacket("unixgram", s.o.Syslog)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.input(stream(lasting))
	line := make([]byte, 1000)
	_ = log.SetReadDeadline(time.Now().Add(time.Minute))
	n, _, err := log.ReadFrom(line)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(line[:n]); !strings.HasPrefix(text, "<27>") || !strings.HasSuffix(text, fmt.Sprintf(" alertmail[%d]: %s: exit status 75", os.Getpid(), s.o.Sendmail)) {
		t.Errorf("%q", text)
	}
}

// TestWithoutAStateAllIsNew: without a state that can be written, what isn't taken is on
// stderr; with a mailer that takes it, all is new each time.
func TestWithoutAStateAllIsNew(t *testing.T) {
	s := newStory(t)
	var stderr bytes.Buffer
	s.o.Stderr = &stderr
	for _, state := range []string{filepath.Join(s.dir, "no/such"), filepath.Join(s.dir, "link")} {
		_ = os.Symlink("nowhere", filepath.Join(s.dir, "link"))
		s.o.State = state
		for range 2 {
			if mails, problems := s.input(stream(lasting)); len(mails) != 1 || len(problems) != 1 {
				t.Errorf("%s: %d mails, reported %q", state, len(mails), problems)
			}
		}
		if stderr.Len() > 0 {
			t.Errorf("on stderr: %s", &stderr)
		}
		s.mailer(true)
		if _, problems := s.input(stream(lasting)); len(problems) != 2 || !strings.Contains(stderr.String(), "\n         404 groucho imapd\n") {
			t.Errorf("reported %q, on stderr %q", problems, &stderr)
		}
		s.mailer(false)
		stderr.Reset()
	}
}

// TestUnwritableStateLosesNothing: what was written before stays, and a message goes out or is
// seen.
func TestUnwritableStateLosesNothing(t *testing.T) {
	s := newStory(t)
	s.run(lasting)
	if err := os.MkdirAll(s.o.State+".new/in the way", 0o700); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s.o.Stderr = &stderr
	harpo := with(lasting, rows.User, "harpo", rows.UID, 1002)
	if mails, problems := s.input(stream(harpo)); len(mails) != 1 || len(problems) != 1 || stderr.Len() > 0 {
		t.Errorf("%d mails, reported %q, on stderr %q", len(mails), problems, &stderr)
	}
	s.mailer(true)
	_, problems := s.input(stream(harpo))
	if len(problems) != 2 || !strings.HasPrefix(problems[0], s.o.State+": ") {
		t.Errorf("reported %q", problems)
	}
	if !strings.Contains(stderr.String(), "404 harpo imapd") {
		t.Errorf("on stderr %q", &stderr)
	}
	if text := contents(t, s.o.State); !strings.Contains(text, "groucho") {
		t.Errorf("the state is %q", text)
	}
}

// TestWorstStormsAreRemembered: of more storms than are remembered the worst are, and the state is
// as large as it may be, not as the input.
func TestWorstStormsAreRemembered(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fifty thousand storms")
	}
	s := newStory(t)
	var b strings.Builder
	b.WriteString("host,user,uid,proc,count,actions,errors\n")
	for i := range 50000 {
		fmt.Fprintf(&b, "moscow,u%d,%d,vi,%d,alert=20,mine: %s\n", i, i, 20+i, strings.Repeat("x", 100))
	}
	mails, problems := s.input(b.String())
	if len(mails) != 1 || len(problems) > 0 || !strings.Contains(mails[0].body, "\n        50019 u49999 vi\n") {
		t.Errorf("%d mails, reported %q", len(mails), problems)
	}
	text := contents(t, s.o.State)
	if n := strings.Count(text, "\nstorm,"); n != 2000 || !strings.Contains(text, ",u49999,") || strings.Contains(text, ",u1,") {
		t.Errorf("%d storms remembered", n)
	}
}

func TestUnreadableStateIsKept(t *testing.T) {
	s := newStory(t)
	s.run(lasting)
	for _, text := range []string{
		"dear diary\n", "what,host\nstorm\n", "what,host,first_seen\nstorm,moscow,yesterday\n", "what,count\nstorm,-1\n", "what,id\nmail,a b\n", "what\nnonsense\n",
	} {
		if err := os.WriteFile(s.o.State, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if mails, problems := s.input(stream(lasting)); len(mails) != 1 || len(problems) != 1 {
			t.Errorf("%q: %d mails, reported %q", text, len(mails), problems)
		}
		s.silent(1, lasting)
	}
}

// TestDryRunTouchesNothing: it prints as if nothing had been reported.
func TestDryRunTouchesNothing(t *testing.T) {
	s := newStory(t)
	s.run(lasting)
	before := contents(t, s.o.State)
	s.o.DryRun = true
	out := quiet(t, s.o, stream(lasting, with(lasting, rows.User, "harpo", rows.UID, 1002)))
	if strings.Count(out, " 404 ") != 3 {
		t.Errorf("printed %s", out)
	}
	same(t, contents(t, s.o.State), before)
}

func TestPageIsOneLine(t *testing.T) {
	s := newStory(t)
	s.o.PageTo = []string{"pager@example.org"}
	paged := with(lasting, rows.Actions, "alert=60 page=100", rows.UID, 1009, rows.User, strings.Repeat("long", 50))
	subjects := func(mails []parsed) (all []string) {
		for _, p := range mails {
			all = append(all, p.header.Get("To")+" "+p.subject)
		}
		return all
	}
	if got, want := subjects(s.run(lasting)), []string{"root 404 groucho imapd on moscow"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	mails := s.run(lasting, paged, with(paged, rows.Proc, "vi"))
	if len(mails) != 2 || mails[1].header.Get("To") != "pager@example.org" {
		t.Fatalf("%q", subjects(mails))
	}
	line, rest, _ := strings.Cut(mails[1].body, "\n")
	if rest != "" || len(line) > 80 || line != mails[1].subject || !strings.HasPrefix(line, "404 longlong") || !strings.HasSuffix(line, "… imapd on moscow (and 1 more)") {
		t.Errorf("page of %d: %q", len(line), mails[1].body)
	}
	s.silent(3, lasting, paged, with(paged, rows.Proc, "vi"))

	// Each way remembers for itself what wasn't taken.
	s.o.Sendmail += "-mail"
	text := contents(t, strings.TrimSuffix(s.o.Sendmail, "-mail"))
	text = strings.Replace(text, "test", `for to; do :; done; test "$to" = root || exit 75; test`, 1)
	if err := os.WriteFile(s.o.Sendmail, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	groucho := with(lasting, rows.Actions, "alert=60 page=100")
	mails, problems := s.input(stream(groucho))
	if len(mails) != 1 || len(problems) != 1 || mails[0].header.Get("To") != "root" {
		t.Errorf("%q, reported %q", subjects(mails), problems)
	}
	s.o.Sendmail = strings.TrimSuffix(s.o.Sendmail, "-mail")
	if got, want := subjects(s.run(groucho)), []string{"pager@example.org 404 groucho imapd on moscow"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	// Only pages: the other rows are reported to nobody.
	s = newStory(t)
	s.o.PageTo, s.o.To = []string{"pager"}, nil
	s.silent(2, lasting)
	if got, want := subjects(s.run(groucho)), []string{"pager 404 groucho imapd on moscow"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestMailsOfAStormAreOneThread: all mails of a storm refer to one id, and those of the next storm of
// the same name to another.
func TestMailsOfAStormAreOneThread(t *testing.T) {
	s := newStory(t)
	s.o.Repeats = []time.Duration{0}
	var threads []string
	for range 2 {
		for range 2 {
			threads = append(threads, s.run(lasting)[0].header.Get("References"))
		}
		s.silent(4)
		threads = append(threads, s.run()[0].header.Get("References"))
	}
	if threads[0] == "" || threads[0] != threads[1] || threads[1] != threads[2] || threads[3] != threads[4] || threads[3] != threads[5] || threads[2] == threads[3] {
		t.Errorf("%q", threads)
	}
}

// FuzzState: whatever somebody writes into the state, what comes of it is
// a mail, or nothing.
func FuzzState(f *testing.F) {
	f.Add("storm", "moscow", "groucho", "2000-04-25T05:14:02Z", "2000-04-25T05:15:02Z", "", "404", "new", "mine: x; y", "/a:/b", "<x@y>")
	f.Add("input", "a\nBcc: x@y", "\x1b[2J", "", "", "2000-04-25T05:14:02Z", "1", "over", "\u202e", ";;:", "a\n\nb")
	for _, text := range hostile {
		f.Add("storm", text, text, "", "", "", "1", text, text, text, text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, what, host, user, since, seen, over, count, news, errors, archived, id string) {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		_ = w.Write([]string{"what", "host", "user", "first_seen", "last_seen", "over", "count", "mail_news", "mail_sending", "errors", "archived", "id"})
		_ = w.Write([]string{what, host, user, since, seen, over, count, news, news, errors, archived, id})
		_ = w.Write([]string{"mail", "", "", "", "", "", "", "", "", "", "", id})
		w.Flush()
		o := dry()
		o.State, o.DryRun, o.Deadline = filepath.Join(dir, "state.csv"), false, 20*time.Second
		o.Sendmail = filepath.Join(dir, "sendmail")
		if err := os.WriteFile(o.State, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(o.Sendmail); err != nil {
			script := "#!/bin/sh\ncat >>" + dir + "/mail\n"
			if err := os.WriteFile(o.Sendmail, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(dir + "/mail")
		run(t, o, stream())
		text, err := os.ReadFile(dir + "/mail")
		if err != nil {
			return // nothing to report
		}
		for _, mail := range strings.SplitAfter(string(text), "\nFrom: ")[:1] {
			checkSafe(t, mail)
		}
	})
}
