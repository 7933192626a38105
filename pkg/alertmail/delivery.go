package alertmail

import (
	"fmt"
	"io"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
	"stormcheck/pkg/syslog"
)

// A phase is how far the delivery of a message is.
type phase int

const (
	idle       phase = iota // there is no message
	composed                // it is on the disk, if there is a state
	handedOver              // the mailer has it, and nobody knows whether it was taken
	failed                  // the mailer didn't take it
)

// A delivery is how one way to report goes. A message that nobody is known to have
// taken stays there: the mailer may have delivered it and then failed, or this process
// died before it knew. So it is resent verbatim under its id, and duplicates can be
// discarded; no other message is ever sent under that id.
type delivery struct {
	phase
	id      string
	message string    // as the mailer gets it
	text    string    // what people read of it, if this process has composed it
	kept    bool      // it is on the disk
	made    time.Time // when
	tries   int64     // in vain
	failing time.Time // since then nothing was taken
	tried   time.Time // last, in vain
	said    time.Time // when a failure was last reported
	pace    pace
	// withheld is how many mails to owners were not sent: of byOwner those that the
	// administrator doesn't know of, of byMail those that its message counts.
	withheld int64
}

// restored returns the delivery that the state file describes: without the time of a
// try in vain, its process died over it.
func (d delivery) restored() delivery {
	switch {
	case d.message == "":
		d.id = "" // it can't be resent as it was
	case d.id != "" && d.tried.IsZero():
		d.phase = composed
	case d.id != "":
		d.phase = failed
	}
	d.kept = d.phase != idle
	return d
}

// isBlank reports whether there is nothing to remember.
func (d *delivery) isBlank() bool {
	return d.id == "" && d.message == "" && d.failing.IsZero() && d.tried.IsZero() && d.said.IsZero() && d.pace == (pace{}) && d.withheld == 0
}

// retryPause is how long a mailer is left alone that has just failed, lest one that
// hangs be tried in each snapshot. It is less than cron's minute.
const retryPause = 20 * time.Second

// longestPause is to what that grows.
const longestPause = 15 * time.Minute

// waited reports whether the last try is so long ago. One in the future is of a
// clock that was wrong.
func (d *delivery) waited(pause time.Duration, now time.Time) bool {
	since := now.Sub(d.tried)
	return since < 0 || since >= pause
}

