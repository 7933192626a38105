//go:build linux

package stormcheck

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/rows"
)

// Bounds of what a stage may write to standard error. Of a flood the first lines are
// passed on at once, and the last ones after a minute or when the stage has ended.
const (
	firstLines  = 50
	lastLines   = 50
	longestLine = 1000 // bytes
	floodWindow = time.Minute
)

// errorLines passes on what a stage writes to standard error.
type errorLines struct {
	in     *os.File
	name   string
	ours   bool // a filter of the suite
	report func(string)
	read   chan struct{} // closed when nothing more is read

	mutex   sync.Mutex // of what follows
	first   string     // the first line that says what failed
	effects []string   // lines about a neighbour that may be what failed: no input, or no reader
	found   summary
	muted   bool // what follows is a trace or a synopsis
	partial []byte
	window  time.Time
	passed  int
	last    []string
	dropped int
}

// A summary is what kinds of lines a stage has written.
type summary struct {
	noInput  bool // the stage before wrote nothing
	noReader bool // nobody read what the stage wrote
	others   bool
	crash    bool // the Go runtime has given up, also with status 2
}

// noThread are beginnings of what the Go runtime says, before a long trace, when it
// can't have a thread: runtime/os_linux.go, and runtime/cgo/gcc_libinit.c.
var noThread = []string{"runtime: failed to create new OS thread", "runtime/cgo: pthread_create failed"}

// crashes are the beginnings of its other fatal messages.
var crashes = []string{"fatal error: ", "panic: ", "runtime: "}

func beginsWith(text string, beginnings []string) bool {
	return slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(text, b) })
}

// readErrors reads in a goroutine of its own.
func readErrors(in *os.File, s stage, report func(string)) *errorLines {
	e := &errorLines{in: in, name: s.name, ours: s.tool != "", report: report, read: make(chan struct{})}
	go func() {
		defer close(e.read)
		buffer := make([]byte, 4096)
		for {
			n, err := in.Read(buffer)
			e.take(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	return e
}

// drain takes what is there already. A process that a stage has left may keep the pipe
// open; it isn't waited for.
func (e *errorLines) drain() {
	_ = e.in.SetReadDeadline(time.Unix(1, 0))
	<-e.read
	_ = e.in.SetReadDeadline(time.Time{})
	takeRest(e.in, e.take)
	e.in.Close()
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(e.partial) > 0 {
		e.line(string(e.partial))
	}
	e.flush()
}

// takeRest gives take what can be read from a pipe without waiting. It reports
// whether nobody has it open for writing any more.
func takeRest(in *os.File, take func([]byte)) (ended bool) {
	raw, err := in.SyscallConn()
	if err != nil {
		return true
	}
	buffer := make([]byte, 4096)
	for {
		n := 0
		_ = raw.Read(func(fd uintptr) bool {
			n, err = syscall.Read(int(fd), buffer)
			return true
		})
		if n <= 0 {
			return n == 0 && err == nil
		}
		take(buffer[:n])
	}
}

// take takes bytes of the stage's.
func (e *errorLines) take(text []byte) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for {
		line, rest, whole := bytes.Cut(text, []byte{'\n'})
		e.partial = append(e.partial, line[:min(len(line), longestLine-len(e.partial))]...)
		if !whole {
			return
		}
		e.line(string(e.partial))
		e.partial, text = e.partial[:0], rest
	}
}

// line takes a line.
func (e *errorLines) line(text string) {
	if text = rows.Printable(strings.TrimSpace(text)); text == "" {
		return
	}
	switch {
	case e.muted:
		return
	case e.ours && strings.HasPrefix(text, "usage: "): // the line before it names the fault
		e.muted = true
		return
	case beginsWith(text, noThread):
		text = e.name + ": ended early: the system has no room for a thread"
		e.found.crash, e.found.others, e.muted = true, true, true
	case beginsWith(text, crashes):
		e.found.crash, e.found.others = true, true
	case strings.Contains(text, rows.ErrEmpty.Error()):
		e.effects, e.found.noInput = append(e.effects, text), true
		return
	case strings.Contains(text, "<stdout>: broken pipe"):
		e.effects, e.found.noReader = append(e.effects, text), true
		return
	default:
		e.found.others = true
	}
	if e.first == "" {
		e.first = text
	}
	if now := time.Now(); now.Sub(e.window) > floodWindow {
		e.flush()
		e.window, e.passed = now, 0
	}
	if e.passed++; e.passed <= firstLines {
		e.report(text)
		return
	}
	if e.last = append(e.last, text); len(e.last) > lastLines {
		e.last = e.last[1:]
		e.dropped++
	}
}

// flush passes on the last lines of a flood.
func (e *errorLines) flush() {
	if e.dropped > 0 {
		e.report(fmt.Sprintf("stormcheck: %s: %d lines left out", e.name, e.dropped))
	}
	for _, line := range e.last {
		e.report(line)
	}
	e.last, e.dropped = nil, 0
}

// cause returns the first line, with the stage's name before it.
func (e *errorLines) cause() string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	line := e.first
	if line == "" && len(e.effects) > 0 {
		line = e.effects[0]
	}
	if line == "" || strings.HasPrefix(line, e.name+": ") {
		return line
	}
	return e.name + ": " + line
}

func (e *errorLines) summary() summary {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.found
}

// reportEffects passes on the lines about a neighbour, which are not passed on before,
// if no failure of its own explains them.
func (e *errorLines) reportEffects() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for _, line := range e.effects {
		e.report(line)
	}
	e.effects = nil
}
