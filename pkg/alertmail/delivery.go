package alertmail

import (
	"time"
)

// A phase is how far the delivery of a message is.
type phase int

const (
	idle       phase = iota // there is no message
	composed                // it is on the disk, if there is a state
	handedOver              // the mailer has it, and nobody knows whether it was taken
	failed                  // the mailer didn't take it
)

// A delivery is the state of one way to report. A message stays in it until it is known to
// be taken: the mailer may have delivered it and then failed, or this process may have
// died first. So the message is resent verbatim under its id, and duplicates can be
// discarded. No other message is ever sent under that id.
type delivery struct {
	phase
	id       string
	message  string    // as the mailer gets it
	text     string    // what people read of it, if this process has composed it
	kept     bool      // it is on the disk
	made     time.Time // when
	tries    int64     // in vain
	failing  time.Time // since then nothing was taken
	tried    time.Time // last, in vain
	said     time.Time // when a failure was last reported
	pace     pace
	withheld int64 // mails to owners that were not sent, which the message counts
}

// restored returns the delivery that the state file describes. If it was handed over and
// has no time of a failed try, its process died during the try.
func (d delivery) restored() delivery {
	switch {
	case d.message == "":
		d.id = "" // it can't be resent verbatim
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

// retryPause is how long a mailer that has just failed is not tried again, so that one
// that hangs isn't tried in each snapshot. It is less than cron's minute.
const retryPause = 20 * time.Second

// longestPause is the largest value of that pause.
const longestPause = 15 * time.Minute

// waited reports whether the last try is that long ago. A try in the future comes from a
// clock that was wrong.
func (d *delivery) waited(pause time.Duration, now time.Time) bool {
	since := now.Sub(d.tried)
	return since < 0 || since >= pause
}

// pause returns how long to wait before a message that wasn't taken is tried again, while
// nothing is new. A mailer that delivers and then fails would otherwise deliver at each
// try.
func (d *delivery) pause(o schedule) time.Duration {
	pause := retryPause
	for n := int64(1); n < d.tries && pause < longestPause; n++ {
		pause *= 2
	}
	return min(pause, max(retryPause, min(o.repeats[0], longestPause)))
}
