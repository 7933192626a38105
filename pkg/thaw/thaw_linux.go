package thaw

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/trusted"
)

// A List names the processes that this process has stopped. It is locked, flock(2), as
// long as this process lives. A nil List takes everything and keeps nothing.
type List struct {
	file int
	path string
}

const (
	prefix  = "stopped."
	longest = 32 // bytes of a line
)

// New makes a list with room for n processes, each stopped and resumed once, so that no
// memory has to be found for them later. It returns nil if none can be made.
func New(n int) *List {
	file, err := unix.Open(Dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	l := &List{file, fmt.Sprintf("%s/%s%d.%d", Dir, prefix, os.Getpid(), proc.Now())}
	// It has no name before it is locked.
	err = errors.Join(
		unix.Flock(file, unix.LOCK_EX|unix.LOCK_NB),
		unix.Fallocate(file, unix.FALLOC_FL_KEEP_SIZE, 0, int64(2*n*longest)),
		unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", file), unix.AT_FDCWD, l.path, unix.AT_SYMLINK_FOLLOW),
	)
	if err != nil {
		unix.Close(file)
		return nil
	}
	return l
}

// Stops is called before the process with a PID and a start, as proc.Process has them,
// is stopped.
func (l *List) Stops(pid int, start uint64) { l.add('+', pid, start) }

// Resumed is called after it was resumed.
func (l *List) Resumed(pid int, start uint64) { l.add('-', pid, start) }

// add adds a line in one write, for two threads may do it at once.
func (l *List) add(kind byte, pid int, start uint64) {
	if l == nil {
		return
	}
	var buffer [longest]byte
	line := strconv.AppendInt(append(buffer[:0], kind), int64(pid), 10)
	line = append(strconv.AppendUint(append(line, ' '), start, 10), '\n')
	_, _ = unix.Write(l.file, line)
}

// Remove removes the list: none of its processes is stopped any more.
func (l *List) Remove() {
	if l != nil {
		_ = os.Remove(l.path)
	}
	l.Close()
}

// Close leaves the list to the next run.
func (l *List) Close() {
	if l != nil {
		unix.Close(l.file)
	}
}

// Resume resumes the processes of each list whose writer has died, if they are still
// stopped, and returns how many it resumed.
func Resume() (resumed int) {
	paths, _ := filepath.Glob(Dir + "/" + prefix + "*") // the pattern is a good one
	if len(paths) == 0 {
		return 0
	}
	table, err := proc.Open()
	if err != nil {
		return 0 // a later run tries again
	}
	defer table.Close()
	for _, path := range paths {
		resumed += resume(table, path)
	}
	return resumed
}

func resume(table *proc.Table, path string) (resumed int) {
	f, err := trusted.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return 0 // its writer lives
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return 0
	}
	for process := range stopped(string(text)) {
		if process.resume(table) {
			resumed++
		}
	}
	_ = os.Remove(path)
	return resumed
}

// A process is one that a list names.
type process struct {
	pid   int
	start uint64
}

// stopped returns the processes of a list that have not been resumed.
func stopped(text string) map[process]bool {
	all := map[process]bool{}
	for line := range strings.Lines(text) {
		var kind byte
		var p process
		if n, _ := fmt.Sscanf(line, "%c%d %d\n", &kind, &p.pid, &p.start); n < 3 {
			continue // the last one, in a full file system
		}
		if kind == '+' {
			all[p] = true
		} else {
			delete(all, p)
		}
	}
	return all
}

// resume resumes a process that is stopped, or that will be as soon as the kernel returns
// from a call of its.
func (p process) resume(table *proc.Table) bool {
	h, err := table.Process(p.pid)
	if err != nil {
		return false
	}
	defer h.Close()
	var who proc.Identity
	if h.Identify(&who) != nil || who.Start != p.start || who.State != 'T' && who.State != 'D' {
		return false
	}
	return h.Signal(syscall.SIGCONT) == nil && who.State == 'T'
}
