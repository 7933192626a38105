//go:build linux

package stormcheck

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/trusted"
)

// A process is a stage that has been started.
type process struct {
	stage
	pid    int
	errors *errorLines   // what it writes to standard error
	ended  chan struct{} // closed when it has been reaped

	mutex  sync.Mutex // of what follows
	reaped bool
	status syscall.WaitStatus
}

// startPatience is how long the start of a stage is retried while the system has no room
// for a process: in a storm some process ends every moment.
const startPatience = 5 * time.Second

// start starts a stage with its standard input and output in the process group, 0
// for a new one. The caller has to call reap.
func start(s stage, in, out, group int, report func(string)) (*process, error) {
	path, err := s.find()
	if err != nil {
		return nil, trusted.Cause(err)
	}
	reader, writer, err := newPipe()
	if err != nil {
		return nil, err
	}
	defer unix.Close(writer)
	attr := &syscall.ProcAttr{
		Env:   s.environment(),
		Files: []uintptr{uintptr(in), uintptr(out), uintptr(writer)},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pgid: group},
	}
	p := &process{stage: s, ended: make(chan struct{})}
	fork := func() (err error) {
		p.pid, err = syscall.ForkExec(path, append([]string{s.name}, s.args...), attr)
		return err
	}
	if s.tool == "" { // an administrator's filter runs at normal priority
		own := fork
		fork = func() error { return proc.AtNormalPriority(own) }
	}
	if s.tool != "procstat" { // which receives process events, if its settings say so
		own := fork
		fork = func() error { return proc.WithoutNetAdmin(own) }
	}
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := fork()
		if err == nil {
			break
		}
		if !noRoom(err) || time.Since(began) > startPatience {
			unix.Close(reader)
			return nil, err
		}
	}
	p.errors = readErrors(os.NewFile(uintptr(reader), "stderr"), s, report)
	return p, nil
}

// noRoom reports whether a process could not be started for lack of room.
func noRoom(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) }

// newPipe returns a pipe for a child to write into and this process to read from.
// Only the reader's end returns without anything to read.
func newPipe() (reader, writer int, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, fmt.Errorf("pipe: %w", err)
	}
	if err := unix.SetNonblock(ends[0], true); err != nil {
		unix.Close(ends[0])
		unix.Close(ends[1])
		return 0, 0, fmt.Errorf("pipe: %w", err)
	}
	return ends[0], ends[1], nil
}

// reap waits for the process to end, in a goroutine of its own.
func (p *process) reap() {
	go func() {
		// Without reaping it: until then no other process gets its PID.
		for unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		p.mutex.Lock()
		for {
			if _, err := syscall.Wait4(p.pid, &p.status, 0, nil); err != syscall.EINTR {
				break
			}
		}
		p.reaped = true
		p.mutex.Unlock()
		p.errors.drain()
		close(p.ended)
	}()
}

// signal sends a signal to the process, unless it has ended.
func (p *process) signal(signal syscall.Signal) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !p.reaped {
		_ = syscall.Kill(p.pid, signal)
	}
}

// hasEnded reports whether the process has been reaped.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// failure returns why a process that has ended failed, or "".
func (p *process) failure() string {
	switch {
	case p.status.Signaled():
		return "ended by " + unix.SignalName(p.status.Signal())
	case p.status.ExitStatus() != 0:
		return fmt.Sprintf("status %d", p.status.ExitStatus())
	}
	return ""
}

// lostReader reports whether a process that has ended did so because nobody read
// what it wrote. A shell returns its last command's death as 128 and the signal.
func (p *process) lostReader() bool {
	return p.status.Signaled() && p.status.Signal() == unix.SIGPIPE ||
		p.status.ExitStatus() == 128+int(unix.SIGPIPE)
}
