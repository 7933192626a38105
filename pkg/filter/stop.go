package filter

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Stop says that a run is to end early because of a signal: SIGTERM or one of the others
// that it was made for. After the first one the row in hand is finished or given up, and
// no other is begun.
type Stop struct {
	signals  chan os.Signal
	over     chan struct{} // closed by release
	asked    chan struct{} // closed by the first signal
	insisted chan struct{} // closed by the second one, if second is set
	err      error         // of the first signal; valid once asked is closed
	second   func()
	wake     *os.File // a pipe that is at its end once asked is closed; nil if none could be made
	waker    *os.File
}

// NewStop begins to catch SIGTERM and the other signals. The second one ends the
// process as the signal does by default. If second isn't nil it is called instead, and
// the run ends when Act or Together returns: a tool that has to undo something first
// does so.
func NewStop(second func(), others ...os.Signal) *Stop {
	s := &Stop{
		signals: make(chan os.Signal, 2), over: make(chan struct{}),
		asked: make(chan struct{}), insisted: make(chan struct{}), second: second,
	}
	if wake, waker, err := os.Pipe(); err == nil {
		s.wake, s.waker = wake, waker
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
		if s.waker != nil {
			s.waker.Close()
		}
	case <-s.over:
		return
	}
	select {
	case sig := <-s.signals:
		if s.second != nil {
			close(s.insisted)
			s.second()
			return
		}
		signal.Reset(sig)
		_ = syscall.Kill(os.Getpid(), sig.(syscall.Signal))
	case <-s.over:
	}
}

// Asked is closed when the run is to end early.
func (s *Stop) Asked() <-chan struct{} { return s.asked }

// Err returns why no more rows are acted on: "ended early by a signal: " and the signal.
// Before a signal it is nil.
func (s *Stop) Err() error {
	if isClosed(s.asked) {
		return s.err
	}
	return nil
}

// now returns ErrFailed if the run is to end before the rest of its snapshot.
func (s *Stop) now() error {
	if isClosed(s.insisted) {
		return ErrFailed
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// release gives the signals their default effect again.
func (s *Stop) release() {
	signal.Stop(s.signals)
	close(s.over)
	if s.wake != nil {
		s.wake.Close()
		s.waker.Close()
	}
}

// An interruptible is an input that doesn't block for ever. It fails with ErrFailed if the
// run is to end early and no row is in work, or if the reader of the output has gone.
type interruptible struct {
	*os.File
	stop    *Stop
	busy    func() bool     // a row is in hand
	watched func() *checked // the output whose reader is watched, or nil
}

func (i interruptible) Read(p []byte) (int, error) {
	const glance = 20 // milliseconds
	out := i.watched()
	outFd := int32(-1) // poll(2) ignores it
	if out != nil {
		if file, ok := out.w.(*os.File); ok {
			outFd = int32(file.Fd())
		}
	}
	for {
		fds := []unix.PollFd{{Fd: int32(i.Fd()), Events: unix.POLLIN}, {Fd: outFd}}
		timeout, asked := -1, i.stop.Err() != nil
		switch {
		case asked && !i.busy():
			timeout = 0
		case asked || i.stop.wake == nil:
			timeout = glance
		default:
			fds = append(fds, unix.PollFd{Fd: int32(i.stop.wake.Fd()), Events: unix.POLLIN})
		}
		n, err := unix.Poll(fds, timeout)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[0].Revents != 0:
			return i.File.Read(p)
		case out != nil && out.readerGone(fds[1].Revents):
			return 0, ErrFailed
		case n == 0 && timeout == 0:
			return 0, ErrFailed
		}
	}
}
