package mailarchive

import (
	"time"

	"stormcheck/pkg/mailbox"
)

// tries is how often a changing mailbox is copied at most; then the last copy stands.
const tries = 3

// A box is one of a user's mailboxes.
type box struct {
	*job
	series
	rank
	template mailbox.Template
	spool    string // the directory where it lies

	locked   time.Time // when it was locked first; zero: never
	unlocked time.Time // when it was unlocked last, or later
}

// inSpool is where work for the mailbox may hang.
func (b *box) inSpool() place { return place{dir: b.spool, spare: b.failed} }

// remaining is how much time the row has left.
func (b *box) remaining() time.Duration {
	deadline, _ := b.ctx.Deadline()
	return time.Until(deadline)
}
