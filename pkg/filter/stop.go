package filter

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A Stop is a run's wish to end early, by a signal: SIGTERM or one of the others that
// it was made for. After the first one the row in hand is finished or given up, and no
// other is begun.
type Stop struct {
	signals chan os.Signal
	over    chan struct{} // closed by release
	asked   chan struct{} // closed by the first signal
	err     error         // of the first signal; valid once asked is closed
	again   func()
}

// NewStop begins to catch SIGTERM and the other signals. The second one ends the
// process as the signal does by default, or calls again instead if that isn't nil: a
// tool that has to undo something first does so, and ends.
func NewStop(again func(), others ...os.Signal) *Stop {
	s := &Stop{
		signals: make(chan os.Signal, 2), over: make(chan struct{}), asked: make(chan struct{}), again: again,
	}
	signal.Notify(s.signals, append(others, syscall.SIGTERM)...)
	go s.wait()
	return s
}

func (s *Stop) wait() {
	select {
	case sig := <-s.signals:
		s.err = fmt.Errorf("ended early by a signal: %s", sig)
		close(s.asked)
	case <-s.over:
		return
	}
	select {
	case sig := <-s.signals:
		if s.again != nil {
			s.again()
			return
		}
		signal.Reset(sig)
		_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
	case <-s.over:
	}
}

// Asked is closed when the run is to end early.
func (s *Stop) Asked() <-chan struct{} { return s.asked }

// Err returns why rows are not acted on any more: "ended early by a signal: ", and
// which one. It is nil before that.
func (s *Stop) Err() error {
	select {
	case <-s.asked:
		return s.err
	default:
		return nil
	}
}

// release gives the signals their default effect again.
func (s *Stop) release() {
	signal.Stop(s.signals)
	close(s.over)
}

// An interruptible is an input whose Read ends with ErrFailed when the run is to end
// early, no row is in hand, and none comes.
type interruptible struct {
	stop  *Stop
	idle  func() <-chan struct{} // closed when no row is in hand
	wants chan int               // how many bytes Read asks for
	reads chan read
}

type read struct {
	text []byte // valid until the next one is asked for
	err  error
}

// lastRows is how long the rest of a snapshot is waited for when the run is to end
// early.
const lastRows = 100 * time.Millisecond

func newInterruptible(in io.Reader, stop *Stop, idle func() <-chan struct{}) *interruptible {
	i := &interruptible{stop: stop, idle: idle, wants: make(chan int), reads: make(chan read, 1)}
	go func() {
		var buffer []byte
		for size := range i.wants {
			if len(buffer) < size {
				buffer = make([]byte, size)
			}
			n, err := in.Read(buffer[:size])
			i.reads <- read{buffer[:n], err}
		}
	}()
	return i
}

func (i *interruptible) Read(p []byte) (int, error) {
	i.wants <- len(p)
	select {
	case r := <-i.reads:
		return copy(p, r.text), r.err
	case <-i.stop.Asked():
	}
	select {
	case r := <-i.reads:
		return copy(p, r.text), r.err
	case <-i.idle():
	}
	select {
	case r := <-i.reads:
		return copy(p, r.text), r.err
	case <-time.After(lastRows):
		return 0, ErrFailed
	}
}

// close ends the goroutine, unless it is in a read that never returns.
func (i *interruptible) close() { close(i.wants) }
