package alertmail

import (
	"slices"
	"strings"
	"time"
)

// news is a set of reasons to report something.
type news uint16

const (
	isNew    news = 1 << iota // it wasn't there before
	action                    // it is due for an action that it wasn't due for before
	killed                    // processes were killed for the first time
	archived                  // a copy was made
	failure                   // something failed in a way that it didn't before
	doubled                   // the count is twice what was reported
	repeated                  // it lasts, and the time has come to repeat it
	over                      // it is over
	// more marks changes since the pending message was composed. They don't trigger a
	// message by themselves.
	more
)

// newsWords are the words of the state file, in the order of the bits.
var newsWords = [...]string{"new", "action", "killed", "archived", "failed", "doubled", "again", "over", "more"}

// has reports whether the set has any of the others.
func (n news) has(others news) bool { return n&others != 0 }

// urges reports whether the set triggers a message.
func (n news) urges() bool { return n&^more != 0 }

// String returns the words, separated by blanks.
func (n *news) String() string {
	var words []string
	for bit, word := range newsWords {
		if n.has(1 << bit) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// Set reads what String returns. It passes over words that it doesn't know.
func (n *news) Set(text string) error {
	*n = 0
	for _, word := range strings.Fields(text) {
		if bit := slices.Index(newsWords[:], word); bit >= 0 {
			*n |= 1 << bit
		}
	}
	return nil
}

// A report is how far a topic has been reported in one way.
type report struct {
	news    news      // why the next message reports it
	sending news      // why it is in the message that is on its way
	at      time.Time // of the last message that was taken
	count   int64     // in the last message that was composed
	repeats int64     // messages since the last with news
}

// begun reports whether there was ever anything to report.
func (r *report) begun() bool { return r.news != 0 || r.sending != 0 || !r.at.IsZero() }

// learn adds what a run has found of a topic. The first report waits until it is
// ready. A count of 0 says that it isn't worth a message now.
func (r *report) learn(seen news, count int64, ready bool) {
	switch {
	case r.begun():
		r.news |= seen
		if r.news == more && r.sending == 0 {
			r.news = 0 // there is no message that it could be missing from
		}
		if r.count > 0 && count >= 2*r.count {
			r.news |= doubled
		}
	case ready:
		r.news |= isNew
	}
}

// turnBack makes news again of what was on its way.
func (r *report) turnBack() { r.news, r.sending = r.news|r.sending, 0 }

// A way is one of the ways to report.
type way int

const (
	byMail way = iota
	byPage
	byAlert
	numWays // to report a topic
	// byOwner reports no topic: it is the mail to the owner of an account.
	byOwner       = numWays
	numDeliveries = numWays + 1
)

// wayNames stand in metrics and in the state file.
var wayNames = [numDeliveries]string{"mail", "page", "alertmanager", "owner"}

func (w way) String() string { return wayNames[w] }
