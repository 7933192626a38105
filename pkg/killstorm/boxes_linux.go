package killstorm

import (
	"errors"
	"os"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
)

// answer is how much longer than its time a file system may take to answer. One that
// doesn't answer, such as that of a server that is down, doesn't delay the locks of
// others.
const answer = 200 * time.Millisecond

// boxes are a user's mailboxes, held open and locked while the user's processes end,
// so that none of them dies in the middle of writing one.
type boxes struct {
	mutex  sync.Mutex
	files  []*os.File
	closed bool // no more are taken
	early  bool // they were unlocked before the end
}

// add takes a locked mailbox, to be unlocked holdMost after the first one. It reports
// false if that time is over.
func (b *boxes) add(f *os.File) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.closed {
		f.Close()
		return false
	}
	if len(b.files) == 0 {
		time.AfterFunc(holdMost, b.expire)
	}
	b.files = append(b.files, f)
	return true
}

func (b *boxes) expire() {
	if b.unlock() {
		b.mutex.Lock()
		b.early = true
		b.mutex.Unlock()
	}
}

// unlock closes the mailboxes, and reports whether there were any.
func (b *boxes) unlock() bool {
	b.mutex.Lock()
	files := b.files
	b.files, b.closed = nil, true
	b.mutex.Unlock()
	done := make(chan bool, len(files))
	for _, f := range files {
		go func() {
			f.Close()
			done <- true
		}()
	}
	late := time.After(answer)
	for range files {
		select {
		case <-done:
		case <-late:
			return true
		}
	}
	return len(files) > 0
}

// lock locks the mailboxes of a user, and returns notes on those that it couldn't lock.
func (b *boxes) lock(templates []mailbox.Template, user mailbox.User, end time.Time) (notes []error) {
	none := true
	for _, template := range templates {
		f, err := template.OpenLocked(user, max(0, time.Until(end)))
		switch {
		case err == nil:
			if !b.add(f) {
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

// mostWaiting is how many threads may wait for a file system at once, in the whole
// run.
const mostWaiting = 8

// An answers counts the threads that wait for file systems. A file system that doesn't
// answer keeps its thread, also from one fight to the next, so a user whose thread still
// waits gets no other.
type answers struct {
	mutex   sync.Mutex
	waiting map[string]int // threads, by the name of the mailboxes' user
	slots   chan bool
}

func newAnswers() *answers {
	return &answers{waiting: map[string]int{}, slots: make(chan bool, mostWaiting)}
}

// silent reports whether a thread waits for the mailboxes of a user.
func (a *answers) silent(user string) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	return a.waiting[user] > 0
}

// await calls do in a thread of its own, as soon as there is a slot for it, and then
// answered, when the thread doesn't count any more.
func (a *answers) await(user string, do, answered func()) {
	a.count(user, 1)
	go func() {
		a.slots <- true
		do()
		<-a.slots
		a.count(user, -1)
		answered()
	}()
}

func (a *answers) count(user string, n int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.waiting[user] += n; a.waiting[user] == 0 {
		delete(a.waiting, user)
	}
}
