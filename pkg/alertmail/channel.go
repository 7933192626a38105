package alertmail

import (
	"fmt"
	"io"
	"net"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
)

// A channel is a way to tell: the mail, the page, or the alerts.
type channel struct {
	way    *way
	page   bool
	alerts bool // no message, so there are no recipients and nothing is found
	// settles says that what it has told is told: by the mail, or where there is none.
	settles bool
	to      []string
	of      func(*storm) *told
	found   func(*batch) digest
}

// channels returns the ways that the flags ask for.
func (a *alerter) channels(b *book) (all []*channel) {
	if a.posts() {
		all = append(all, &channel{
			way: &b.alerts, alerts: true, settles: len(a.To) == 0,
			of: func(s *storm) *told { return &s.alert },
		})
	}
	if len(a.To) > 0 || len(a.PageTo) == 0 && !a.posts() {
		all = append(all, &channel{
			way: &b.mail, to: a.To, settles: true,
			of:    func(s *storm) *told { return &s.mail },
			found: func(r *batch) digest { return r.found },
		})
	}
	if len(a.PageTo) > 0 {
		all = append(all, &channel{
			way: &b.page, to: a.PageTo, page: true, settles: len(a.To) == 0 && !a.posts(),
			of:    func(s *storm) *told { return &s.page },
			found: func(r *batch) digest { return r.paged },
		})
	}
	return all
}

// lockDeadlines is how long, in deadlines of the mailer, another alertmail may take
// over the state.
const lockDeadlines = 6

// retryPause is how long a mailer is left alone that has just failed, lest one that
// hangs holds up a standing pipe. It is less than cron's minute.
const retryPause = 20 * time.Second

// longestPause is to what that grows.
const longestPause = 15 * time.Minute

// tellByBook tells what is due by the state, and brings that up to date. Each step
// is on the disk before the next: whenever this process may die, the next run knows
// what hasn't been told.
func (a *alerter) tellByBook(r *batch) {
	table, b := a.open()
	if table != nil {
		defer table.Close()
	}
	o := rules{repeat: a.Repeat, after: a.After, overAfter: a.OverAfter}
	b.learn(r, o, a.Now())
	saved := a.save(table, b) // what this run has found, before anything that takes time
	channels := a.channels(b)
	for _, c := range channels {
		if !c.alerts && c.way.id != "" && c.way.tried.IsZero() {
			a.deliver(table, b, c, saved) // whether it arrived nobody knows
		}
	}
	for _, c := range channels { // each is made before one is taken, and what it told is settled
		if c.alerts {
			continue
		}
		if due := b.due(c, o, a.Now()); len(due) > 0 {
			a.compose(c, due)
		}
	}
	saved = a.save(table, b)
	for _, c := range channels {
		switch {
		case c.alerts:
			untaken := a.tellAlerts(b, c)
			if saved := a.save(table, b); len(untaken) > 0 && !saved && c.settles {
				a.print(untaken)
			}
		case c.way.id == "":
		case c.way.waited(c.way.pause(o), a.Now()):
			a.deliver(table, b, c, saved)
		default:
			a.failed = true
		}
	}
	b.forget(channels)
	a.save(table, b)
}

// open returns the state. Without a table nothing can be remembered.
func (a *alerter) open() (*state.Table, *book) {
	table, lines, err := state.Open(a.State, columns, lockDeadlines*a.Deadline)
	a.check(err)
	b, err := decode(lines)
	if err != nil { // the rest of it is good, but what is in that line may matter
		err = fmt.Errorf("%s: %w", a.State, err)
		if kept := table.Keep(); kept != nil {
			a.Report(kept)
		} else {
			err = fmt.Errorf("%w: kept as %s.bad", err, a.State)
		}
		a.Report(err)
	}
	return table, &b
}

// compose makes the message about the storms that is then on its way.
func (a *alerter) compose(c *channel, storms []*storm) {
	var d digest
	for _, s := range storms {
		d.add(s)
	}
	w := c.way
	w.id, w.made, w.tried = a.newID(c), a.Now(), time.Time{}
	m := a.message(c, d, w.id)
	w.text = m.body()
	if w.message = w.text; len(c.to) > 0 {
		w.message = string(m.mail(c.to))
	}
}

