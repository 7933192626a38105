package alertmail

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
)

// A field is a cell of the state file with its column.
type field struct {
	column string
	value  cell
}

// A cell is a value that has a text.
type cell interface {
	String() string
	Set(string) error
}

type text string

func (t *text) String() string { return string(*t) }

func (t *text) Set(s string) error {
	*t = text(rows.Printable(s)) // somebody may have edited it
	return nil
}

// A quoted is a text of many lines in one.
type quoted string

func (q *quoted) String() string {
	if *q == "" {
		return ""
	}
	return strconv.Quote(string(*q))
}

func (q *quoted) Set(s string) (err error) {
	*q = ""
	if s == "" {
		return nil
	}
	text, err := strconv.Unquote(s)
	unfit := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if err != nil || !utf8.ValidString(text) || strings.ContainsFunc(text, unfit) {
		return fmt.Errorf("%q is no message", rows.Clip(s, 80))
	}
	*q = quoted(text)
	return nil
}

type number int64

func (n *number) String() string { return strconv.FormatInt(int64(*n), 10) }

func (n *number) Set(s string) (err error) {
	var v int64
	if s != "" {
		v, err = strconv.ParseInt(s, 10, 64)
	}
	if v < 0 {
		err = fmt.Errorf("%q is negative", s)
	}
	*n = number(v)
	return err
}

type perhaps rows.Number

func (n *perhaps) String() string     { return rows.Number(*n).String() }
func (n *perhaps) Set(s string) error { return (*rows.Number)(n).UnmarshalCSV(s) }

type moment time.Time

func (m *moment) String() string {
	s, _ := rows.Timestamp{Time: time.Time(*m)}.MarshalCSV()
	return s
}

func (m *moment) Set(s string) error {
	var t rows.Timestamp
	err := t.UnmarshalCSV(s)
	*m = moment(t.Time)
	return err
}

// mailStates are the words for what became of the mail.
var mailStates = [...]string{"", "none", "saved", "outdated", "torn", "lost"}

type mailState rows.MailState

func (m *mailState) String() string { return mailStates[*m] }

func (m *mailState) Set(s string) error {
	*m = mailState(max(0, slices.Index(mailStates[:], s)))
	return nil
}

type yes bool

func (y *yes) String() string {
	if *y {
		return "yes"
	}
	return ""
}

func (y *yes) Set(s string) error {
	*y = s == "yes"
	return nil
}

// fields are what the state file keeps of a storm.
func (s *storm) fields() []field {
	return append(s.course.fields(), []field{
		{"host", (*text)(&s.host)}, {"user", (*text)(&s.user)}, {"uid", (*text)(&s.uid)},
		{"account", (*text)(&s.account)}, {"proc", (*text)(&s.proc)},
		{"count", (*number)(&s.count)}, {"peak", (*number)(&s.peak)}, {"recent", (*perhaps)(&s.recent)},
		{"actions", (*text)(&s.actions)},
		{"killed_in_all", (*number)(&s.total)}, {"kill_runs", (*number)(&s.kills)}, {"first_kill", (*moment)(&s.firstKill)},
		{"killed", (*perhaps)(&s.killed)}, {"remaining", (*perhaps)(&s.remaining)},
		{"unsure", (*yes)(&s.unsure)}, {"untold_kill", (*yes)(&s.acted)},
		{"archived", (*text)(&s.archived)}, {"notes", (*text)(&s.notes)}, {"errors", (*text)(&s.errors)},
		{"known_copies", (*text)(&s.copies)}, {"known_errors", (*text)(&s.failures)},
		{"mail_state", (*mailState)(&s.mail)}, {"mail_of", (*moment)(&s.mailOf)},
		{"counts", &s.samples}, {"names", (*text)(&s.names)}, {"names_in_all", (*number)(&s.others)},
	}...)
}

// fields are what the state file keeps of a breakdown, in columns of a storm.
func (b *breakdown) fields() []field {
	return append(b.course.fields(), []field{
		{"host", (*text)(&b.host)}, {"count", (*number)(&b.faults)},
		{"errors", (*text)(&b.reasons)}, {"known_errors", (*text)(&b.failures)},
	}...)
}

func (c *course) fields() []field {
	all := []field{
		{"first_seen", (*moment)(&c.since)}, {"last_seen", (*moment)(&c.seen)}, {"over", (*moment)(&c.over)},
		{"in_a_row", (*number)(&c.inARow)}, {"missed", (*number)(&c.missed)}, {"severity", (*text)(&c.graded)},
	}
	for w, prefix := range [numWays]string{"mail", "page", "alert"} {
		r := c.way(way(w))
		all = append(all, field{prefix + "_news", &r.news}, field{prefix + "_sending", &r.sending},
			field{prefix + "_taken", (*moment)(&r.at)}, field{prefix + "_count", (*number)(&r.count)},
			field{prefix + "_repeats", (*number)(&r.repeats)})
	}
	return all
}

func (d *delivery) fields() []field {
	return []field{
		{"id", (*text)(&d.id)}, {"message", (*quoted)(&d.message)}, {"made", (*moment)(&d.made)}, {"tries", (*number)(&d.tries)},
		{"failing_since", (*moment)(&d.failing)}, {"tried", (*moment)(&d.tried)}, {"said", (*moment)(&d.said)},
		{"hour_from", (*moment)(&d.pace.from)}, {"hour_sent", (*number)(&d.pace.sent)},
		{"last_sent", (*moment)(&d.pace.last)}, {"waited", (*yes)(&d.pace.waited)},
	}
}

