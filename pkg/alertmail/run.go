// Package alertmail ends the pipe: it reports the storms in the rows in one message,
// by mail or on standard output. With a state file it remembers what it has reported,
// and reports only what is new, what lasts, and what nobody took before.
//
// Each file uses only those after it: app, testalert, run, export, advance, serving,
// posting, message, alerter, statefile, memory, ownertext, findings, digest, stormtext,
// storm, breakdown, delivery, topic, samples, metrics, starters, sighting, pending,
// sendmail, mime, options, owner, pace, news, alertmanager, layout, address, words.
package alertmail

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Run reads rows from in to its end and reports what is in them. If reading ends early, it
// still reports what it has read, and returns the reason.
func Run(o Options, in io.Reader, out io.Writer) error {
	filter.OutliveReader()
	proc.MakeThreads() // in a storm there may be no more, and the mailer needs some
	a := newAlerter(o, out)
	a.mutex.Lock()
	err := filter.Stream{
		Need:   []rows.Column{rows.Host, rows.User, rows.Proc, rows.Count, rows.Actions},
		Idle:   func() error { a.flush(); return nil },
		Header: func(header *rows.Record) error { a.header(header); return nil },
		Row:    func(record *rows.Record) error { a.take(record); return nil },
	}.Run(unlocked{in, &a.mutex}, func(err error) { a.found.faults.add(err); o.Report(err) })
	if err != nil {
		a.found.faults.add(err)
	}
	a.end()
	if err == nil && a.failed {
		return filter.ErrFailed
	}
	return err
}

// unlocked is an input that is read without the mutex.
type unlocked struct {
	in    io.Reader
	mutex *sync.Mutex
}

func (u unlocked) Read(p []byte) (int, error) {
	u.mutex.Unlock()
	defer u.mutex.Lock()
	return u.in.Read(p)
}

// header ends a snapshot and begins the next. A fault of this very line is one of
// the new snapshot.
func (a *alerter) header(header *rows.Record) {
	if a.Each && a.found.snapshots > 0 {
		var fault *rows.Error
		its := errors.As(a.found.faults.last, &fault) && fault.Line == header.Line
		if its {
			a.found.faults.takeBack()
		}
		a.endRun(false)
		if its {
			a.found.faults.add(fault)
		}
	}
	a.endSnapshot()
	a.node = a.Node()
	a.found.snapshots++
}

// endSnapshot notes that a snapshot without rows says of this host that all is quiet. It
// says nothing of other hosts, because a host that didn't answer has no rows either.
func (a *alerter) endSnapshot() {
	if a.found.snapshots > 0 && a.found.inSnapshot == 0 {
		a.found.noteHost(a.node)
	}
	a.found.inSnapshot = 0
}

func (a *alerter) take(record *rows.Record) {
	f := &a.found
	f.rows, f.inSnapshot = f.rows+1, f.inSnapshot+1
	if reason, isGap := record.Gap(); isGap {
		f.gap(rows.Clip(rows.Printable(record.Get(rows.Host)), maxName), reason)
		return
	}
	a.check(a.log.Add(record))
	if a.counts != nil {
		a.counts.row(record)
		f.starters.add(record)
	}
	if a.remembers() {
		f.noteHost(rows.Clip(rows.Printable(record.Get(rows.Host)), maxName))
	}
	if !isWorthAMessage(record) && (!a.remembers() || record.Get(rows.Actions) == "") {
		return
	}
	s := newSighting(record, a.node)
	if a.remembers() || a.posts() {
		f.add(s)
	}
	if a.remembers() {
		return
	}
	seen := newStorm(s, a.Now())
	f.found.add(seen, isNew)
	if seen.isDue("page") {
		f.paged.add(seen, isNew)
	}
}

// end reports what has been found up to the end of input, and waits until all messages are
// delivered or not taken. In a standing pipe the header after the last snapshot begins no
// snapshot.
func (a *alerter) end() {
	a.ending, a.ended = true, time.Now()
	if a.Each && a.reported && a.found.rows == 0 && a.found.isWhole() {
		a.flush()
		if a.remembers() {
			a.recall()
		}
		a.advance(nil)
		a.await()
		a.dismiss()
		a.export(false)
		return
	}
	a.endRun(true)
}

// endRun composes the messages that are due and hands them over. The last run waits
// for them.
func (a *alerter) endRun(last bool) {
	a.flush()
	a.endSnapshot()
	f := a.found
	a.found, a.reported, a.starters = findings{}, true, f.starters
	a.findBroken(&f)
	f.findUnfit()
	if a.remembers() {
		a.recall()
		a.memory.learn(&f, a.node, a.schedule(), a.Now())
		a.composeToOwners(&f)
		a.save() // before anything that takes time
	} else {
		a.collect(&f)
	}
	a.advance(&f)
	if last {
		a.await()
	}
	a.dismiss()
	a.export(f.isWhole() && len(f.gaps) == 0)
}

// findBroken adds what is wrong with the input, unless only the reader of stderr would
// see it.
func (a *alerter) findBroken(f *findings) {
	add := func(b *breakdown) {
		b.paged = len(a.To) == 0 // there is nobody else
		f.broken = append(f.broken, b)
	}
	for _, host := range slices.Sorted(maps.Keys(f.gaps)) {
		add(newBreakdown(host, faultList{first: []error{errors.New(rows.Prose(f.gaps[host]))}}))
	}
	// What is wrong with the input follows from a gap.
	if _, isMissing := f.gaps[a.node]; !f.isWhole() && !isMissing && (len(a.To)+len(a.PageTo) > 0 || a.posts()) {
		add(newBreakdown(a.node, f.faults))
	}
}

// collect adds the findings to what the next messages report, if there is no state.
func (a *alerter) collect(f *findings) {
	for _, b := range f.broken {
		f.found.add(b, isNew)
		if b.paged {
			f.paged.add(b, isNew)
		}
	}
	for _, c := range a.channels {
		switch c.way {
		case byMail:
			c.waiting.merge(&f.found)
		case byPage:
			c.waiting.merge(&f.paged)
		}
	}
}
