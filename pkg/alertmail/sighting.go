package alertmail

import (
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Bounds of a storm's text, in bytes.
const (
	maxName = 255     // a user, process or host
	maxCell = maxText // more than that has no place in a message
)

// An identity is what names a storm. Its text is printable.
type identity struct{ host, user, uid, account, proc string }

// key returns what two rows of one storm have in common. The uid identifies it, because a
// name may be missing while the name service is slow. If several people share the uid, or
// there is none, the name does.
func (i identity) key() identity {
	if i.uid != "" && i.account == "" {
		i.user = ""
	}
	i.account = ""
	return i
}

// owner returns the key without the process.
func (i identity) owner() identity {
	i.proc = ""
	return i
}

// latest is what the last row said of a storm's processes.
type latest struct {
	count   int64
	recent  rows.Number
	zombies rows.Number
	started rows.Number
	parent  parentage
	oldest  time.Time
	churns  bool       // a limit on started is reached
	ended   rows.Limit // that at which killstorm ended processes, if it did
	due     string     // names of its actions, separated by blanks
	// What killstorm did, unknown if it did nothing to this row.
	killed, remaining rows.Number
	unsure            bool // killstorm failed at something, or left some alone
	quiet             bool // the row alone isn't worth a message
}

// A parentage is the column parent, with the start of that process, zero if it is unknown.
type parentage struct {
	rows.Parentage
	since time.Time
}

// parentSince returns when the parent in a row of this machine was started.
func parentSince(p rows.Parentage) time.Time {
	comm, start, err := proc.StartOf(int(p.PID))
	if err != nil || rows.EscapeName(comm) != p.Name { // another process has its PID
		return time.Time{}
	}
	return start
}

// A fate is what killstorm made of the processes of a row.
type fate uint8

const (
	untouched fate = iota // it did nothing, or found nothing
	someLeft              // some of them should have gone and live
	allEnded              // it ended all
	someEnded             // it ended some, and failed at something or left others alone
)

func (l *latest) fate() fate {
	switch {
	case l.remaining.N > 0:
		return someLeft
	case l.killed.N == 0:
		return untouched
	case l.remaining.Known && !l.unsure:
		return allEnded
	}
	return someEnded
}

// A sighting is what one row says.
type sighting struct {
	identity
	latest
	pending
	names string // of the processes, if they are of several; see gathered
	peak  int64  // the largest count
	total int64  // processes killed
}

// newSighting reads a row. node is the name of this machine, as rows have it.
func newSighting(record *rows.Record, node string) sighting {
	text := func(c rows.Column, most int) string {
		// Without a clone the whole record would stay in memory, with all its columns.
		return strings.Clone(rows.Clip(rows.Printable(record.Get(c)), most))
	}
	number := func(c rows.Column) (n rows.Number) {
		_ = n.UnmarshalCSV(record.Get(c)) // the Reader has refused what is none
		return n
	}
	s := sighting{
		identity: identity{
			host: text(rows.Host, maxName), user: text(rows.User, maxName), uid: text(rows.UID, maxName),
			account: text(rows.Account, maxName), proc: text(rows.Proc, maxName),
		},
		latest: latest{
			count: number(rows.Count).N, recent: number(rows.Recent), zombies: number(rows.Zombies), started: number(rows.Started),
			killed: number(rows.Killed), remaining: number(rows.Remaining),
			unsure: isUnsure(record),
			quiet:  !isWorthAMessage(record),
		},
		pending: pending{
			archived: text(rows.Archived, maxCell), notes: text(rows.Notes, maxCell), errors: text(rows.Errors, maxCell),
		},
	}
	for _, word := range strings.Fields(text(rows.Actions, maxCell)) {
		name, cell, _ := strings.Cut(word, "=")
		s.due = withWord(s.due, rows.Clip(name, maxName))
		limit, _ := rows.ParseLimit(cell)
		s.churns = s.churns || limit.Churn > 0 && s.started.N >= limit.Churn
	}
	_ = s.parent.UnmarshalCSV(text(rows.Parent, maxName)) // one that is no parentage is unknown
	if record.Get(rows.Host) == node && s.parent.PID > 0 {
		s.parent.since = parentSince(s.parent.Parentage)
	}
	var oldest rows.Timestamp
	_ = oldest.UnmarshalCSV(record.Get(rows.Oldest))
	s.oldest = oldest.Time
	s.ended = endedAt(record)
	s.mail, s.mailOf = record.Mail()
	s.acted = s.killed.Known || s.remaining.Known
	s.peak, s.total = s.count, s.killed.N
	if s.mail == rows.MailNotSaved && s.total > 0 && s.oversized() {
		s.due = withWord(s.due, rows.ActionPage) // somebody must know that this mail is lost
	}
	return s
}

// endedAt returns the limit at which killstorm ends processes of the row, or has ended
// the oldest.
func endedAt(record *rows.Record) rows.Limit {
	isTrimmed := func(m rows.Message) bool {
		_, _, _, trimmed := rows.ParseTrimmed(m.Text)
		return trimmed && m.Tool == killstorm
	}
	limit, kills, _ := rows.FindAction(record.Get(rows.Actions), rows.ActionKill)
	if !kills || slices.ContainsFunc(record.Messages(rows.Notes), isTrimmed) {
		limit, _, _ = rows.FindAction(record.Get(rows.Actions), rows.ActionTrim)
	}
	return limit
}

// isUnsure reports whether killstorm failed at something, or left some processes alone.
func isUnsure(record *rows.Record) bool {
	ofKillstorm := func(m rows.Message) bool { return m.Tool == killstorm }
	isRefusal := func(m rows.Message) bool {
		_, refused := rows.ParseRefused(m.Text)
		return refused && ofKillstorm(m)
	}
	return slices.ContainsFunc(record.Messages(rows.Errors), ofKillstorm) || slices.ContainsFunc(record.Messages(rows.Notes), isRefusal)
}

// merge adds a later row of the same storm in one run.
func (s *sighting) merge(n sighting) {
	due, quiet := s.due, s.quiet && n.quiet
	s.identity, s.latest = n.identity, n.latest
	for _, name := range strings.Fields(due) {
		s.due = withWord(s.due, name)
	}
	s.quiet = quiet
	s.peak, s.total = max(s.peak, n.peak), s.total+n.total
	s.pending.add(n.pending, new(known))
}

// gather adds another process name's row of the same account.
func (s *sighting) gather(n sighting) {
	count, peak := s.count+n.count, s.peak+n.peak
	sum := func(a, b rows.Number) rows.Number { return rows.Number{N: a.N + b.N, Known: a.Known || b.Known} }
	recent, zombies, started := sum(s.recent, n.recent), sum(s.zombies, n.zombies), sum(s.started, n.started)
	killed, remaining := sum(s.killed, n.killed), sum(s.remaining, n.remaining)
	unsure, names := s.unsure || n.unsure, withPart(s.names, n.names, " ", mostNames)
	parent, oldest := s.parent, s.oldest
	if n.parent.Count > parent.Count {
		parent = n.parent
	}
	if oldest.IsZero() || !n.oldest.IsZero() && n.oldest.Before(oldest) {
		oldest = n.oldest
	}
	s.merge(n)
	s.count, s.peak, s.recent, s.zombies, s.started = count, peak, recent, zombies, started
	s.killed, s.remaining, s.unsure, s.names, s.parent, s.oldest = killed, remaining, unsure, names, parent, oldest
}

// isWorthAMessage reports whether the row should raise an alert, or something was done
// about it, or went wrong.
func isWorthAMessage(record *rows.Record) bool {
	for _, c := range [...]rows.Column{rows.Archived, rows.Killed, rows.Remaining, rows.Errors} {
		if record.Get(c) != "" {
			return true
		}
	}
	return isDue(record, rows.ActionAlert) || isDue(record, rows.ActionPage)
}

// isDue reports whether the row has the action. If the limit can't be read it still counts
// as due, because a report does no harm.
func isDue(record *rows.Record, action string) bool {
	_, due, _ := rows.FindAction(record.Get(rows.Actions), action)
	return due
}

// anyName stands in the process column of a storm of several names. No process has this
// name, because the stream escapes it.
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
