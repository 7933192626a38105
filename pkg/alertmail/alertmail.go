// Package alertmail ends the pipe: it tells an administrator about the storms
// in the rows, in one message that goes out by mail or to standard output.
package alertmail

import (
	"cmp"
	"io"
	"sort"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	To       []string         // recipients; with none the text goes to out
	From     string           // the From header
	Sender   string           // the envelope's sender, who gets the bounces
	Each     bool             // a message at each snapshot's end, not one for all
	Title    string           // the first line
	Level    string           // one of levels; "" takes it from the rows
	Name     string           // of the check
	Task     string           // what the check does
	Sendmail string           // the mailer's path
	Deadline time.Duration    // how long the mailer may take
	Log      string           // file that all rows are appended to; "" is none
	DryRun   bool             // print what would be sent, and log nothing
	Host     string           // this machine's name, as the domain of an address
	PID      int              // with Host and the clock it makes the Message-ID unique
	Now      func() time.Time // the clock; its zone is the message's
	Report   func(error)      // told what is wrong when the rest goes on
}

// Run reads rows from in to its end and tells what is in them. What it has read
// it tells also when reading ends early; then it returns the reason.
func Run(o Options, in io.Reader, out io.Writer) error {
	filter.OutliveReader()
	a := &alerter{Options: o, out: out}
	if !o.DryRun {
		a.log.Path = o.Log
	}
	err := filter.Stream{
		Need: []rows.Column{rows.Host, rows.User, rows.Proc, rows.Count, rows.Actions},
		Idle: func() error { a.flush(); return nil },
		Header: func(*rows.Record) error {
			if o.Each {
				a.tell()
			}
			return nil
		},
		Row: func(record *rows.Record) error { a.take(record); return nil },
	}.Run(in, o.Report)
	a.tell()
	return err
}

// An alerter is one Run.
type alerter struct {
	Options
	out   io.Writer
	log   filter.Log
	found digest // since the last message
}

func (a *alerter) take(record *rows.Record) {
	a.check(a.log.Add(record))
	if toTell(record) {
		a.found.add(newStorm(record))
	}
}

// tell sends or prints what was found, if anything, and forgets it.
func (a *alerter) tell() {
	a.flush()
	m := message{Options: a.Options, digest: a.found, now: a.Now()}
	a.found = digest{}
	switch {
	case m.total == 0:
	case len(a.To) == 0:
		_, _ = io.WriteString(a.out, m.text()) // filter.Env's Out remembers a failure
	case a.DryRun:
		_, _ = a.out.Write(m.mail())
	default:
		a.check(a.send(m.mail()))
	}
}

func (a *alerter) flush() { a.check(a.log.Flush()) }

func (a *alerter) check(err error) {
	if err != nil {
		a.Report(err)
	}
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

// A storm is one row to be told. Its text is printable and cut to a bounded
// length.
type storm struct {
	host, user, proc        string
	count                   int64
	killed, remaining       rows.Number
	archived, notes, errors string
	paged                   bool // it has the page action
	urgent                  bool // it has that or the kill action, or was acted on by killstorm
	unsure                  bool // killstorm failed at something, or refused to touch some
}

// Bounds of a storm's text, in bytes.
const (
	maxName = 255     // a user, process or host
	maxCell = maxText // what a message has no room for needn't be kept
)

func newStorm(record *rows.Record) storm {
	text := func(c rows.Column, most int) string {
		// Cloned, or the whole record would be kept, with columns of others.
		return strings.Clone(clip(rows.Printable(record.Get(c)), most))
	}
	number := func(c rows.Column) (n rows.Number) {
		_ = n.UnmarshalCSV(record.Get(c)) // the Reader has refused what is none
		return n
	}
	s := storm{
		host:      text(rows.Host, maxName),
		user:      text(rows.User, maxName),
		proc:      text(rows.Proc, maxName),
		count:     number(rows.Count).N,
		killed:    number(rows.Killed),
		remaining: number(rows.Remaining),
		archived:  text(rows.Archived, maxCell),
		notes:     text(rows.Notes, maxCell),
		errors:    text(rows.Errors, maxCell),
		paged:     isDue(record, "page"),
		unsure: strings.Contains("; "+record.Get(rows.Errors), "; killstorm: ") ||
			strings.Contains("; "+record.Get(rows.Notes), "; killstorm: refused: "),
	}
	s.urgent = s.paged || isDue(record, "kill") || s.killed.Known || s.remaining.Known
	if s.proc == "" {
		s.proc = `""` // which no process can be called: quotes are escaped
	}
	return s
}

// rank orders storms by how much they need a person, 0 the most.
func (s *storm) rank() int {
	switch {
	case s.remaining.N > 0:
		return 0
	case s.killed.N > 0:
		return 1
	case s.paged:
		return 2
	case s.errors != "":
		return 3
	}
	return 4
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

// A digest keeps the rows that a message shows and counts the others, so that
// memory doesn't grow with the input.
type digest struct {
	worst  []storm // the worst first
	total  int64
	urgent bool // one of them all is
}

func (d *digest) add(s storm) {
	d.total++
	d.urgent = d.urgent || s.urgent
	at := sort.Search(len(d.worst), func(i int) bool { return compare(&d.worst[i], &s) > 0 })
	if at == mostRows {
		return
	}
	if len(d.worst) < mostRows {
		d.worst = append(d.worst, storm{})
	}
	copy(d.worst[at+1:], d.worst[at:])
	d.worst[at] = s
}
