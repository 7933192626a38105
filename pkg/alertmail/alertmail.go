// Package alertmail ends the pipe: it tells an administrator about the storms
// in the rows, in one message that goes out by mail or to standard output. With a
// state file it remembers what it has told, and tells only what is new, what lasts,
// and what nobody took before.
package alertmail

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	To       []string      // recipients; without any, and any of pages, the text goes to out
	PageTo   []string      // recipients of one short line about rows with the action page
	From     string        // the From header
	Sender   string        // the envelope's sender, who gets the bounces
	Each     bool          // a message at each snapshot's end, not one for all
	Title    string        // the first line
	Level    string        // one of levels; "" takes it from the rows
	Name     string        // of the check
	Task     string        // what the check does
	Sendmail string        // the mailer's path
	Deadline time.Duration // how long the mailer may take

	Alertmanagers Alertmanagers // that each storm is posted to; without URLs to none

	State     string        // file that remembers; "" tells everything in every run
	Repeat    time.Duration // what lasts is told again after it; 0 in every run
	After     int64         // runs in a row that a storm must be there to be told
	OverAfter int64         // whole runs without a storm, and it is over

	Context []string      // logs whose last lines about a row are shown; "journal" is the journal
	Window  time.Duration // how old such a line may be

	Metrics string           // file for node_exporter's textfile collector; "" is none
	Log     string           // file that all rows are appended to; "" is none
	DryRun  bool             // print what would be sent, and log and remember nothing
	Node    string           // this machine's name, as in the stream
	Host    string           // likewise, as the domain of an address
	PID     int              // with Host and the clock it makes a Message-ID unique
	Now     func() time.Time // the clock; its zone is the message's
	Report  func(error)      // told what is wrong when the rest goes on
	Stderr  io.Writer        // for a text that can neither be sent nor remembered
	Syslog  string           // the socket of the system's log
}

// Run reads rows from in to its end and tells what is in them. What it has read
// it tells also when reading ends early; then it returns the reason.
func Run(o Options, in io.Reader, out io.Writer) error {
	filter.OutliveReader()
	proc.MakeThreads() // in a storm there may be no more, and the mailer needs some
	a := &alerter{Options: o, out: out}
	if !o.DryRun {
		a.log.Path = o.Log
		if o.Metrics != "" {
			a.counts = counts{}
		}
	}
	err := filter.Stream{
		Need:   []rows.Column{rows.Host, rows.User, rows.Proc, rows.Count, rows.Actions},
		Idle:   func() error { a.flush(); return nil },
		Header: func(header *rows.Record) error { a.header(header); return nil },
		Row:    func(record *rows.Record) error { a.take(record); return nil },
	}.Run(in, func(err error) { a.run.fault(err); o.Report(err) })
	if err != nil {
		a.run.fault(err)
	}
	a.end()
	if err == nil && a.failed {
		return filter.ErrFailed
	}
	return err
}

// An alerter is one Run.
type alerter struct {
	Options
	out    io.Writer
	log    filter.Log
	counts counts // nil without --metrics
	run    batch
	told   bool // a run has ended
	failed bool // something wasn't taken, which may have been said before
}

// A batch is what is told at once: the whole input, or a snapshot.
type batch struct {
	storms map[key]*storm  // all of them, where there is a state or an Alertmanager
	found  digest          // where there is none
	paged  digest          // likewise, those with the action page
	hosts  map[string]bool // of which there was a row
	faults []error         // what was wrong with the input
	more   int64           // faults that aren't kept
	last   error           // the last fault
	whole  bool            // nothing was
	rows   int64
	inSnap int64 // rows in the present snapshot
	snaps  int64
}

// Bounds of a batch.
const (
	mostHosts  = 1 << 17
	mostFaults = 5
)

func (r *batch) fault(err error) {
	r.last = err
	if len(r.faults) < mostFaults {
		r.faults = append(r.faults, err)
	} else {
		r.more++
	}
}

// takeBack undoes the last fault.
func (r *batch) takeBack() {
	if r.more > 0 {
		r.more--
	} else {
		r.faults = r.faults[:len(r.faults)-1]
	}
}

