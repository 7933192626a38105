package alertmail

import (
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// A storm is one account's processes of one name on one host, as the rows of many
// runs add up to. Its text is printable.
type storm struct {
	identity
	latest
	history
	pending
}

// history is what all rows of a storm add up to.
type history struct {
	course
	known
	peak      int64
	actions   string    // all that were ever due, in the order in which they came
	total     int64     // processes killed
	kills     int64     // runs in which some were
	firstKill time.Time // when
	samples   samples   // the counts of the last snapshots
	names     string    // of the processes, if they are of several, the last of them
	others    int64     // how many names there were
}

// newStorm returns the storm that a sighting begins.
func newStorm(n sighting, now time.Time) *storm {
	s := &storm{}
	s.absorb(n, now)
	s.pending = n.pending
	return s
}

// absorb adds what a later row says, and returns what of it is news.
func (s *storm) absorb(n sighting, now time.Time) (found news) {
	due := s.due
	s.identity, s.latest = n.identity, n.latest
	s.peak = max(s.peak, n.peak)
	for _, name := range strings.Fields(n.names) {
		if !hasWord(s.names, name) {
			s.names = withPart(s.names, name, " ", mostNames)
			s.others++
		}
	}
	s.due = due
	for _, name := range strings.Fields(n.due) {
		s.due = withWord(s.due, name)
		if !hasWord(s.actions, name) {
			s.actions = withWord(s.actions, name)
			found |= action
		}
	}
	if n.total > 0 {
		if s.total == 0 {
			s.firstKill = now
			found |= killed
		}
		s.total, s.kills = s.total+n.total, s.kills+1
	}
	return found | s.pending.add(n.pending, &s.known)
}

// see adds what a run has found of the storm.
func (s *storm) see(found sighting, o schedule, now time.Time) {
	was, waiting := s.latest, s.pending
	peak := s.peak
	s.due = ""
	seen := s.absorb(found, now)
	s.course.see(now)
	s.samples.add(now, s.count)
	if s.quiet { // it lasts, but this row alone is worth no message
		s.inARow, seen = 0, 0
	}
	if found.acted || s.killed != was.killed || s.remaining != was.remaining || s.peak > peak ||
		s.archived != waiting.archived || s.errors != waiting.errors {
		seen |= more
	}
	count := s.count
	if s.quiet {
		count = 0
	}
	ready := !s.quiet && (s.inARow >= o.after || seen.has(killed|failure))
	for w := range numWays {
		if w != byPage || s.isDue(rows.ActionPage) {
			s.way(w).learn(seen, count, ready)
		}
	}
}

func (s *storm) went() *course                    { return &s.course }
func (s *storm) size() int64                      { return s.count }
func (s *storm) named() (user, proc, host string) { return s.user, s.proc, s.host }
func (s *storm) isDue(action string) bool         { return hasWord(s.due, action) }
func (s *storm) hasBeenDue(action string) bool    { return hasWord(s.actions, action) }
func (s *storm) settle()                          { s.pending = pending{} }

// unreported reports whether there is anything to repeat of a storm that lasts.
func (s *storm) unreported(w way) bool {
	here := s.here && !s.quiet
	if w == byPage {
		return here && s.isDue(rows.ActionPage)
	}
	return here || s.acted || s.archived != "" || s.errors != ""
}

// urgent reports whether the storm has to do with a page or a kill, now or in what
// is reported for these reasons.
func (s *storm) urgent(why news) bool {
	was := why.has(isNew | action)
	urgent := s.acted || s.isDue(rows.ActionPage) || s.isDue(rows.ActionKill) || was && (s.hasBeenDue(rows.ActionPage) || s.hasBeenDue(rows.ActionKill))
	return urgent && (s.freshlyActed() || s.lasts())
}

// freshlyActed reports whether killstorm did something that is news. It is no news if the
// storm is over and was reported before.
func (s *storm) freshlyActed() bool { return s.acted && (s.lasts() || s.way(byMail).at.IsZero()) }

// newFate is the fate of the processes if it hasn't been reported.
func (s *storm) newFate() fate {
	if !s.acted {
		return untouched
	}
	return s.fate()
}

func (s *storm) rank() int {
	switch {
	case s.freshlyActed() && s.remaining.N > 0:
		return 1
	case s.freshlyActed() && s.total > 0:
		return 2
	case !s.lasts():
		return 6
	case s.isDue(rows.ActionPage):
		return 3
	case s.errors != "":
		return 4
	}
	return 5
}

// severity is the label of the highest action that was ever due, so that a storm that
// wanes keeps its alert.
func (s *storm) severity() string {
	switch {
	case s.acted || s.hasBeenDue(rows.ActionPage) || s.hasBeenDue(rows.ActionKill):
		return "critical"
	case s.hasBeenDue(rows.ActionAlert):
		return "warning"
	}
	return "info"
}

// labels name the storm as the stream does. An empty one counts as absent.
func (s *storm) labels(severity string) map[string]string {
	return map[string]string{"alertname": "ProcessStorm", "host": s.host, "user": s.user, "proc": s.proc, "severity": severity}
}
