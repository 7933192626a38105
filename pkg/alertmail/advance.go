package alertmail

import (
	"io"
	"time"

	"stormcheck/pkg/logs"
	"stormcheck/pkg/rows"
)

// advance does in all ways what can be done without waiting. It composes all messages
// before any is taken, because a message that is taken settles what it has reported. f is
// what a run has found, nil if a message has landed.
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
		case c.way == byAlert, a.isMailing():
		case d.phase == composed, d.phase == failed && d.waited(d.pause(a.schedule()), a.Now()):
			d.kept = kept
			a.handOver(c)
		case d.phase == failed:
			a.failed = true
		}
	}
	if kept {
		if f, due := a.sendToOwner(); due {
			a.launch(f)
		}
	}
}

// launch starts a flight, and goes on when it has landed.
func (a *alerter) launch(f flight) {
	a.fly(flight{f.slow, func(err error) {
		f.landed(err)
		a.advance(nil)
	}})
}

// compose makes the message that is due, if there is one.
func (a *alerter) compose(c *channel) {
	d := &a.memory.deliveries[c.way]
	var due digest
	if a.remembers() {
		for _, i := range a.memory.due(c.way, a.schedule(), a.ending, a.Now()) {
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
		m.withheld = a.memory.withheld
	}
	m.excerpts = a.excerpts(m)
	return m
}

// isMailing reports whether the mailer runs. It gets one message at a time.
func (a *alerter) isMailing() bool {
	return a.memory.deliveries[byMail].phase == handedOver || a.memory.deliveries[byPage].phase == handedOver
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
	a.launch(flight{
		func() error { return a.mailer(c.to, []byte(message)) },
		func(err error) { a.landed(c, err, true) },
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

// excerpts returns for each topic that the message shows the last lines of the logs
// about it.
func (a *alerter) excerpts(m message) [][]string {
	if len(a.Context) == 0 || m.page {
		return nil
	}
	subjects := make([]logs.Subject, len(m.worst))
	for i, item := range m.worst {
		if s, isStorm := item.topic.(*storm); isStorm && s.lasts() {
			subjects[i] = s.subject()
		}
	}
	return logs.Excerpts(a.Context, subjects, m.now, a.Window, a.Report)
}

// subject is what logs are searched for about the storm, nothing if a name isn't known.
func (i identity) subject() logs.Subject {
	user, err := rows.Unescape(i.user)
	program, err2 := rows.Unescape(i.proc)
	switch {
	case err != nil || err2 != nil || program == "":
		return logs.Subject{}
	case i.proc == "*": // a row of all processes
		program = ""
	}
	return logs.Subject{User: user, Program: program}
}
