package killstorm

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
)

// answer is how much longer than it was given a file system may take to answer. One
// that doesn't, a server's that is down, keeps nobody from the rest of his work.
const answer = 200 * time.Millisecond

// locks are a user's mailboxes that are held open and locked while his processes end,
// so that none dies in the middle of writing one.
type locks struct {
	mutex sync.Mutex
	files []*os.File
	gone  bool
	early bool // they were let go before that
}

// keep takes a locked mailbox over, for holdMost from the first one on. It is false
// where that is over.
func (l *locks) keep(f *os.File) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.gone {
		f.Close()
		return false
	}
	if len(l.files) == 0 {
		time.AfterFunc(holdMost, l.expire)
	}
	l.files = append(l.files, f)
	return true
}

func (l *locks) expire() {
	if l.letGo() {
		l.mutex.Lock()
		l.early = true
		l.mutex.Unlock()
	}
}

// letGo ends the locks, and reports whether there were any.
func (l *locks) letGo() bool {
	l.mutex.Lock()
	files := l.files
	l.files, l.gone = nil, true
	l.mutex.Unlock()
	closed := make(chan bool, len(files))
	for _, f := range files {
		go func() {
			f.Close()
			closed <- true
		}()
	}
	late := time.After(answer)
	for range files {
		select {
		case <-closed:
		case <-late:
			return true
		}
	}
	return len(files) > 0
}

// lock locks the mailboxes of all storms, and tells their rows which it couldn't in
// time. All are tried for at once: none waits for another's.
func (b *battle) lock() {
	if len(b.Hold) == 0 {
		return
	}
	now := time.Now()
	end := now.Add(b.HoldTimeout)
	if b.deadline.Before(end) {
		end = b.deadline
	}
	if end.Before(now) {
		end = now
	}
	b.locked = b.storms
	b.forAll(end, "mailbox not locked (no answer)", func(s *storm) []error { return s.held.take(b.Hold, s.user, end) })
}

// letGo ends the locks of all storms, and tells the rows for which that came early.
func (b *battle) letGo() {
	for _, s := range b.locked {
		s.held.letGo()
		s.held.mutex.Lock()
		if s.held.early {
			s.held.early = false
			s.notes = append(s.notes, filter.Note(fmt.Sprintf("mailbox unlocked before the end (after %s)", holdMost)))
		}
		s.held.mutex.Unlock()
	}
}

// forAll does something to the files of all storms at once, whose file systems have
// answered so far, and adds to their notes what it returns, or the remark on those
// that don't answer by end.
func (b *battle) forAll(end time.Time, noAnswer filter.Note, do func(*storm) []error) {
	type done struct {
		by    *storm
		notes []error
	}
	answers := make(chan done, len(b.storms))
	free := make(chan bool, 8) // as many threads may be waiting for a file system
	waiting := map[*storm]bool{}
	for _, s := range b.storms {
		if s.silent {
			continue
		}
		waiting[s] = true
		go func() {
			free <- true
			answers <- done{s, do(s)}
			<-free
		}()
	}
	for late := time.After(time.Until(end) + answer); len(waiting) > 0; {
		select {
		case a := <-answers:
			delete(waiting, a.by)
			a.by.notes = append(a.by.notes, a.notes...)
		case <-late:
			for s := range waiting {
				s.silent = true
				s.notes = append(s.notes, noAnswer)
			}
			return
		}
	}
}

// take locks the mailboxes of a user, and returns what is to be told of those that
// it couldn't lock.
func (l *locks) take(templates []mailbox.Template, user mailbox.User, end time.Time) (notes []error) {
	none := true
	for _, template := range templates {
		f, err := template.OpenLocked(user, max(0, time.Until(end)))
		switch {
		case err == nil:
			if !l.keep(f) {
				notes = append(notes, filter.Note(template.Path(user)+": not locked (too late)"))
			}
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
func (b *battle) removeDotlocks() {
	b.forAll(time.Now(), "lock files not looked for (no answer)", func(s *storm) (notes []error) {
		for _, template := range b.Hold {
			what, err := template.RemoveDotlock(s.user, s.hasKilled, b.began)
			switch {
			case err != nil:
				notes = append(notes, filter.Note(fmt.Sprintf("%s.lock: %s", template.Path(s.user), err)))
			case what != "":
				notes = append(notes, filter.Note(what))
			}
		}
		return notes
	})
}

func (s *storm) hasKilled(pid int) bool {
	return slices.ContainsFunc(s.processes, func(p process) bool { return p.pid == pid && p.killed && p.gone })
}
