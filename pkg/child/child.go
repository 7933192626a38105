// Package child runs other programs. A child is bounded in each respect: it leads a
// process group of its own, which is killed as a whole when its time is over; what it
// writes is kept within a size; and a child that no signal ends is given up.
package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
)

// A Command says which program is run, and how.
type Command struct {
	Path string // looked up in PATH if it has no slash
	Args []string
	Env  []string // nil: the environment of this process

	Stdin *os.File // nil: Input
	Input []byte   // what the child reads if there is no Stdin

	// Stdout and Stderr may still be written after the child has been given up. An
	// Output bears that. A nil one is /dev/null; an *os.File is passed to the child.
	Stdout, Stderr io.Writer

	Limit time.Duration // from the start; the group is killed after that. 0: no limit

	// NormalPriority starts the child at normal priority, if this process has raised its
	// own. The filters of the pipe inherit it; the mail system needn't.
	NormalPriority bool
}

// A Process is a child that has been started.
type Process struct {
	limit time.Duration
	over  chan struct{} // closed when err is final

	mutex  sync.Mutex
	stage  stage
	pid    int  // while it is running
	killed bool // or will be, as soon as it has started
	late   bool // killed because its limit was over
	timer  *time.Timer
	err    error
}

// A stage is how far a child has come.
type stage int

const (
	starting stage = iota
	running
	gone // another process may get its PID
)

// Errors of a child that had to be ended.
var (
	// ErrLate is the error of a child that was killed because its limit was over.
	ErrLate = errors.New("killed")
	// ErrStuck is the error of a child that was killed and is still there: no signal
	// ends a process that waits for a sick disk or server. It is given up.
	ErrStuck = errors.New("killed, but doesn't end")
)

const (
	// patience is how long a killed child has to end.
	patience = 2 * time.Second
	// startMost is how long a child without a limit may take until it has started.
	startMost = time.Minute
	// pipeDelay is how long an output is read after the child's end: a process that the
	// child has left may hold it open.
	pipeDelay = time.Second
)

// kill is kill(2). It is a variable for tests.
var kill = syscall.Kill

// Start starts a child. The error is why it didn't start, without the program's name.
func Start(c Command) (*Process, error) {
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.Env, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeDelay
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	} else if len(c.Input) > 0 {
		cmd.Stdin = bytes.NewReader(c.Input)
		if f, err := inputFile(c.Input); err == nil {
			defer f.Close()
			cmd.Stdin = f
		}
	}
	p := &Process{limit: c.Limit, over: make(chan struct{})}
	if c.Limit != 0 {
		p.mutex.Lock() // the timer may be quick
		p.timer = time.AfterFunc(c.Limit, p.expire)
		p.mutex.Unlock()
	}
	started := make(chan error, 1)
	go p.run(cmd, c.NormalPriority, started)
	most := time.NewTimer(startMost)
	defer most.Stop()
	select {
	case err := <-started:
		return p, err
	case <-most.C:
		p.Kill()
	case <-p.over:
		select {
		case err := <-started: // it has ended already, or didn't start
			return p, err
		default: // given up
		}
	}
	return nil, ErrStuck
}

// Run starts a child and waits for its end.
func Run(c Command) error {
	p, err := Start(c)
	if err != nil {
		return err
	}
	return p.Wait()
}

// run starts the child and waits for it. Even the start can take for ever, if its file is
// on a sick disk or server.
func (p *Process) run(cmd *exec.Cmd, normal bool, started chan<- error) {
	start := cmd.Start
	if normal {
		start = func() error { return proc.AtNormalPriority(cmd.Start) }
	}
	if err := start(); err != nil {
		err = startCause(err)
		started <- err
		p.finish(err)
		return
	}
	p.mutex.Lock()
	p.stage, p.pid = running, cmd.Process.Pid
	if p.killed {
		_ = kill(-p.pid, syscall.SIGKILL)
	}
	p.mutex.Unlock()
	started <- nil
	if awaitExit(p.pid) {
		p.forget()
	}
	err := cmd.Wait()
	p.forget()
	if cmd.ProcessState != nil && cmd.ProcessState.Success() {
		err = nil // whatever Wait says about its outputs
	}
	p.finish(err)
}

// forget makes sure that the child's PID isn't signalled any more.
func (p *Process) forget() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.stage = gone
}

// finish makes err the child's, unless it has been given up.
func (p *Process) finish(err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	select {
	case <-p.over:
		return
	default:
	}
	if err != nil && p.late && err != ErrStuck {
		err = fmt.Errorf("%w, not done within %s", ErrLate, p.limit)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.err = err
	close(p.over)
}

// expire kills a child whose limit is over.
func (p *Process) expire() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.stage != gone {
		p.late = true
		p.kill()
	}
}

// Kill kills the child with its group. Wait returns within two seconds then.
func (p *Process) Kill() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.stage == running {
		_ = kill(-p.pid, syscall.SIGKILL)
	}
	if p.stage != gone && !p.killed {
		p.killed = true
		time.AfterFunc(patience, func() { p.finish(ErrStuck) })
	}
}

// Signal sends a signal to the child's group, if the child is there.
func (p *Process) Signal(signal syscall.Signal) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.stage == running {
		_ = kill(-p.pid, signal)
	}
}

// End asks the child's group to end, by SIGTERM, and kills it after the grace.
func (p *Process) End(grace time.Duration) {
	p.Signal(syscall.SIGTERM)
	late := time.NewTimer(grace)
	go func() {
		defer late.Stop()
		select {
		case <-late.C:
			p.Kill()
		case <-p.over:
		}
	}()
}

// Done is closed when Wait would return at once.
func (p *Process) Done() <-chan struct{} { return p.over }

// Wait waits for the child's end. It returns nil for status 0, ErrLate (wrapped) or
// ErrStuck for a child that had to be ended, and else the *exec.ExitError. It may be
// called again.
func (p *Process) Wait() error {
	<-p.over
	return p.err
}

// startCause returns why a program didn't start, without its name.
func startCause(err error) error {
	var search *exec.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &search):
		return search.Err
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// inputFile returns a file with the text in it, to be a child's standard input. If this
// process is killed in the middle, the child does not take a part of the text for all
// of it, as it would from a pipe.
func inputFile(text []byte) (*os.File, error) {
	f, err := namelessFile()
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart) // the child shares this process's position
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
