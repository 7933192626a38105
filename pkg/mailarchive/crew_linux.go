package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"stormcheck/pkg/proc"
)

// threads is how many calls may hang in the kernel at once. A call that hangs, as on a
// file server that is down, keeps its thread. When all threads hang, other work waits
// until its row's time is over. Some more threads are for the archive directory alone.
const (
	threads        = 32
	archiveThreads = 4
)

// lastMoment is how long work has to end by itself when its time is over, and its locks
// to be released after that.
const lastMoment = 250 * time.Millisecond

// mostCPU is how much processor time work may use at real-time priority. A copy of at most
// quick bytes uses less. But the owner of a mailbox who maps it thousands of times makes
// its copy use minutes.
const mostCPU = 300 * time.Millisecond

// A crew runs what may hang in the kernel, on threads that are made at its start.
type crew struct {
	work      chan func()
	inArchive chan func()   // for archiveThreads
	spare     chan struct{} // held by work for mailboxes that failed before: half of the threads

	mutex  sync.Mutex
	silent map[string]*silence // by directory
}

// A silence is a directory in which tasks hang that nobody waits for any more. It isn't
// tried again before one of them ends, because each try would cost a thread.
type silence struct {
	since time.Time
	tasks int
}

// Why the crew didn't do what it was asked for.
var (
	errOver  = errors.New("out of time")
	errHangs = errors.New("no answer")
)

func hire() *crew {
	c := &crew{work: make(chan func()), inArchive: make(chan func()), spare: make(chan struct{}, threads/2), silent: map[string]*silence{}}
	var made sync.WaitGroup
	made.Add(threads + archiveThreads)
	for n := range threads + archiveThreads {
		work := c.work
		if n < archiveThreads {
			work = c.inArchive
		}
		go func() {
			runtime.LockOSThread()
			made.Done()
			for f := range work {
				proc.Briefly(mostCPU, f)
			}
		}()
	}
	made.Wait()
	return c
}

// dismiss ends all threads that don't hang.
func (c *crew) dismiss() {
	close(c.work)
	close(c.inArchive)
}

// A task is what one thread of the crew does. It may be abandoned: then it publishes
// nothing, and the crew releases its locks.
type task struct {
	ended chan struct{}

	mutex sync.Mutex
	left  bool
	dir   string // where it is at work
	since time.Time
	holds []*hold
}

// in notes the directory in which the next call may hang.
func (t *task) in(dir string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.dir, t.since = dir, time.Now()
}

func (t *task) isLeft() bool {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.left
}

// hold registers a lock, to be released when the task is abandoned.
func (t *task) hold(f *os.File, unlock func(*os.File)) *hold {
	h := &hold{file: f, unlock: unlock}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.holds = append(t.holds, h); t.left {
		h.release()
	}
	return h
}

// A place is where work may hang.
type place struct {
	dir     string
	spare   bool // it takes at most half of the threads
	archive bool // it has threads of its own
}

// do runs f, which begins in dir. The error is that f wasn't run, because dir doesn't
// answer or the time is over, or that f hangs and was abandoned.
func (c *crew) do(ctx context.Context, at place, f func(*task)) error {
	if err := c.answers(at.dir); err != nil {
		return err
	}
	spared := func() {}
	if at.spare {
		select {
		case c.spare <- struct{}{}:
			spared = func() { <-c.spare }
		case <-ctx.Done():
			return errOver
		}
	}
	work := c.work
	if at.archive {
		work = c.inArchive
	}
	t := &task{ended: make(chan struct{}), dir: at.dir, since: time.Now()}
	select {
	case work <- func() { defer close(t.ended); defer spared(); f(t) }:
	case <-ctx.Done():
		spared()
		return errOver
	}
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-t.ended:
		return nil
	case <-time.After(lastMoment):
	}
	c.leave(t)
	return errHangs
}

// answers returns since when the directory doesn't answer.
func (c *crew) answers(dir string) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if s := c.silent[dir]; s != nil {
		return fmt.Errorf("no answer since %s", rfc3339(s.since))
	}
	return nil
}

// leave abandons a task until it ends, and releases its locks. It doesn't wait for that
// for long, because on a dead file server a release may hang too.
func (c *crew) leave(t *task) {
	t.mutex.Lock()
	t.left = true
	dir, since, holds := t.dir, t.since, t.holds
	t.mutex.Unlock()

	c.mutex.Lock()
	s := c.silent[dir]
	if s == nil {
		s = &silence{since: since}
		c.silent[dir] = s
	}
	s.tasks++
	c.mutex.Unlock()
	go func() {
		<-t.ended
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if s.tasks--; s.tasks == 0 {
			delete(c.silent, dir)
		}
	}()

	released := make(chan struct{})
	go func() {
		defer close(released)
		for _, h := range holds {
			h.release()
		}
	}()
	select {
	case <-released:
	case <-time.After(lastMoment):
	}
}

// A hold is a lock that is released once: by the task that took it, or by its crew.
type hold struct {
	mutex  sync.Mutex
	file   *os.File // nil: released
	unlock func(*os.File)
}

// release reports whether the lock was still held.
func (h *hold) release() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	held := h.file != nil
	if held {
		h.unlock(h.file)
	}
	h.file = nil
	return held
}