// broken returns what is wrong with the input as a storm of this host, nil if
// nothing is, or there is nobody but the reader of stderr to tell.
func (a *alerter) broken(r *batch) *storm {
	if len(r.faults) == 0 || len(a.To)+len(a.PageTo) == 0 && !a.posts() {
		return nil
	}
	s := &storm{input: true, host: a.Node, count: int64(len(r.faults)) + r.more}
	if len(a.To) == 0 {
		s.actions, s.due = "page", "page" // there is nobody else
	}
	for _, err := range r.faults {
		fault := strings.ReplaceAll(rows.Printable(err.Error()), ";", ",") // which separates them
		s.errors = withPart(s.errors, clip(fault, maxLine), "; ", mostFaults)
	}
	return s
}

// header ends a snapshot and begins the next. A fault of this very line is one of
// the new snapshot.
func (a *alerter) header(header *rows.Record) {
	if a.Each && a.run.snaps > 0 {
		var fault *rows.Error
		its := errors.As(a.run.last, &fault) && fault.Line == header.Line
		if its {
			a.run.takeBack()
		}
		a.tell()
		if its {
			a.run.fault(fault)
		}
	}
	a.endSnapshot()
	a.run.snaps++
}

// endSnapshot takes note that a snapshot without rows tells of this host that all
// is quiet; of another it tells nothing, for a host that didn't answer has none too.
func (a *alerter) endSnapshot() {
	if a.run.snaps > 0 && a.run.inSnap == 0 {
		a.run.hear(a.Node)
	}
	a.run.inSnap = 0
}

func (r *batch) hear(host string) {
	if r.hosts == nil {
		r.hosts = map[string]bool{}
	}
	if len(r.hosts) < mostHosts {
		r.hosts[host] = true
	}
}

func (a *alerter) take(record *rows.Record) {
	a.check(a.log.Add(record))
	a.counts.row(record)
	r := &a.run
	r.rows, r.inSnap = r.rows+1, r.inSnap+1
	if a.remembers() {
		r.hear(clip(rows.Printable(record.Get(rows.Host)), maxName))
	}
	quiet := !toTell(record)
	if quiet && (!a.remembers() || record.Get(rows.Actions) == "") {
		return
	}
	s := newStorm(record)
	s.quiet = quiet
	if a.remembers() || a.posts() {
		r.add(s, a.Now())
	}
	if a.remembers() {
		return
	}
	r.found.add(s)
	if s.has("page") {
		r.paged.add(s)
	}
}

// add adds a storm to those of the run. Of more than a book holds the worst stay.
func (r *batch) add(s *storm, now time.Time) {
	if r.storms == nil {
		r.storms = map[key]*storm{}
	}
	if known := r.storms[s.key()]; known != nil {
		known.absorb(s, now)
		known.quiet = known.quiet && s.quiet
		return
	}
	empty := &storm{input: s.input, quiet: s.quiet}
	empty.absorb(s, now)
	r.storms[s.key()] = empty
	if len(r.storms) < 2*mostStorms {
		return
	}
	all := make([]*storm, 0, len(r.storms))
	for _, s := range r.storms {
		all = append(all, s)
	}
	slices.SortFunc(all, compare)
	for _, s := range all[mostStorms:] {
		delete(r.storms, s.key())
	}
}

// posts reports whether there is an Alertmanager.
func (a *alerter) posts() bool { return len(a.Alertmanagers.URLs) > 0 }

// remembers reports whether there is a state.
func (a *alerter) remembers() bool { return a.State != "" && !a.DryRun }

// end tells what has been found up to the end of input. In a standing pipe the
// header behind the last snapshot is none itself.
func (a *alerter) end() {
	if a.Each && a.told && a.run.rows == 0 && len(a.run.faults) == 0 {
		a.flush()
		return
	}
	a.tell()
}

// tell ends the run: it sends or prints what is due.
func (a *alerter) tell() {
	a.flush()
	a.endSnapshot()
	r := a.run
	r.whole = len(r.faults) == 0
	a.run, a.told = batch{}, true
	defer func() { a.export(r.whole) }()
	broken := a.broken(&r)
	if broken != nil && (a.remembers() || a.posts()) {
		r.add(broken, a.Now())
	}
	if a.remembers() {
		a.tellByBook(&r)
		return
	}
	if broken != nil {
		r.found.add(broken)
		if broken.isDue("page") {
			r.paged.add(broken)
		}
	}
	for _, c := range a.channels(new(book)) {
		if c.alerts {
			a.postFound(&r)
		} else if found := c.found(&r); found.total > 0 {
			a.send(c, found, a.newID(c))
		}
	}
}