// pause returns how long a message that wasn't taken isn't tried again, while nothing
// is new: a mailer that delivers and then fails would deliver each time.
func (d *delivery) pause(o rules) time.Duration {
	pause := retryPause
	for n := int64(1); n < d.tries && pause < longestPause; n++ {
		pause *= 2
	}
	return min(pause, max(retryPause, min(o.repeats[0], longestPause)))
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

// lockDeadlines is how long, in deadlines of the mailer, another alertmail may have
// the state.
const lockDeadlines = 6

// recall reads the state, unless it is still at hand. Without a table nothing can be
// remembered.
func (a *alerter) recall() {
	if a.memory != nil {
		return
	}
	table, lines, err := state.Open(a.State, columns, lockDeadlines*a.Deadline)
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
	a.table, a.memory, a.unsaved = table, &m, false
}

// save writes the state and reports whether it could, but not each time why not. Each
// step of a delivery is on the disk before the next: whenever this process may die,
// the next run knows what hasn't been reported.
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

// dismiss lets another alertmail have the state, unless a message is in flight.
func (a *alerter) dismiss() {
	if !a.remembers() || a.inFlight > 0 || a.memory == nil {
		return
	}
	a.memory.forget(a.channels, a.Now())
	a.save()
	if a.table != nil {
		a.table.Close()
	}
	a.table, a.memory = nil, nil
}

// await waits until no message is in flight.
func (a *alerter) await() {
	for a.inFlight > 0 {
		a.settled.Wait()
	}
}

// fly runs what takes time without the mutex, and then what becomes of it.
func (a *alerter) fly(slow func() error, landed func(error)) {
	a.inFlight++
	go func() {
		err := slow()
		a.mutex.Lock()
		defer a.mutex.Unlock()
		landed(err)
		a.inFlight--
		a.dismiss()
		if a.inFlight == 0 {
			a.settled.Broadcast()
		}
	}()
}

// advance takes all ways as far as they go without waiting. All messages are composed
// before one is taken, which settles what it has reported. f is what a run has found,
// nil if a message has landed.
func (a *alerter) advance(f *findings) {
	for _, c := range a.channels {
		if c.way != byAlert {
			a.compose(c)
		}
	}
	kept := a.save()
	for _, c := range a.channels {
		d := &a.memory.deliveries[c.way]
		switch {
		case c.way == byAlert && f != nil:
			a.postAlerts(c, f)
		case c.way == byAlert, a.mailing:
		case d.phase == composed, d.phase == failed && d.waited(d.pause(a.rules()), a.Now()):
			d.kept = kept
			a.handOver(c)
		case d.phase == failed:
			a.failed = true
		}
	}
	if kept {
		a.sendToOwner()
	}
}

// compose makes the message that is due, if there is one.
func (a *alerter) compose(c *channel) {
	d := &a.memory.deliveries[c.way]
	var due digest
	if a.remembers() {
		for _, i := range a.memory.due(c.way, a.rules(), a.ending, a.Now()) {
			due.add(i.topic, i.why)
		}
	} else if d.phase == idle && (a.ending || len(c.to) == 0 || d.pace.ready(a.Now())) {
		due, c.waiting = c.waiting, digest{}
	}
	if due.total == 0 {
		return
	}
	kind := "stormcheck"
	if c.way == byPage {
		kind += ".page"
	}
	d.phase, d.id, d.made, d.tried = composed, a.newID(kind), a.Now(), time.Time{}
	m := a.message(c, due, d.id)
	d.text, d.withheld = m.body(), m.withheld
	if d.message = d.text; len(c.to) > 0 {
		d.message = string(m.mail(c.to))
	}
}

// message returns the message of a channel, with the lines of logs about it.
func (a *alerter) message(c *channel, due digest, id string) message {
	m := newMessage(a.Options, due, a.Now())
	m.id, m.page = id, c.way == byPage
	if c.way == byMail {
		m.withheld = a.memory.deliveries[byOwner].withheld
	}
	m.excerpts = a.excerpts(m)
	return m
}

// newID returns a Message-ID that no other message has.
func (a *alerter) newID(kind string) string {
	return fmt.Sprintf("<%s.%d.%d@%s>", kind, a.Now().UnixNano(), a.PID, a.Host)
}

// handOver gives the message to the mailer, or prints it.
func (a *alerter) handOver(c *channel) {
	d := &a.memory.deliveries[c.way]
	d.phase = handedOver
	if !d.tried.IsZero() {
		d.tried = time.Time{}
		d.kept = a.save()
	}
	message := d.message
	if len(c.to) == 0 || a.DryRun {
		_, err := io.WriteString(a.out, message) // filter.Env's Out reports what failed
		a.landed(c, err, len(c.to) > 0)
		return
	}
	a.mailing = true
	a.fly(
		func() error { return a.mailer(c.to, []byte(message)) },
		func(err error) {
			a.mailing = false
			a.landed(c, err, true)
			a.advance(nil)
		})
}

// landed notes what became of a message. The text of one that isn't taken, and can't be
// resent, goes to stderr: there cron or a console may show it.
func (a *alerter) landed(c *channel, err error, isMail bool) {
	d := &a.memory.deliveries[c.way]
	switch {
	case err == nil:
		a.memory.taken(c.way, c.settles, a.Now())
	default:
		if isMail {
			a.notTaken(c.way, err)
			if !d.kept {
				_, _ = io.WriteString(a.Stderr, d.text)
			}
		}
		d.phase, d.tries, d.tried = failed, d.tries+1, a.Now()
		if !a.remembers() {
			*d = delivery{}
		}
	}
	a.save()
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

// hourly reports what is wrong with a delivery at first, and then each hour, on stderr
// and to the system's log, for cron mails stderr by the same mailer.
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
