package alertmail

import (
	"cmp"
	"slices"
	"sort"
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
	peak      int64
	actions   string    // all that were ever due, in the order in which they came
	total     int64     // processes killed
	kills     int64     // runs in which some were
	firstKill time.Time // when
	copies    string    // that have been seen
	failures  string    // kinds of failure that have been seen
	samples   samples   // the counts of the last snapshots
	names     string    // of the processes, if they are of several, the last of them
	others    int64     // how many names there were
}

// Bounds of what is remembered of a storm.
const (
	mostCopies   = 20
	mostFailures = 8 // kinds of each tool; a tool that varies more triggers no message
	mostTools    = 8
	mostRemarks  = 4096 // bytes of notes, and of errors
	maxPath      = 1024 // bytes of a copy's path
)

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
	return found | s.pending.add(n.pending, &s.history)
}

// add adds what a later row has to report, and returns what of it is news to the
// storm's history.
func (p *pending) add(n pending, known *history) (found news) {
	if n.acted {
		p.acted = true
		p.errors = without(p.errors, func(m rows.Message) bool {
			_, _, isResistance := rows.ParseRemaining(m.Text)
			return isResistance && m.Tool == killstorm
		})
	}
	if n.mail != rows.MailUntouched {
		p.mail, p.mailOf = n.mail, n.mailOf
	}
	// What killstorm notes describes the row's processes, which the next row knows better.
	p.notes = without(p.notes, func(m rows.Message) bool { return m.Tool == killstorm })
	for _, path := range parts(n.archived, ":") {
		path = rows.Clip(path, maxPath)
		p.archived = withPart(p.archived, path, ":", mostCopies)
		if !slices.Contains(parts(known.copies, ":"), path) {
			known.copies = withPart(known.copies, path, ":", mostCopies)
			found |= archived
		}
	}
	for _, fault := range parts(n.errors, "; ") {
		if kind := kindOf(fault); known.isNewFailure(kind) {
			known.failures = withPart(known.failures, kind, "; ", mostFailures*mostTools)
			found |= failure
		}
	}
	p.notes, p.errors = withRemarks(p.notes, n.notes), withRemarks(p.errors, n.errors)
	return found
}

// isNewFailure reports whether the storm hasn't failed in this way before, nor its
// tool in so many that some user seems to choose the words.
func (h *history) isNewFailure(kind string) bool {
	known := parts(h.failures, "; ")
	if len(known) >= mostFailures*mostTools || slices.Contains(known, kind) {
		return false
	}
	tool, _, _ := strings.Cut(kind, ": ")
	others := slices.DeleteFunc(known, func(s string) bool { return !strings.HasPrefix(s, tool+": ") })
	return len(others) < mostFailures
}

var numbers = pattern(`[0-9]+( [0-9]+)*`)

// kindOf returns what a message has in common with the same one of another run:
// PIDs, counts and ages differ, and so does how many PIDs there are.
func kindOf(message string) string { return rows.Clip(numbers().ReplaceAllString(message, "#"), 160) }

// withRemarks adds messages to those of a cell. They replace those of their kind, and
// the oldest if there are too many.
func withRemarks(cell, more string) string {
	all := parts(cell, "; ")
	for _, message := range parts(more, "; ") {
		message = rows.Clip(message, mostRemarks/4)
		same := func(s string) bool { return kindOf(s) == kindOf(message) }
		all = append(slices.DeleteFunc(all, same), message)
		for length(all) > mostRemarks {
			all = all[1:]
		}
	}
	return strings.Join(all, "; ")
}

// length returns what messages take in a cell, in bytes.
func length(messages []string) (n int) {
	for _, s := range messages {
		n += len(s) + len("; ")
	}
	return n
}

// without returns a cell without the messages that match.
func without(cell string, match func(rows.Message) bool) string {
	return rows.JoinMessages(slices.DeleteFunc(rows.ParseMessages(cell), match))
}

// see adds what a run has found of the storm.
func (s *storm) see(found sighting, o rules, now time.Time) {
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

// untold reports whether there is anything to repeat of a storm that lasts.
func (s *storm) untold(w way) bool {
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

// freshlyActed reports whether killstorm did something that is news: of a storm that
// is over and was reported before, it isn't.
func (s *storm) freshlyActed() bool { return s.acted && (s.lasts() || s.way(byMail).at.IsZero()) }

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

// severity is the label of the highest action that has been due: a storm's alert
// doesn't become another when it wanes.
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

// anyName stands in the process column of a storm of several names. No process is
// called so, for the stream escapes it.
const anyName = "?"

// Bounds of an account's storms.
const (
	mostOwn   = 5  // names that are storms of their own; what else the account runs is one
	mostNames = 50 // names of that one that are remembered
)

// gathered returns the sighting as one of several names.
func (s sighting) gathered() sighting {
	s.names, s.proc = rows.Clip(strings.ReplaceAll(s.proc, " ", "_"), 40), anyName
	return s
}

// mostRows is how many rows a message shows.
const mostRows = 50

// An item is a topic of a message, and why it is there.
type item struct {
	topic
	why news
}

// A digest keeps the topics that a message shows and counts the others, so that
// memory doesn't grow with the input.
type digest struct {
	worst  []item // the worst first
	total  int64
	urgent bool // a storm of them all is
	lasts  bool // a storm of them all does
	broken bool // rows of a host can't be read
}

// merge adds what another digest has.
func (d *digest) merge(other *digest) {
	for _, i := range other.worst {
		d.add(i.topic, i.why)
	}
	d.total += other.total - int64(len(other.worst))
	d.urgent, d.lasts, d.broken = d.urgent || other.urgent, d.lasts || other.lasts, d.broken || other.broken
}

func (d *digest) add(t topic, why news) {
	d.total++
	_, isBroken := t.(*breakdown)
	lasts := t.went().lasts()
	d.urgent = d.urgent || t.urgent(why)
	d.lasts = d.lasts || !isBroken && lasts
	d.broken = d.broken || isBroken && lasts
	at := sort.Search(len(d.worst), func(i int) bool { return compare(d.worst[i].topic, t) > 0 })
	if at == mostRows {
		return
	}
	if len(d.worst) == mostRows {
		d.worst = d.worst[:mostRows-1]
	}
	d.worst = slices.Insert(d.worst, at, item{t, why})
}
