package alertmail

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// A topic is what a message reports: a storm, or a host whose rows can't be read.
type topic interface {
	went() *course
	size() int64                      // processes, or faults
	rank() int                        // how much it needs a person, 0 the most
	named() (user, proc, host string) // orders topics of one rank and size
	unreported(w way) bool            // there is something to repeat
	urgent(why news) bool
	summary(longest int, now time.Time) string // names in it are cut to so many columns
	lines(l *layout, here string) []string
	steps() []string // what to do next
	severity() string
	labels(severity string) map[string]string
	settle() // notes that what isn't remembered any longer has been reported
}

// A course is the history of a topic: since when it is seen, and how far it has been
// reported.
type course struct {
	since, seen, over time.Time // over is zero while it lasts
	inARow            int64     // runs with it up to now
	missed            int64     // whole runs without it since it was seen
	here              bool      // it was seen in this run
	reports           [numWays]report
	graded            string // severity of the alert that was taken
}

func (c *course) way(w way) *report { return &c.reports[w] }

func (c *course) lasts() bool { return c.over.IsZero() }

// see notes that a run has seen the topic.
func (c *course) see(now time.Time) {
	if c.since.IsZero() {
		c.since = now
	}
	c.here, c.seen, c.missed = true, now, 0
	c.inARow++
}

// miss notes a run without the topic. The run counts if it was whole and had rows of the
// topic's host. It reports whether nothing is left to remember.
func (c *course) miss(counts bool, o schedule, now time.Time) (forget bool) {
	if counts {
		c.missed++
		c.inARow = 0
	}
	// A run that counts breaks the silence, however far the clock has jumped.
	if c.missed < o.overAfter && (counts || now.Sub(c.seen) < silence) {
		return false
	}
	c.over = now
	forget = true
	for w := range c.reports {
		if r := &c.reports[w]; r.begun() {
			r.news |= over
			forget = false
		}
	}
	return forget
}

// A schedule says when a topic is reported.
type schedule struct {
	// repeats are the times after which a report is repeated while nothing is new, the
	// last of them again and again; 0 is in every run.
	repeats   []time.Duration
	after     int64 // runs in a row that it must have been there
	overAfter int64 // whole runs without it, and it is over
}

// silence is how long a host may have no rows before its storms are forgotten.
const silence = 24 * time.Hour

// repeatable reports whether the time has come to repeat a report of which nothing is new.
// A twentieth of it may be missing, because cron isn't punctual. A time in the future
// comes from a clock that was wrong.
func (o schedule) repeatable(r *report, now time.Time) bool {
	repeat := o.repeats[min(r.repeats, int64(len(o.repeats)-1))]
	since := now.Sub(r.at)
	return !r.at.IsZero() && (since < 0 || since >= repeat-repeat/20)
}

// compare orders topics, the worst first.
func compare[T topic](a, b T) int {
	user, proc, host := a.named()
	user2, proc2, host2 := b.named()
	return cmp.Or(
		cmp.Compare(a.rank(), b.rank()),
		-cmp.Compare(a.size(), b.size()),
		cmp.Compare(user, user2),
		cmp.Compare(proc, proc2),
		cmp.Compare(host, host2))
}

// lines returns one line about the topic's history, if that is known. counts are of its
// processes.
func (c *course) lines(l *layout, host string, counts ...string) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	switch {
	case c.since.IsZero():
	case !c.lasts() && c.seen.After(c.since):
		say("lasted %s, from %s to %s", span(c.seen.Sub(c.since)), l.show(c.since), l.show(c.seen))
	case !c.lasts():
		say("seen once, at %s", l.show(c.since))
	case l.now.Sub(c.since) >= time.Second:
		say("first seen %s, %s ago", l.show(c.since), span(l.now.Sub(c.since)))
	}
	if !c.lasts() && c.missed < l.overAfter {
		say("no rows of %s since", host)
	}
	if c.lasts() && !c.since.IsZero() && !c.here {
		say("last seen %s", l.show(c.seen))
	}
	return parts(strings.Join(append(said, counts...), "; "), "\n")
}
