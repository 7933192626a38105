// Package alertmail ends the pipe: it reports the storms in the rows in one message,
// by mail or on standard output. With a state file it remembers what it has reported,
// and reports only what is new, what lasts, and what nobody took before.
package alertmail

import (
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
)

// Options are what Run works with.
type Options struct {
	To       []string      // recipients; without any, and any of pages, the text goes to out
	PageTo   []string      // recipients of one short line about rows with the action page
	From     string        // the From header; "" leaves it to the mailer
	Sender   string        // the envelope's sender, to which mail bounces; "" leaves it to the mailer
	Each     bool          // a message at each snapshot's end, not one for all
	Title    string        // the first line
	Level    string        // one of levels; "" takes it from the rows
	Name     string        // of the check
	Task     string        // what the check does
	Sendmail string        // the mailer's path
	Deadline time.Duration // how long the mailer may take

	Alertmanagers Alertmanagers // that each storm is posted to; without URLs to none

	State string // file that remembers; "" reports everything in every run
	// Repeats are the times after which what lasts is reported again, the last of them
	// again and again; 0 is in every run.
	Repeats   []time.Duration
	After     int64 // runs in a row with a storm after which it is reported
	OverAfter int64 // whole runs without a storm, and it is over

	Owners   Owners                                // how owners of accounts get mail
	Accounts func(string) (account.Account, error) // the name service: the account of a name

	Context []string      // logs whose last lines about a row are shown; "journal" is the journal
	Window  time.Duration // how old such a line may be

	ASCII   bool             // the text goes where nothing else can be shown
	Metrics string           // file for node_exporter's textfile collector; "" is none
	Log     string           // file that all rows are appended to; "" is none
	DryRun  bool             // print what would be sent, and log and remember nothing
	Node    string           // this machine's name, as in the stream
	Host    string           // this machine's name as the domain of an address
	PID     int              // with Host and the clock it makes a Message-ID unique
	Now     func() time.Time // the clock; its zone is the message's
	Report  func(error)      // called with what is wrong when the rest goes on
	Stderr  io.Writer        // for a text that can neither be sent nor remembered
	Syslog  string           // the socket of the system's log
}

// Run reads rows from in to its end and reports what is in them. What it has read
// it reports also if reading ends early; then it returns the reason.
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

// An alerter is one Run. Its mutex is held except while the input is read and while a
// mailer or an Alertmanager is waited for: so neither holds up the other.
type alerter struct {
	Options
	out    io.Writer
	text   string // of a mail to an owner, with places
	log    filter.Log
	counts counts // nil without --metrics
	found  findings
	// starters are those of the last run.
	starters starters

	mutex    sync.Mutex
	settled  *sync.Cond // inFlight is 0
	inFlight int        // messages that a mailer or an Alertmanager has
	mailing  bool       // the mailer runs: one at a time
	serving  bool       // another mailer has a mail to an owner
	channels []*channel
	memory   *memory      // with a state, nil while no message is in flight and no run ends
	table    *state.Table // the state, nil if it can't be had
	unsaved  bool         // that it can't be written has been reported
	repost   bool         // alerts were to be posted while others were in flight
	reported bool         // a run has ended
	ending   bool         // the input has: no message waits for another
	ended    time.Time    // when
	failed   bool         // something wasn't taken, which may have been reported before
}