// deliveryFields are what the state file keeps of a way's delivery. The line of the mail
// to owners has besides it what no message counts.
func (m *memory) deliveryFields(w way) []field {
	d := &m.deliveries[w]
	withheld := &d.withheld
	if w == byOwner {
		withheld = &m.withheld
	}
	return append(d.fields(), field{"withheld", (*number)(withheld)})
}

// fields are what the state file keeps of an owner, in columns of others.
func (o *owner) fields() []field {
	return []field{
		{"user", (*text)(&o.user)}, {"uid", (*text)(&o.uid)},
		{"made", (*moment)(&o.made)}, {"message", (*quoted)(&o.message)},
	}
}

// columns are those of the state file: what a line is about, then all fields, in the
// order of version 1, to which new ones are appended.
var columns = []string{
	"what", "host", "user", "uid", "account", "proc", "first_seen", "last_seen", "over", "in_a_row", "missed",
	"count", "peak", "recent", "actions", "killed_in_all", "kill_runs", "first_kill", "killed", "remaining",
	"unsure", "untold_kill", "archived", "notes", "errors", "known_copies", "known_errors", "severity",
	"mail_news", "mail_sending", "mail_taken", "mail_count", "page_news", "page_sending", "page_taken", "page_count",
	"alert_news", "alert_sending", "alert_taken", "alert_count",
	"id", "message", "made", "tries", "failing_since", "tried", "said",
	"mail_repeats", "page_repeats", "alert_repeats", "hour_from", "hour_sent", "last_sent", "waited",
	"mail_state", "mail_of", "counts", "names", "names_in_all", "withheld",
}

// The kinds of line in the state file, besides the delivery of a way.
const (
	aStorm     = "storm"
	aBreakdown = "input"
	anOwner    = "account"
)

// encode returns the lines of the state file.
func (m *memory) encode() (lines [][]string) {
	line := func(what string, fields []field) {
		cells := make([]string, len(columns))
		cells[0] = what
		for _, f := range fields {
			cells[slices.Index(columns, f.column)] = f.value.String()
		}
		lines = append(lines, cells)
	}
	for w := range way(numDeliveries) {
		if !m.deliveries[w].isBlank() || w == byOwner && m.withheld != 0 {
			line(w.String(), m.deliveryFields(w))
		}
	}
	for _, o := range m.owners {
		line(anOwner, o.fields())
	}
	for _, b := range m.breakdowns {
		line(aBreakdown, b.fields())
	}
	for _, s := range m.storms {
		line(aStorm, s.fields())
	}
	return lines
}

// decode reads the lines of a state file. A line that can't be read is left out, and
// an error.
func decode(lines [][]string) (m memory, err error) {
	for _, cells := range lines {
		fault := m.decodeLine(cells)
		if fault != nil {
			err = fault
		}
	}
	for _, t := range m.topics() { // what no message reports isn't on its way
		for w := range numWays {
			if m.deliveries[w].phase == idle {
				t.went().way(w).turnBack()
			}
		}
	}
	return m, err
}

func (m *memory) decodeLine(cells []string) error {
	set := func(fields []field) (fault error) {
		for _, f := range fields {
			if wrong := f.value.Set(cells[slices.Index(columns, f.column)]); wrong != nil {
				fault = fmt.Errorf("%s: %w", f.column, wrong)
			}
		}
		return fault
	}
	switch w := slices.Index(wayNames[:], cells[0]); {
	case w >= 0:
		d := &m.deliveries[w]
		err := set(m.deliveryFields(way(w)))
		if err == nil && d.id != "" && !messageID().MatchString(d.id) {
			err = fmt.Errorf("%q is no id", rows.Clip(d.id, 80))
		}
		if err != nil {
			if *d = (delivery{}); way(w) == byOwner {
				m.withheld = 0
			}
			return err
		}
		*d = d.restored()
	case cells[0] == aStorm:
		s := &storm{}
		if err := set(s.fields()); err != nil {
			return err
		}
		m.storms = append(m.storms, s)
	case cells[0] == aBreakdown:
		b := &breakdown{}
		if err := set(b.fields()); err != nil {
			return err
		}
		m.breakdowns = append(m.breakdowns, b)
	case cells[0] == anOwner:
		o := &owner{}
		if err := set(o.fields()); err != nil {
			return err
		}
		m.owners = append(m.owners, o)
	default:
		return fmt.Errorf("%q is nothing that is kept", cells[0])
	}
	return nil
}

// messageID is what an id may be: RFC 5322, 3.6.4, by and large.
var messageID = pattern(`^<[!-;=?-~]{1,250}>$`)

// size returns what the lines take at most, in bytes: quotes are doubled.
func size(lines [][]string) (size int) {
	for _, cells := range lines {
		for _, cell := range cells {
			size += len(cell) + strings.Count(cell, `"`) + len(`"",`)
		}
	}
	return size
}

// save writes the memory. If it is too large, it drops the least bad storms.
func (m *memory) save(table *state.Table) error {
	lines := m.encode()
	for size(lines) > state.MaxSize {
		m.keepWorst(len(m.storms) / 2)
		lines = m.encode()
	}
	return table.Write(lines)
}
