package alertmail

import (
	"cmp"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// A storm is what is told of one account's processes of one name on one host: as a
// row has it, or as the rows of many runs add up to. Its text is printable.
type storm struct {
	host, user, uid, account, proc string
	input                          bool // no storm: the input couldn't be read, and errors say why

	count  int64 // when last seen
	peak   int64
	recent rows.Number
	// actions are the names of all that were due, in the order in which they came.
	actions string
	due     string // of these, what the last row was due for

	total     int64     // killed in all
	kills     int64     // runs in which some were
	firstKill time.Time // when
	// What killstorm did to the last row, unknown where it did nothing to that.
	killed, remaining rows.Number
	unsure            bool // it failed at something, or refused to touch some
	acted             bool // it did something that hasn't been told

	// What hasn't been told; see rows.Row.
	archived, notes, errors string

	since, seen, over time.Time // over is zero while it lasts
	inARow, missed    int64     // runs with it up to now, and whole runs without it since
	copies, failures  string    // what has been heard of: copies, and kinds of failure
	mail, page, alert told
	graded            string // severity of the alert that was taken
	here              bool   // seen in this run
	quiet             bool   // only in a row that is not worth a message
	telling           string // why it is in the message that is being made
}

// Bounds of a storm's text, in bytes.
const (
	maxName = 255     // a user, process or host
	maxCell = maxText // what a message has no room for needn't be kept
)

// newStorm returns the storm of one row.
func newStorm(record *rows.Record) *storm {
	text := func(c rows.Column, most int) string {
		// Cloned, or the whole record would be kept, with columns of others.
		return strings.Clone(clip(rows.Printable(record.Get(c)), most))
	}
	number := func(c rows.Column) (n rows.Number) {
		_ = n.UnmarshalCSV(record.Get(c)) // the Reader has refused what is none
		return n
	}
	s := &storm{
		host:      text(rows.Host, maxName),
		user:      text(rows.User, maxName),
		uid:       text(rows.UID, maxName),
		account:   text(rows.Account, maxName),
		proc:      text(rows.Proc, maxName),
		count:     number(rows.Count).N,
		recent:    number(rows.Recent),
		killed:    number(rows.Killed),
		remaining: number(rows.Remaining),
		archived:  text(rows.Archived, maxCell),
		notes:     text(rows.Notes, maxCell),
		errors:    text(rows.Errors, maxCell),
		unsure: strings.Contains("; "+record.Get(rows.Errors), "; killstorm: ") ||
			strings.Contains("; "+record.Get(rows.Notes), "; killstorm: refused: "),
	}
	for _, word := range strings.Fields(text(rows.Actions, maxCell)) {
		name, _, _ := strings.Cut(word, "=")
		s.actions = withWord(s.actions, clip(name, maxName))
	}
	s.due = s.actions
	s.peak, s.total = s.count, s.killed.N
	s.acted = s.killed.Known || s.remaining.Known
	if s.total > 0 {
		s.kills = 1
	}
	return s
}

// toTell reports whether the row is worth a message: it should raise an alert,
// or something was done about it, or went wrong.
func toTell(record *rows.Record) bool {
	for _, c := range [...]rows.Column{rows.Archived, rows.Killed, rows.Remaining, rows.Errors} {
		if record.Get(c) != "" {
			return true
		}
	}
	return isDue(record, "alert") || isDue(record, "page")
}

// isDue reports whether the row has the action. With a limit that can't be read
// it still has: nothing is risked by telling.
func isDue(record *rows.Record, action string) bool {
	_, due, _ := rows.FindAction(record.Get(rows.Actions), action)
	return due
}

// A key is what two rows of one storm have in common. The uid says it, for a name
// may be missing where the name service is slow, unless several people are behind
// one uid or there is none.
type key struct {
	host, uid, user, proc string
	input                 bool
}

func (s *storm) key() key {
	k := key{s.host, s.uid, s.user, s.proc, s.input}
	if s.uid != "" && s.account == "" {
		k.user = ""
	}
	return k
}

func (s *storm) has(action string) bool { return has(s.actions, action) }

func has(words, word string) bool { return slices.Contains(strings.Fields(words), word) }

// isDue reports whether the last row had the action.
func (s *storm) isDue(action string) bool { return has(s.due, action) }

// urgent reports whether the storm has to do with a page or a kill, now or in what
// hasn't been told.
func (s *storm) urgent() bool {
	was := has(s.telling, "new") || has(s.telling, "action")
	return s.acted || s.isDue("page") || s.isDue("kill") || was && (s.has("page") || s.has("kill"))
}

// Bounds of what is remembered of a storm.
const (
	mostCopies   = 20
	mostFailures = 8 // kinds of each tool; what varies more is told when the storm is
	mostTools    = 8
	mostRemarks  = 4096 // bytes of notes, and of errors
	maxPath      = 1024 // bytes of a copy's path
)

// absorb adds what a later storm of the same key says, and returns what of it is
// worth a message at once.
func (s *storm) absorb(n *storm, now time.Time) (news []string) {
	s.host, s.user, s.uid, s.account, s.proc = n.host, n.user, n.uid, n.account, n.proc
	s.count, s.peak, s.recent = n.count, max(s.peak, n.peak), n.recent
	for _, name := range strings.Fields(n.due) {
		s.due = withWord(s.due, name)
	}
	for _, name := range strings.Fields(n.actions) {
		if !s.has(name) {
			s.actions = withWord(s.actions, name)
			news = append(news, "action")
		}
	}
	if n.total > 0 && s.total == 0 {
		s.firstKill = now
		news = append(news, "killed")
	}
	s.total, s.kills = s.total+n.total, s.kills+n.kills
	// Of a row that killstorm left alone an older word on what became of it would be
	// untrue: the sum still tells that.
	s.killed, s.remaining, s.unsure = n.killed, n.remaining, n.unsure
	if n.acted {
		s.acted = true
		s.errors = without(s.errors, resistance.MatchString)
	}
	s.notes = without(s.notes, isState)
	for _, path := range parts(n.archived, ":") {
		path = clip(path, maxPath)
		s.archived = withPart(s.archived, path, ":", mostCopies)
		if !slices.Contains(parts(s.copies, ":"), path) {
			s.copies = withPart(s.copies, path, ":", mostCopies)
			news = append(news, "archived")
		}
	}
	for _, fault := range parts(n.errors, "; ") {
		if kind := kindOf(fault); s.isNewFailure(kind) {
			s.failures = withPart(s.failures, kind, "; ", mostFailures*mostTools)
			news = append(news, "failed")
		}
	}
	s.notes, s.errors = withRemarks(s.notes, n.notes), withRemarks(s.errors, n.errors)
	return news
}

// isNewFailure reports whether the storm hasn't failed in this way before, nor its
// tool in so many that some user seems to choose the words.
func (s *storm) isNewFailure(kind string) bool {
	known := parts(s.failures, "; ")
	if len(known) >= mostFailures*mostTools || slices.Contains(known, kind) {
		return false
	}
	tool, _, _ := strings.Cut(kind, ": ")
	others := slices.DeleteFunc(known, func(s string) bool { return !strings.HasPrefix(s, tool+": ") })
	return len(others) < mostFailures
}

var numbers = regexp.MustCompile(`[0-9]+( [0-9]+)*`)

// kindOf returns what a message has in common with the same one of another run:
// pids, counts and ages differ, and so does how many pids there are.
func kindOf(message string) string { return clip(numbers.ReplaceAllString(message, "#"), 160) }

// withRemarks adds messages to those of a cell. One of a kind that is there
// goes; so do the oldest where there are too many.
func withRemarks(cell, more string) string {
	all := parts(cell, "; ")
	for _, message := range parts(more, "; ") {
		message = clip(message, mostRemarks/4)
		same := func(s string) bool { return kindOf(s) == kindOf(message) }
		all = append(slices.DeleteFunc(all, same), message)
		for size := 0; ; size = 0 {
			for _, s := range all {
				size += len(s) + 2
			}
			if size <= mostRemarks {
				break
			}
			all = all[1:]
		}
	}
	return strings.Join(all, "; ")
}

// without returns a cell without the messages that match.
func without(cell string, match func(string) bool) string {
	return strings.Join(slices.DeleteFunc(parts(cell, "; "), match), "; ")
}

// isState reports whether a note says how the row's processes are, which the next
// row knows better.
func isState(note string) bool { return strings.HasPrefix(note, "killstorm: ") }

// withWord adds a word to those of text, separated by spaces, if it isn't there.
func withWord(text, word string) string {
	if slices.Contains(strings.Fields(text), word) {
		return text
	}
	return strings.TrimSpace(text + " " + word)
}

// withPart adds a part to a cell as its last one, and drops the first where there
// would be more than most.
func withPart(cell, part, separator string, most int) string {
	all := slices.DeleteFunc(parts(cell, separator), func(s string) bool { return s == part })
	all = append(all, part)
	return strings.Join(all[max(0, len(all)-most):], separator)
}

// parts splits a cell, and leaves out what is empty.
func parts(cell, separator string) []string {
	return slices.DeleteFunc(strings.Split(cell, separator), func(s string) bool { return s == "" })
}

// settle takes note that what isn't remembered for longer has been told.
func (s *storm) settle() { s.acted, s.archived, s.notes, s.errors = false, "", "", "" }

// fresh reports whether killstorm did something that is news: of a storm that is
// over and was told before, it isn't.
func (s *storm) fresh() bool { return s.acted && (s.over.IsZero() || s.mail.at.IsZero()) }

// rank orders storms by how much they need a person, 0 the most.
func (s *storm) rank() int {
	switch {
	case s.input:
		return 0 // there may be worse that nobody sees
	case s.fresh() && s.remaining.N > 0:
		return 1
	case s.fresh() && s.total > 0:
		return 2
	case !s.over.IsZero():
		return 6
	case s.isDue("page"):
		return 3
	case s.errors != "":
		return 4
	}
	return 5
}

// compare orders storms, the worst first.
func compare(a, b *storm) int {
	return cmp.Or(
		cmp.Compare(a.rank(), b.rank()),
		-cmp.Compare(a.count, b.count),
		cmp.Compare(a.user, b.user),
		cmp.Compare(a.proc, b.proc),
		cmp.Compare(a.host, b.host))
}

// mostRows is how many rows a message shows.
const mostRows = 50

// A digest keeps the storms that a message shows and counts the others, so that
// memory doesn't grow with the input.
type digest struct {
	worst                []*storm // the worst first
	total                int64
	urgent, lasts, input bool // of them all: one is urgent, one isn't over, the input is broken
}

func (d *digest) add(s *storm) {
	d.total++
	ended := !s.over.IsZero()
	d.urgent = d.urgent || !s.input && s.urgent() && (s.fresh() || !ended)
	d.lasts = d.lasts || !s.input && !ended
	d.input = d.input || s.input && !ended
	at := sort.Search(len(d.worst), func(i int) bool { return compare(d.worst[i], s) > 0 })
	if at == mostRows {
		return
	}
	if len(d.worst) == mostRows {
		d.worst = d.worst[:mostRows-1]
	}
	d.worst = slices.Insert(d.worst, at, s)
}
