//go:build linux

package stormcheck

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// A reporter prints what a run and its stages report. cron mails all that is printed, so a
// run from cron keeps its lines to the end. It prints them only if they differ from those
// of the last run, or if these are older than repeatAfter. All other runs print at once.
type reporter struct {
	out    io.Writer
	syslog func(lines []string) // hardly waits; nil is none
	path   string               // of what the last run printed; "" prints at once
	queue  chan string          // to the goroutine that writes to out
	idle   chan struct{}        // closed when it has written all

	mutex sync.Mutex // of what follows
	held  []string
	lost  int // lines of a flood that weren't held, or not taken by out
}

const (
	repeatAfter = time.Hour
	mostHeld    = 2000            // lines
	mostQueued  = 1000            // lines
	outPatience = 5 * time.Second // that the last lines may take
)

// newReporter returns a reporter to out. It holds its lines if path isn't "".
func newReporter(out io.Writer, path string, syslog func([]string)) *reporter {
	r := &reporter{out: out, path: path, syslog: syslog, queue: make(chan string, mostQueued), idle: make(chan struct{})}
	go r.write() // the reader of out may stop reading, and no stage must wait for it
	return r
}

// write writes what is in the queue to out, and then gives it to syslog, which may be
// slow.
func (r *reporter) write() {
	defer close(r.idle)
	for line := range r.queue {
		var written []string
		for queued := true; queued; {
			_, _ = io.WriteString(r.out, line+"\n")
			written = append(written, line)
			select {
			case line, queued = <-r.queue:
			default:
				queued = false
			}
		}
		if r.syslog != nil {
			r.syslog(written)
		}
	}
}

// say reports a line of stormcheck's own.
func (r *reporter) say(format string, args ...any) {
	r.line("stormcheck: " + rows.Printable(fmt.Sprintf(format, args...)))
}

// line reports a line.
func (r *reporter) line(text string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.path != "" {
		if len(r.held) == mostHeld {
			r.lost++
			return
		}
		r.held = append(r.held, text)
		return
	}
	select {
	case r.queue <- text:
	default:
		r.lost++
	}
}

// close prints what was held, unless it is a repetition, and waits until all is
// written, for a while.
func (r *reporter) close(now time.Time) {
	r.mutex.Lock()
	held := r.held
	if r.lost > 0 {
		held = append(held, fmt.Sprintf("stormcheck: %d lines left out", r.lost))
	}
	r.mutex.Unlock()
	late := time.After(outPatience)
	if r.path != "" && r.remember(strings.Join(held, "\n"), now) {
		if r.syslog != nil {
			r.syslog(held)
		}
		held = nil
	}
	for _, line := range held {
		select {
		case r.queue <- line:
		case <-late:
			return // nobody reads out
		}
	}
	close(r.queue)
	select {
	case <-r.idle:
	case <-late:
	}
}

// remember keeps what is printed now, and reports whether the same was printed less than
// repeatAfter ago.
func (r *reporter) remember(text string, now time.Time) (repeated bool) {
	if text == "" {
		_ = os.Remove(r.path)
		return false
	}
	text += "\n"
	if info, err := os.Lstat(r.path); err == nil {
		before, err := trusted.Read(r.path)
		age := now.Sub(info.ModTime())
		repeated = err == nil && string(before) == text && age >= 0 && age < repeatAfter
	}
	if !repeated {
		_ = trusted.Replace(r.path, []byte(text), 0o600) // without it the text is printed again
	}
	return repeated
}

// isTerminal reports whether a file is one.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// isJournal reports whether a file is connected to the journal, systemd.exec(5).
func isJournal(f *os.File) bool {
	var stat unix.Stat_t
	return os.Getenv("JOURNAL_STREAM") != "" && unix.Fstat(int(f.Fd()), &stat) == nil &&
		os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// said is the file with what the last run printed.
func said() string { return filepath.Join(RunDir, "said") }
