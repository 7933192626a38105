//go:build linux

package stormcheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/trusted"
)

// A chain is the stages from procstat to the last filter, as processes, each of which
// writes what the next one reads.
type chain struct {
	stages    []stage
	processes []*process
	out       *os.File        // what the last filter writes; nil if a stage was not started
	tapped    <-chan struct{} // closed when the tap has all that it gets; nil without one
	unstarted string          // which was not, and why
}

// startChain starts the stages in their order. tap, if there is one, is given what
// the first writes.
func startChain(stages []stage, tap io.Writer, report func(string)) *chain {
	in, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &chain{stages: stages, unstarted: fmt.Sprintf("%s: %v", os.DevNull, err)}
	}
	return startChainFrom(in, stages, tap, report)
}

// startChainFrom is startChain for a first stage that reads from in, which it closes.
func startChainFrom(in int, stages []stage, tap io.Writer, report func(string)) *chain {
	c := &chain{stages: stages}
	for _, s := range stages { // before the first is started
		if _, err := s.find(); err != nil {
			c.unstarted = fmt.Sprintf("%s: %v", s.name, trusted.Cause(err))
			unix.Close(in)
			return c
		}
	}
	var err error
	for i, s := range stages {
		if in, err = c.add(s, in, i+1 == len(stages), report); err != nil {
			c.unstarted = fmt.Sprintf("%s: not started: %v", s.name, err)
			break
		}
		if i == 0 && tap != nil {
			if in, c.tapped, err = tee(in, tap); err != nil {
				c.unstarted = err.Error()
				break
			}
		}
	}
	for _, p := range c.processes { // not before all are in the first one's process group
		p.reap()
	}
	switch {
	case c.unstarted == "":
		c.out = os.NewFile(uintptr(in), "rows")
	case in >= 0:
		unix.Close(in)
	}
	return c
}

// add starts a stage that reads from in, which it closes, and returns what the next
// one reads from.
func (c *chain) add(s stage, in int, last bool, report func(string)) (next int, err error) {
	defer unix.Close(in)
	var ends [2]int
	if last {
		ends[0], ends[1], err = newPipe()
	} else if err = unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		err = fmt.Errorf("pipe: %w", err)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(ends[1])
	p, err := start(s, in, ends[1], c.group(), report)
	if err != nil {
		unix.Close(ends[0])
		return -1, err
	}
	c.processes = append(c.processes, p)
	return ends[0], nil
}

// reader returns what the last filter writes, to its end. A process that a filter has left
// may keep the pipe open; it isn't waited for.
func (c *chain) reader() io.Reader {
	last := c.processes[len(c.processes)-1]
	go func() {
		<-last.ended
		_ = c.out.SetReadDeadline(time.Unix(1, 0))
	}()
	return &chainReader{out: c.out}
}

type chainReader struct {
	out  *os.File
	rest *bytes.Buffer // what was there when the last filter had ended; nil before
}

func (r *chainReader) Read(p []byte) (int, error) {
	if r.rest == nil {
		n, err := r.out.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		_ = r.out.SetReadDeadline(time.Time{})
		r.rest = new(bytes.Buffer)
		takeRest(r.out, func(text []byte) { r.rest.Write(text) })
	}
	return r.rest.Read(p)
}

// close closes the pipe that the last filter writes into.
func (c *chain) close() {
	if c.out != nil {
		c.out.Close()
	}
}

// group returns the process group of all stages, 0 before the first.
func (c *chain) group() int {
	if len(c.processes) == 0 {
		return 0
	}
	return c.processes[0].pid
}

// tee copies what it reads from in to tap and into a pipe. It returns the pipe, and a
// channel that is closed at the end.
func tee(in int, tap io.Writer) (next int, ended <-chan struct{}, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		unix.Close(in)
		return -1, nil, fmt.Errorf("pipe: %w", err)
	}
	done := make(chan struct{})
	from, to := os.NewFile(uintptr(in), "rows"), os.NewFile(uintptr(ends[1]), "rows")
	go func() {
		_, _ = io.Copy(io.MultiWriter(to, tap), from)
		from.Close()
		to.Close()
		close(done)
	}()
	return ends[0], done, nil
}

// signal sends a signal to all stages that have not ended.
func (c *chain) signal(signal syscall.Signal) {
	for _, p := range c.processes {
		p.signal(signal)
	}
}