// deliver hands over the message that is on its way, and takes note of what became of
// it.
func (a *alerter) deliver(table *state.Table, b *book, c *channel, saved bool) {
	w := c.way
	if !w.tried.IsZero() {
		w.tried = time.Time{}
		saved = a.save(table, b)
	}
	if a.hand(c, w.message, w.text, saved) {
		b.taken(c, a.Now())
	} else {
		w.tries, w.tried = w.tries+1, a.Now()
	}
	a.save(table, b)
}

// save writes the book and reports whether it could, but not each time why not.
func (a *alerter) save(table *state.Table, b *book) (saved bool) {
	if table == nil {
		return false
	}
	err := b.save(table)
	if err != nil && !b.unsaved {
		a.Report(err)
		b.unsaved = true
	}
	return err == nil
}

// message returns the message of a channel, with the lines of logs about it.
func (a *alerter) message(c *channel, d digest, id string) message {
	m := message{Options: a.Options, digest: d, now: a.Now(), id: id, page: c.page}
	m.excerpts = a.excerpts(m)
	return m
}

// send sends a message, or prints it, where nothing is remembered.
func (a *alerter) send(c *channel, d digest, id string) {
	m := a.message(c, d, id)
	switch {
	case len(c.to) == 0:
		a.hand(c, m.text(), "", false)
	case a.DryRun:
		_, _ = a.out.Write(m.mail(c.to))
	default:
		a.hand(c, string(m.mail(c.to)), m.body(), false)
	}
}

// hand gives a message to the mailer, or prints it, and reports whether it was taken.
// The text of one that isn't, and won't be sent again, goes to stderr: there cron or a
// console may show it.
func (a *alerter) hand(c *channel, message, text string, again bool) (isTaken bool) {
	if len(c.to) == 0 {
		_, err := io.WriteString(a.out, message) // filter.Env's Out says what failed
		return err == nil
	}
	err := a.mailer(c.to, []byte(message))
	if err == nil {
		return true
	}
	a.failed = true
	kind := aMail
	if c.page {
		kind = aPage
	}
	a.counts.refuse(kind)
	a.notTaken(c.way, err)
	if !again {
		_, _ = io.WriteString(a.Stderr, text)
	}
	return false
}

// notTaken says that a message wasn't taken.
func (a *alerter) notTaken(w *way, err error) {
	now := a.Now().Truncate(time.Second) // as the state has times
	if w.failing.IsZero() {
		w.failing, w.said = now, time.Time{}
	}
	if now.After(w.failing) {
		err = fmt.Errorf("%w (nothing taken since %s)", err, clock(w.failing, now))
	}
	a.hourly(w, err)
}

// hourly says what is wrong with a way at first, and then each hour, on stderr and to
// the system's log, for cron mails stderr by the same mailer.
func (a *alerter) hourly(w *way, err error) {
	now := a.Now().Truncate(time.Second)
	if since := now.Sub(w.said); !w.said.IsZero() && 0 <= since && since < time.Hour {
		return
	}
	w.said = now
	a.Report(err)
	a.syslog(err)
}

// syslog writes a line to the system's log, with a deadline, for that may be sick too.
func (a *alerter) syslog(err error) {
	const daemonError = 3<<3 | 3 // facility and severity; RFC 5424, 6.2.1
	socket, dialed := net.DialTimeout("unixgram", a.Syslog, time.Second)
	if dialed != nil {
		return // there is none, and it has been said on stderr
	}
	defer socket.Close()
	_ = socket.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = fmt.Fprintf(socket, "<%d>alertmail[%d]: %s", daemonError, a.PID, rows.Printable(err.Error()))
}

// newID returns a Message-ID that no other message has.
func (a *alerter) newID(c *channel) string {
	kind := "stormcheck"
	if c.page {
		kind += ".page"
	}
	return fmt.Sprintf("<%s.%d.%d@%s>", kind, a.Now().UnixNano(), a.PID, a.Host)
}

func (a *alerter) flush() { a.check(a.log.Flush()) }

func (a *alerter) check(err error) {
	if err != nil {
		a.Report(err)
	}
}