func newAlerter(o Options, out io.Writer) *alerter {
	a := &alerter{Options: o, out: out}
	a.settled = sync.NewCond(&a.mutex)
	a.channels = a.newChannels()
	a.text = ownerText
	if o.Owners.Text != "" {
		text, err := readOwnerText(o.Owners.Text)
		if err == nil {
			a.text = text
		}
		a.check(err)
	}
	if !a.remembers() {
		a.memory = new(memory)
	}
	if !o.DryRun {
		a.log.Path = o.Log
		if o.Metrics != "" {
			a.counts = counts{}
		}
	}
	return a
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

// findings are what one run has read: the whole input, or with --each a snapshot.
type findings struct {
	storms     map[identity]*sighting // all of them, if there is a state or an Alertmanager
	found      digest                 // without a state
	paged      digest                 // without a state, those with the action page
	hosts      map[string]bool        // of which there was a row
	faults     faultList              // of the input
	gaps       map[string]string      // hosts whose rows are missing, and the first cause
	broken     []*breakdown
	rows       int64
	inSnapshot int64 // rows in the present snapshot
	snapshots  int64
	starters   starters // with --metrics
}

// mostHosts is how many hosts one run can have heard of.
const mostHosts = 1 << 15

// mostGaps is how many hosts one run can miss.
const mostGaps = 1000

// findUnfit notes on each storm that isn't ended because a file has changed which line
// of it is unfit, if that is why rows of its host are missing. Somebody is paged: nothing
// is ended until the file is mended.
func (f *findings) findUnfit() {
	for _, s := range f.storms {
		all := rows.ParseMessages(s.notes)
		for i, m := range all {
			file, isChanged := rows.ParsePathChanged(m.Text)
			_, place, isIt := strings.Cut(f.gaps[s.host], file)
			place, _, ends := strings.Cut(place, ": ")
			if isChanged && isIt && ends && m.Tool == killstorm {
				place = strings.ReplaceAll(rows.Printable(path.Base(file+place)), ";", ",") // which separates notes
				all[i].Text = rows.FormatUnfit(rows.Clip(place, maxName))
				s.notes, s.due = rows.JoinMessages(all), withWord(s.due, rows.ActionPage)
			}
		}
	}
}

// isWhole reports whether all of the input could be read.
func (f *findings) isWhole() bool { return f.faults.count() == 0 }

// speaksOf reports whether a storm of the host that the run didn't see wasn't there.
func (f *findings) speaksOf(host string) bool {
	_, isMissing := f.gaps[host]
	return f.isWhole() && f.hosts[host] && !isMissing
}

// gap notes that rows of the host are missing. Of several causes the first counts: the
// others follow from it.
func (f *findings) gap(host, reason string) {
	if f.gaps == nil {
		f.gaps = map[string]string{}
	}
	if _, known := f.gaps[host]; !known && len(f.gaps) < mostGaps {
		f.gaps[host] = reason
	}
}

func (f *findings) hear(host string) {
	if f.hosts == nil {
		f.hosts = map[string]bool{}
	}
	if len(f.hosts) < mostHosts {
		f.hosts[host] = true
	}
}

// add adds a row to those of the run. Of more than a memory holds the worst stay.
func (f *findings) add(s sighting) {
	if f.storms == nil {
		f.storms = map[identity]*sighting{}
	}
	if known := f.storms[s.key()]; known != nil {
		known.merge(s)
		return
	}
	if f.storms[s.key()] = &s; len(f.storms) < mostStorms+mostStorms/2 {
		return
	}
	all := make([]*storm, 0, len(f.storms))
	for _, s := range f.storms {
		all = append(all, &storm{identity: s.identity, latest: s.latest, pending: s.pending, history: history{total: s.total}})
	}
	slices.SortFunc(all, compare[*storm])
	for _, s := range all[mostStorms:] {
		delete(f.storms, s.key())
	}
}

// sorted returns the storms of this run alone, the worst first.
func (f *findings) sorted(now time.Time) []*storm {
	all := make([]*storm, 0, len(f.storms))
	for _, s := range f.storms {
		all = append(all, newStorm(*s, now))
	}
	slices.SortFunc(all, compare[*storm])
	return all
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
	a.found.snapshots++
}

// endSnapshot notes that a snapshot without rows says of this host that all is quiet.
// It says nothing of another, for a host that didn't answer has no rows either.
func (a *alerter) endSnapshot() {
	if a.found.snapshots > 0 && a.found.inSnapshot == 0 {
		a.found.hear(a.Node)
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
		f.hear(rows.Clip(rows.Printable(record.Get(rows.Host)), maxName))
	}
	if !isWorthAMessage(record) && (!a.remembers() || record.Get(rows.Actions) == "") {
		return
	}
	s := newSighting(record)
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

// posts reports whether there is an Alertmanager.
func (a *alerter) posts() bool { return len(a.Alertmanagers.URLs) > 0 }

// remembers reports whether there is a state.
func (a *alerter) remembers() bool { return a.State != "" && !a.DryRun }

// end reports what has been found up to the end of input, and waits until all messages
// are delivered or not taken. In a standing pipe the header behind the last snapshot
// is none itself.
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
		a.memory.learn(&f, a.Node, a.rules(), a.Now())
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

func (a *alerter) rules() rules {
	return rules{repeats: a.Repeats, after: a.After, overAfter: a.OverAfter}
}

// findBroken adds what is wrong with the input, unless only the reader of stderr would
// see it.
func (a *alerter) findBroken(f *findings) {
	add := func(b *breakdown) {
		b.paged = len(a.To) == 0 // there is nobody else
		f.broken = append(f.broken, b)
	}
	for _, host := range slices.Sorted(maps.Keys(f.gaps)) {
		add(newBreakdown(host, faultList{first: []error{errors.New(f.gaps[host])}}))
	}
	// What is wrong with the input follows from a gap.
	if _, isMissing := f.gaps[a.Node]; !f.isWhole() && !isMissing && (len(a.To)+len(a.PageTo) > 0 || a.posts()) {
		add(newBreakdown(a.Node, f.faults))
	}
}

// collect adds the findings to what the next messages report, where nothing is
// remembered.
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

func (a *alerter) flush() { a.check(a.log.Flush()) }

func (a *alerter) check(err error) {
	if err != nil {
		a.Report(err)
	}
}