// kill ends all stages, and what they have started in their process group.
func (c *chain) kill() {
	for _, p := range c.processes {
		p.mutex.Lock()
		if !p.reaped { // so there still is this group
			_ = syscall.Kill(-c.group(), unix.SIGKILL)
		}
		p.mutex.Unlock()
	}
}

// dismiss lets the stages end by themselves, because killstorm may have begun a kill. What
// they write is lost.
func (c *chain) dismiss() {
	if c.out == nil {
		return // they have ended
	}
	c.processes[0].signal(unix.SIGTERM)
	go func() { _, _ = io.Copy(io.Discard, c.reader()) }()
}

// ended returns a channel that is closed when all stages have ended.
func (c *chain) ended() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		for _, p := range c.processes {
			<-p.ended
		}
		close(ended)
	}()
	return ended
}

// A failure is what a stage failed at.
type failure struct {
	process *process // nil if it was not started
	name    string
	status  string // how it ended; "" if it was not started
	cause   string // the first line that it wrote to standard error, or its status
	unfit   bool   // a filter of the suite refuses its flags or a file of the administrator's
	lost    bool   // rows did not pass
	effect  bool   // another stage's failure is the reason
}

// failures returns what the stages that have ended failed at, in their order.
// stopped is the reason why stormcheck has ended them, or "".
func (c *chain) failures(stopped string) (all []failure) {
	for i, p := range c.processes {
		if !p.hasEnded() || p.failure() == "" {
			continue
		}
		f := failure{process: p, name: p.name, status: p.failure(), cause: p.errors.cause()}
		ours := p.tool != ""
		fault := p.errors.summary()
		f.unfit = ours && p.status.ExitStatus() == 2 && !fault.crash
		f.effect = p.lostReader() ||
			ours && p.status.ExitStatus() == 1 && !fault.others && (fault.noReader || fault.noInput && len(all) > 0)
		f.lost = !ours || p.status.ExitStatus() != 1 || fault.noReader
		switch signaled := p.status.Signaled(); {
		case stopped != "" && signaled:
			f.cause = p.name + ": " + stopped
		case (p.lostReader() || fault.noReader) && i+1 < len(c.stages):
			f.cause = c.stages[i+1].name + ": it stopped reading before the end"
		case f.cause == "":
			f.cause = p.name + ": " + f.status
		}
		all = append(all, f)
	}
	if c.unstarted != "" {
		name, _, _ := strings.Cut(c.unstarted, ":")
		all = append(all, failure{name: name, cause: c.unstarted, lost: true})
	}
	return all
}

// first returns the failure that explains the others.
func first(all []failure) (failure, bool) {
	for _, f := range all {
		if !f.effect {
			return f, true
		}
	}
	if len(all) > 0 {
		return all[0], true
	}
	return failure{}, false
}

// gapReason returns why rows are missing from what has passed, or "" if none are.
// failed are the failures of the stages that ended before the end of their rows;
// passed is what the relay returned.
func (c *chain) gapReason(failed []failure, begun bool, passed error) string {
	lost := !begun || passed != nil
	for _, f := range failed {
		lost = lost || f.lost
	}
	cause, found := first(failed)
	last := c.stages[len(c.stages)-1].name
	switch {
	case !lost:
		return ""
	case found:
		return cause.cause
	case passed != nil:
		return last + ": " + passed.Error()
	}
	return last + ": no output and no header"
}

// settled waits until all stages of a chain whose output has ended have ended too. It
// doesn't wait for ever, because a stage may close its output long before it ends.
func (c *chain) settled() <-chan struct{} {
	const patience = 2 * time.Second
	settled, ended := make(chan struct{}), c.ended()
	go func() {
		select {
		case <-ended:
		case <-time.After(patience):
		}
		close(settled)
	}()
	return settled
}

// startMail starts alertmail, and returns its input.
func startMail(s stage, out int, report func(string)) (*process, *os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(ends[0])
	p, err := start(s, ends[0], out, 0, report)
	if err != nil {
		unix.Close(ends[1])
		return nil, nil, err
	}
	p.reap()
	return p, os.NewFile(uintptr(ends[1]), "rows"), nil
}

// errNoMail is what the relay's writer returns if alertmail has not been started.
var errNoMail = errors.New("alertmail was not started")

type noMail struct{}

func (noMail) Write([]byte) (int, error) { return 0, errNoMail }
func (noMail) Close() error              { return nil }
