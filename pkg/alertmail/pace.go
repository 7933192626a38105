package alertmail

import "time"

// Bounds of the messages in one way, so that a flood of storms is no flood of mail.
const (
	betweenMessages = time.Minute
	mostAnHour      = 12
)

// A pace says when the next message may go. The first message of a quiet time goes at
// once. A later one waits until a minute after the last. After twelve in an hour there is
// one an hour, until an hour passes in which none had to wait.
type pace struct {
	from   time.Time // of the hour that is counted
	sent   int64     // messages in it
	last   time.Time // message that was taken
	waited bool      // one has waited since
}

// ready reports whether a message may go now. A time in the future comes from a clock that
// was wrong.
func (p *pace) ready(now time.Time) bool {
	wait := betweenMessages
	if p.sent >= mostAnHour {
		wait = time.Hour
	}
	since := now.Sub(p.last)
	return p.last.IsZero() || since < 0 || since >= wait
}

// note notes that a message was taken.
func (p *pace) note(now time.Time) {
	switch since := now.Sub(p.from); {
	case p.sent >= mostAnHour && p.waited: // the flood lasts
	case p.sent >= mostAnHour, p.from.IsZero(), since < 0, since >= time.Hour:
		p.from, p.sent = now, 1
	default:
		p.sent++
	}
	p.last, p.waited = now, false
}

// isOver reports whether nothing of the pace matters any more.
func (p *pace) isOver(now time.Time) bool { return !p.waited && now.Sub(p.last) >= time.Hour }
