package mailarchive

import (
	"cmp"
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stormcheck/pkg/mailbox"
)

// atOnce is how many copies are written at once at most.
const atOnce = 2

// stalled is how long a copy from a file server may make no progress before another copy
// gets its place.
const stalled = 2 * time.Second

// mostOpen is how many mailboxes are held open while their locks are tried for: file
// handles are few on some machines.
const mostOpen = 256

// A queue gives each mailbox that has to be copied its turn: its lock, or the error that
// it couldn't be locked in time, and one of the places for copies that are being written.
// One loop tries for the locks of all, so that no mailbox waits for the lock of another.
type queue struct {
	news chan struct{} // something has changed

	mutex   sync.Mutex
	waiting []*turn // in the order of their rank
	copying []*turn
	closed  bool
}

func newQueue() *queue {
	q := &queue{news: make(chan struct{}, 1)}
	made := make(chan struct{})
	go q.run(made)
	<-made
	return q
}

func (q *queue) close() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.closed = true
	q.wake()
}

// wake wakes the loop.
func (q *queue) wake() {
	select {
	case q.news <- struct{}{}:
	default:
	}
}

// A turn is a mailbox in the queue.
type turn struct {
	rank
	locking *mailbox.Locking // nil: it is open, or to be opened without a lock
	until   time.Time        // after that it is copied without its lock

	granted  chan struct{} // closed when it may be copied, with what follows set
	file     *os.File      // the mailbox, open
	unlocked error         // why it isn't locked
	err      error         // why it isn't open

	progress atomic.Int64 // when the copy came on last, in ns since 1970
}

// A rank says which mailbox is copied first. A mailbox that its owner has made slow comes
// last.
type rank struct {
	failed bool  // its last copy failed a short while ago
	served bool  // it may be on a file server
	size   int64 // in bytes, when it was looked at
}

func compareRanks(a, b *turn) int {
	return cmp.Or(compareBools(a.failed, b.failed), compareBools(a.served, b.served), cmp.Compare(a.size, b.size))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// wait waits for the turn. Its error is that the time is over before.
func (q *queue) wait(ctx context.Context, t *turn) error {
	t.granted = make(chan struct{})
	q.mutex.Lock()
	at, _ := slices.BinarySearchFunc(q.waiting, t, compareRanks)
	q.waiting = slices.Insert(q.waiting, at, t)
	q.mutex.Unlock()
	q.wake()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if at := slices.Index(q.waiting, t); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
		if t.locking != nil {
			t.locking.Close()
		}
		return errOver
	}
	return nil
}

// progressed notes that the copy goes on.
func (t *turn) progressed() { t.progress.Store(time.Now().UnixNano()) }

// done gives the turn's place to another.
func (q *queue) done(t *turn) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if at := slices.Index(q.copying, t); at >= 0 {
		q.copying = slices.Delete(q.copying, at, at+1)
	}
	q.wake()
}

// run is the loop. It takes a fifth of a processor at most.
func (q *queue) run(made chan struct{}) {
	runtime.LockOSThread() // made at the start, as the crew's
	close(made)
	timer := time.NewTimer(0)
	for {
		began := time.Now()
		waits, closed := q.round(began)
		if closed {
			return
		}
		if waits {
			timer.Reset(max(mailbox.Poll, 4*time.Since(began)))
		}
		select {
		case <-q.news:
		case <-timer.C:
		}
	}
}

// round grants turns while there are free places. It reports whether any mailbox waits.
func (q *queue) round(now time.Time) (waits, closed bool) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.copying = slices.DeleteFunc(q.copying, func(t *turn) bool {
		return t.served && now.Sub(time.Unix(0, t.progress.Load())) > stalled
	})
	open := 0
	q.waiting = slices.DeleteFunc(q.waiting, func(t *turn) bool {
		if len(q.copying) >= atOnce {
			return false
		}
		if !t.try(now) {
			if open++; open > mostOpen {
				t.locking.Close()
			}
			return false
		}
		t.progressed()
		q.copying = append(q.copying, t)
		close(t.granted)
		return true
	})
	return len(q.waiting) > 0, q.closed
}

// try takes the lock, or finds that its time is over.
func (t *turn) try(now time.Time) bool {
	if t.locking == nil {
		return true
	}
	f, err := t.locking.Try()
	if mailbox.IsBusy(err) {
		if now.Before(t.until) {
			return false
		}
		f, err = t.locking.GiveUp()
	}
	t.setOpened(f, err)
	return true
}

// setOpened notes what opening the mailbox came to.
func (t *turn) setOpened(f *os.File, err error) {
	t.file = f
	if f != nil {
		t.unlocked = err
	} else {
		t.err = err
	}
}
