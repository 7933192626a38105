package alertmail

import (
	"fmt"
	"io"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
	"stormcheck/pkg/syslog"
)

// An alerter is one Run. Its mutex is released while it reads the input and while it waits
// for a mailer or an Alertmanager, so that neither delays the other.
type alerter struct {
	Options
	out    io.Writer
	node   string // this machine's name in this snapshot
	text   string // of a mail to an owner, with places
	log    filter.Log
	counts counts // nil without --metrics
	found  findings
	// starters are those of the last run.
	starters starters

	mutex    sync.Mutex
	settled  *sync.Cond // inFlight is 0
	inFlight int        // messages that a mailer or an Alertmanager has
	channels []*channel
	memory   *memory      // with a state, nil while no message is in flight and no run ends
	table    *state.Table // the state, nil if it can't be had
	recalled bool         // memory began with what the state had
	unsaved  bool         // that it can't be written has been reported
	repost   bool         // alerts were to be posted while others were in flight
	reported bool         // a run has ended
	ending   bool         // the input has: no message waits for another
	ended    time.Time    // when
	failed   bool         // something wasn't taken, which may have been reported before
}

func newAlerter(o Options, out io.Writer) *alerter {
	a := &alerter{Options: o, out: out, node: o.Node()}
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

// remembers reports whether there is a state.
func (a *alerter) remembers() bool { return a.State != "" && !a.DryRun }

// posts reports whether there is an Alertmanager.
func (a *alerter) posts() bool { return len(a.Alertmanagers.URLs) > 0 }

func (a *alerter) schedule() schedule {
	return schedule{repeats: a.Repeats, after: a.After, overAfter: a.OverAfter}
}

// A channel is a way to report that the flags ask for.
type channel struct {
	way     way
	to      []string // the recipients of a message
	settles bool     // what it has reported is reported: by the mail, or if there is none
	waiting digest   // without a state: what the next message reports
}

// newChannels returns the ways that the flags ask for.
func (a *alerter) newChannels() (all []*channel) {
	if a.posts() {
		all = append(all, &channel{way: byAlert, settles: len(a.To) == 0})
	}
	if len(a.To) > 0 || len(a.PageTo) == 0 && !a.posts() {
		all = append(all, &channel{way: byMail, to: a.To, settles: true})
	}
	if len(a.PageTo) > 0 {
		all = append(all, &channel{way: byPage, to: a.PageTo, settles: len(a.To) == 0 && !a.posts()})
	}
	return all
}

// A flight is a message on its way: what takes time, without the mutex, and what becomes
// of it.
type flight struct {
	slow   func() error
	landed func(error)
}

// fly starts a flight.
func (a *alerter) fly(f flight) {
	a.inFlight++
	go func() {
		err := f.slow()
		a.mutex.Lock()
		defer a.mutex.Unlock()
		f.landed(err)
		a.inFlight--
		a.dismiss()
		if a.inFlight == 0 {
			a.settled.Broadcast()
		}
	}()
}

// await waits until no message is in flight.
func (a *alerter) await() {
	for a.inFlight > 0 {
		a.settled.Wait()
	}
}

// ways returns the ways to report a topic that the flags ask for.
func (a *alerter) ways() (all []way) {
	for _, c := range a.channels {
		all = append(all, c.way)
	}
	return all
}

// lockDeadlines is how long, in deadlines of the mailer, another alertmail may have
// the state.
const lockDeadlines = 6

// recall reads the state, unless it is still at hand. What began with the state and could
// not be written replaces what is in the file.
func (a *alerter) recall() {
	if a.table != nil || a.memory != nil && !a.recalled {
		return
	}
	table, lines, err := state.Open(a.State, columns, lockDeadlines*a.Deadline)
	a.table = table
	if a.memory != nil {
		return
	}
	a.check(err)
	m, err := decode(lines)
	if err != nil { // the rest of it is good, but what is in that line may matter
		err = fmt.Errorf("%s: %w", a.State, err)
		if kept := table.Keep(); kept != nil {
			a.Report(kept)
		} else {
			err = fmt.Errorf("%w: kept as %s.bad", err, a.State)
		}
		a.Report(err)
	}
	a.memory, a.recalled, a.unsaved = &m, table != nil, false
}

// save writes the state and reports whether it could. It reports the reason only once.
// Each step of a delivery is on the disk before the next one, so that after a crash the
// next run knows what hasn't been reported.
func (a *alerter) save() (saved bool) {
	if a.table == nil {
		return false
	}
	err := a.memory.save(a.table)
	if err != nil && !a.unsaved {
		a.Report(err)
		a.unsaved = true
	}
	return err == nil
}

// dismiss unlocks the state for another alertmail, unless a message is in flight. What
// can't be written stays in memory, unless it began without the state, which may have more.
func (a *alerter) dismiss() {
	if !a.remembers() || a.inFlight > 0 || a.memory == nil {
		return
	}
	a.memory.forget(a.ways(), a.Now())
	saved := a.save()
	if a.table != nil {
		a.table.Close()
	}
	if a.table = nil; saved || !a.recalled {
		a.memory = nil
	}
}

// newID returns a Message-ID that no other message has.
func (a *alerter) newID(kind string) string {
	return fmt.Sprintf("<%s.%d.%d@%s>", kind, a.Now().UnixNano(), a.PID, a.Host)
}

// notTaken reports that a message wasn't taken.
func (a *alerter) notTaken(w way, err error) {
	a.failed = true
	a.counts.refuse(w.String())
	d := &a.memory.deliveries[w]
	now := a.Now().Truncate(time.Second) // as the state has times
	if d.failing.IsZero() {
		d.failing, d.said = now, time.Time{}
	}
	if now.After(d.failing) {
		err = fmt.Errorf("%w (nothing taken since %s)", err, shortTime(d.failing, now))
	}
	a.hourly(d, err)
}

// hourly reports what is wrong with a delivery at first, and then each hour, on stderr and
// to the system's log, because cron mails stderr through the same mailer.
func (a *alerter) hourly(d *delivery, err error) {
	now := a.Now().Truncate(time.Second)
	if since := now.Sub(d.said); !d.said.IsZero() && 0 <= since && since < time.Hour {
		return
	}
	d.said = now
	a.Report(err)
	a.syslog(err)
}

// syslog writes a line to the system's log. If it can't, stderr has the line.
func (a *alerter) syslog(err error) {
	log := syslog.Open(a.Syslog, "alertmail")
	defer log.Close()
	log.Send(syslog.Error, rows.Printable(err.Error()))
}

func (a *alerter) flush() { a.check(a.log.Flush()) }

func (a *alerter) check(err error) {
	if err != nil {
		a.Report(err)
	}
}
