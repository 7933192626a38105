package alertmail_test

import (
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

// gap is a row that says that rows of the host are missing.
func gap(host, errors string) cells {
	return cells{rows.Time: "", rows.Host: host, rows.User: "?", rows.Proc: "?", rows.Count: "0", rows.Actions: "", rows.Errors: errors}
}

// TestGapIsReportedWithItsFirstCause: not with what only follows from it.
func TestGapIsReportedWithItsFirstCause(t *testing.T) {
	s := newStory(t)
	cause := "threshold: /etc/stormcheck/limits.csv:33: kill: ' 100' is not a number"
	in := stream(gap("moscow", cause), gap("moscow", "mailarchive: no input")) + "cut,row\n"
	mails, _ := s.input(in)
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	same(t, mails[0].subject, "stormcheck on moscow is not working: threshold: /etc/stormcheck/limits.csv:33…")
	same(t, below(t, mails[0].body), "\n        stormcheck on moscow is not working: "+cause+"\n")
	if !strings.Contains(mails[0].body, "\nERROR:\n") || !strings.HasSuffix(mails[0].body, "\n    run:    stormcheck --check\n") {
		t.Error(mails[0].body)
	}
	for range 10 {
		if mails, _ := s.input(in); len(mails) > 0 {
			t.Errorf("again: %s", mails[0].subject)
		}
	}
	s.silent(4)
	s.reports("stormcheck on moscow works again")
}

// TestNoStormIsOverInAGap: a host whose rows are missing hasn't ended its storms, and a
// gap of one host says nothing of another.
func TestNoStormIsOverInAGap(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	tula := with(lasting, rows.Host, "tula")
	s.run(lasting, tula)
	quiet := cells{rows.Host: "tula", rows.User: "harpo"}
	if n := len(s.run(gap("moscow", "killstorm: terminated after 540 s"), quiet)); n != 1 {
		t.Errorf("%d mails of the gap", n)
	}
	s.silent(3, gap("moscow", "killstorm: terminated after 540 s"), quiet)
	s.reports("groucho imapd on tula: over", gap("moscow", "killstorm: terminated after 540 s"), quiet)
	s.silent(20, gap("moscow", "killstorm: terminated after 540 s"), quiet)
	s.silent(4)
	s.reports("groucho imapd on moscow: over (and 1 more)")
}

// TestGapIsNeitherLoggedNorCounted as a row, and a remote host's is reported too.
func TestGapIsNeitherLoggedNorCounted(t *testing.T) {
	o := counting(t)
	o.To, o.DryRun = nil, false
	o.Log = t.TempDir() + "/log"
	out := quiet(t, o, stream(incident, gap("tula", "ssh: no route to host")))
	if !strings.Contains(out, "stormcheck on tula is not working: ssh: no route to host") {
		t.Error(out)
	}
	if log := contents(t, o.Log); strings.Contains(log, "?") {
		t.Error(log)
	}
	if got := samples(t, o.Metrics); got["errors_total other"] != 0 || got["last_run_timestamp_seconds"] != 0 {
		t.Errorf("%v", got)
	}
}

// TestNewNamesOfOneAccountAreOneStorm: two hundred snapshots with a new process name
// in each.
func TestNewNamesOfOneAccountAreOneStorm(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	sent := 0
	for i := range 200 {
		row := with(lasting, rows.Proc, "x"+strings.Repeat("y", i%10)+string(rune('a'+i/10)))
		sent += len(s.run(row, with(lasting, rows.User, "harpo", rows.UID, 1002)))
	}
	if sent > 16 {
		t.Errorf("%d mails in three hours", sent)
	}
	text := contents(t, s.o.State)
	if !strings.Contains(text, "\nstorm,moscow,groucho,1001,,?,") {
		t.Errorf("no storm of several names in\n%s", text)
	}
	s.now = s.now.Add(2 * time.Hour)
	if mails := s.run(with(lasting, rows.Proc, "zz")); len(mails) != 1 || !strings.Contains(mails[0].body, "404 groucho processes of 19") {
		t.Errorf("%v", mails)
	}
}

// TestUnfitFileIsPaged: a storm that isn't ended because of it is paged,
// with its line, though its row isn't due for a page; one that is spared because of
// another file doesn't.
func TestUnfitFileIsPaged(t *testing.T) {
	for _, c := range []struct{ changed, reason, subject string }{
		{"/etc/stormcheck/limits.csv", "threshold: /etc/stormcheck/limits.csv:33: kill: ' 100' is not a number", "NOT killed (limits.csv:33 unfit)"},
		{"/etc/stormcheck/limits.d", "threshold: /etc/stormcheck/limits.d/10-a.csv:2: '*' and '*' hide all rows behind", "NOT killed (10-a.csv:2 unfit)"},
		{"/etc/stormcheck/limits.d", "threshold: /etc/stormcheck/limits.d/a; killstorm\x1b\n.csv:2: no", `NOT killed (a, killstorm\x1b\x0a.csv:2 unfit)`},
		{"/etc/stormcheck/titles.csv", "procstat: /etc/stormcheck/titles.csv: not root's", "NOT killed (titles.csv unfit)"},
		{"/etc/stormcheck/titles.csv", "threshold: /etc/stormcheck/limits.csv:33: kill: ' 100' is not a number", ""},
		{"/etc/stormcheck/limits.csv", "", ""},
	} {
		s := newStory(t)
		s.o.PageTo = []string{"pager@example.org"}
		row := with(incident, rows.Killed, "", rows.Remaining, "", rows.Errors, "", rows.Archived, "", rows.Actions, "log=20 alert=60 kill=100",
			rows.Notes, "killstorm: "+rows.FormatPathChanged(c.changed))
		in := []cells{row}
		if c.reason != "" {
			in = append(in, gap("moscow", c.reason))
		}
		pages := 0
		for _, m := range s.run(in...) {
			if m.header.Get("To") != "pager@example.org" {
				continue
			}
			pages++
			if want := "404 groucho imapd on moscow: " + c.subject; m.subject != want {
				t.Errorf("%s: %q, want %q", c.changed, m.subject, want)
			}
		}
		if want := min(1, len(c.subject)); pages != want {
			t.Errorf("%s with %q: %d pages, want %d", c.changed, c.reason, pages, want)
		}
		if mails := s.run(in...); len(mails) != 0 {
			t.Errorf("again at once: %v", mails)
		}
	}
}
