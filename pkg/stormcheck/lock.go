//go:build linux

package stormcheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/trusted"
)

// stuckAfter is how long the lock may be held while no snapshot passes.
const stuckAfter = 10 * time.Minute

// errHeld says that another run is under way.
var errHeld = errors.New("another run is under way")

// lock takes the lock of the runs, until the file is closed.
func lock() (*os.File, error) { return lockFor(lockPath()) }

// lockFor takes the lock of a file in RunDir, until the file is closed. It makes the
// directory.
func lockFor(path string) (*os.File, error) {
	if err := os.Mkdir(RunDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s: %w: a run needs root, -n doesn't", RunDir, trusted.Cause(err))
	}
	f, err := trusted.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: a run needs root, -n doesn't", err)
	}
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
	case nil:
		return f, nil
	case unix.EWOULDBLOCK:
		f.Close()
		return nil, errHeld
	default:
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
}

func lockPath() string      { return filepath.Join(RunDir, "lock") }
func heartbeatPath() string { return filepath.Join(RunDir, "heartbeat") }
func endLockPath() string   { return filepath.Join(RunDir, "end.lock") }
func reloadPath() string    { return filepath.Join(RunDir, "reload") }
func lastPath() string      { return filepath.Join(RunDir, "last") }

// mark notes the present moment in a file of RunDir. It is the time since the machine was
// started, which no change of the clock affects. A failure to write is ignored.
func mark(path string) {
	f, err := trusted.Open(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintf(f, "%020d\n", uptime()/time.Second) // always as long: it needs no room on a full disk
	_ = os.Chtimes(path, time.Time{}, time.Now())
}

// age returns how long ago mark was called for a file, and whether that is known.
func age(path string) (time.Duration, bool) {
	text, err := trusted.Read(path)
	if err != nil {
		return 0, false
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		info, err := os.Stat(path)
		return time.Since(info.ModTime()), err == nil
	}
	return uptime() - time.Duration(seconds)*time.Second, true
}

// uptime returns the time since the machine was started.
func uptime() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // with that clock it can't fail
	return time.Duration(now.Nano())
}

// isStuck reports whether the run that holds the lock makes no progress.
func isStuck() bool {
	for _, path := range []string{lockPath(), heartbeatPath()} {
		if since, known := age(path); known && since < stuckAfter {
			return false
		}
	}
	return true
}

// A last is when a run began, and how it ended.
type last struct {
	begun  time.Time
	pid    int
	how    string // "once", or the duration between the snapshots of a standing pipe
	ended  bool
	end    time.Time
	status int
	lost   bool // alertmail may not have reported it
}

// unreported returns what a run that is over has left unreported, or "". Its filters may
// have ended a storm that is in no mail.
func (l last) unreported() string {
	switch {
	case !l.ended: // it was killed, or could not note its end
		return "stormcheck: the last run did not finish: see the system's log for what it ended"
	case l.lost:
		return "stormcheck: alertmail failed in the last run: see the system's log for what was ended"
	}
	return ""
}

// begin notes that this process begins a run.
func (l last) begin() {
	text := fmt.Sprintf("%s %d %d %s\n", l.begun.UTC().Format(time.RFC3339), l.begun.Unix(), l.pid, l.how)
	if f, err := trusted.Open(lastPath(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err == nil {
		_, _ = f.WriteString(text)
		f.Close()
	}
}

// finish notes how the run ended.
func (l last) finish() {
	if f, err := trusted.Open(lastPath(), os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
		_, _ = fmt.Fprintf(f, "%d %d %t\n", l.end.Unix(), l.status, l.lost)
		f.Close()
	}
}

// readLast returns what is known of the last run.
func readLast() (l last, known bool) {
	text, err := trusted.Read(lastPath())
	if err != nil {
		return l, false
	}
	lines := strings.SplitN(string(text), "\n", 3)
	var begun string
	var seconds int64
	if n, _ := fmt.Sscan(lines[0], &begun, &seconds, &l.pid, &l.how); n < 4 {
		return l, false
	}
	l.begun = time.Unix(seconds, 0)
	if len(lines) > 1 {
		n, _ := fmt.Sscan(lines[1], &seconds, &l.status, &l.lost) // an older stormcheck writes two
		if l.ended = n >= 2; l.ended {
			l.end = time.Unix(seconds, 0)
		}
	}
	return l, true
}
