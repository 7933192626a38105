package killstorm

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
)

// holdMost is how long a mailbox is kept locked, from the first one on. Postfix defers mail after 19 s.
const holdMost = 15 * time.Second

// locks are the mailboxes that are held open and locked while their owners'
// processes end, so that none dies in the middle of writing one.
type locks struct {
	mutex sync.Mutex
	files []*os.File
	gone  bool
}

// keep takes a locked mailbox over, also one that comes too late.
func (l *locks) keep(f *os.File) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.gone {
		f.Close()
		return
	}
	if len(l.files) == 0 {
		time.AfterFunc(holdMost, l.letGo)
	}
	l.files = append(l.files, f)
}

// letGo ends all locks.
func (l *locks) letGo() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.gone = true
	for _, f := range l.files {
		f.Close()
	}
	l.files = nil
}

// lock locks the mailboxes of all storms, and tells their rows which it couldn't in
// time. All are tried for at once: none waits for another's.
func (b *battle) lock() *locks {
	held := &locks{}
	if len(b.Hold) == 0 {
		return held
	}
	end := time.Now().Add(b.HoldTimeout)
	if b.deadline.Before(end) {
		end = b.deadline
	}
	type answer struct {
		storm int
		notes []error
	}
	answers := make(chan answer, len(b.storms))
	free := make(chan bool, 8) // as many threads may be waiting for a file system
	for i, s := range b.storms {
		go func() {
			free <- true
			answers <- answer{i, held.take(b.Hold, s.user, end)}
			<-free
		}()
	}
	silent := map[int]bool{}
	for i := range b.storms {
		silent[i] = true
	}
	const more = 200 * time.Millisecond // for a file system that answers late
	for late := time.After(time.Until(end) + more); len(silent) > 0; {
		select {
		case a := <-answers:
			delete(silent, a.storm)
			b.storms[a.storm].notes = append(b.storms[a.storm].notes, a.notes...)
		case <-late:
			for i := range silent {
				b.storms[i].notes = append(b.storms[i].notes, filter.Note("mailbox not locked (no answer)"))
			}
			clear(silent)
		}
	}
	return held
}

// take locks the mailboxes of a user, and returns what is to be told of those that
// it couldn't lock.
func (l *locks) take(templates []mailbox.Template, user mailbox.User, end time.Time) (notes []error) {
	none := true
	for _, template := range templates {
		f, err := template.OpenLocked(user, max(0, time.Until(end)))
		switch {
		case err == nil:
			l.keep(f)
		case f != nil:
			f.Close()
			notes = append(notes, filter.Note(template.Path(user)+": "+err.Error()))
		case errors.Is(err, mailbox.ErrNone) || errors.Is(err, mailbox.ErrDirectory):
			continue
		default:
			notes = append(notes, filter.Note(template.Path(user)+": not locked: "+err.Error()))
		}
		none = false
	}
	if none {
		notes = append(notes, filter.Note("no mailbox to lock"))
	}
	return notes
}

// removeDotlocks removes the USER.lock files of those who were killed, and names
// others that nobody will remove.
func (b *battle) removeDotlocks(s *storm) {
	killed := func(pid int) bool {
		for _, p := range s.processes {
			if p.pid == pid && p.killed && p.gone {
				return true
			}
		}
		return false
	}
	for _, template := range b.Hold {
		what, err := template.RemoveDotlock(s.user, killed, b.began)
		switch {
		case err != nil:
			s.notes = append(s.notes, filter.Note(fmt.Sprintf("%s.lock: %s", template.Path(s.user), err)))
		case what != "":
			s.notes = append(s.notes, filter.Note(what))
		}
	}
}
