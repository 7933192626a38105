package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Table is this machine's process table, or this container's: what /proc
// shows of its PID namespace.
type Table struct {
	proc int // /proc, opened
	list []byte
	pids []int
}

// Open opens the table. It is an error when /proc isn't there, shows another PID
// namespace than our own, or hides processes (hidepid, proc(5)).
func Open() (*Table, error) {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/proc: %w", err)
	}
	t := &Table{proc: fd, list: make([]byte, 64<<10)}
	if err := t.check(); err != nil {
		t.Close()
		return nil, fmt.Errorf("/proc: %w", err)
	}
	return t, nil
}

// Close gives the table's file handle back.
func (t *Table) Close() { unix.Close(t.proc) }

func (t *Table) check() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(t.proc, &fs); err != nil {
		return err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return errors.New("no proc file system is mounted there")
	}
	self := make([]byte, 16)
	n, err := unix.Readlinkat(t.proc, "self", self)
	if err != nil || string(self[:n]) != strconv.Itoa(os.Getpid()) {
		return errors.New("shows the processes of another PID namespace")
	}
	if hides, err := t.hides(); err != nil {
		return err
	} else if hides {
		return errors.New("mounted with hidepid: the processes of other users can't be seen")
	}
	return nil
}

// hides reports whether the mount option hidepid keeps processes from us. It
// doesn't from who may trace every process, nor (but for hidepid=ptraceable)
// from the group of the option gid.
func (t *Table) hides() (bool, error) {
	mounts, err := t.read("self/mountinfo")
	if err != nil {
		return false, err
	}
	// The last mount on /proc is the one to be seen. Lines are as in
	// proc_pid_mountinfo(5): the mount point is the fifth word, the options of
	// the file system are the last.
	hidepid, gid := "", 0
	for _, line := range strings.Split(string(mounts), "\n") {
		words := strings.Fields(line)
		if len(words) < 6 || words[4] != "/proc" {
			continue
		}
		hidepid, gid = "", 0
		for _, option := range strings.Split(words[len(words)-1], ",") {
			switch name, value, _ := strings.Cut(option, "="); name {
			case "hidepid":
				hidepid = value
			case "gid":
				gid, _ = strconv.Atoi(value)
			}
		}
	}
	switch hidepid {
	case "", "0", "off":
		return false, nil
	case "4", "ptraceable":
	default:
		groups, err := os.Getgroups()
		if err != nil {
			return false, err
		}
		for _, g := range append(groups, os.Getegid()) {
			if g == gid {
				return false, nil
			}
		}
	}
	status, err := t.read("self/status")
	if err != nil {
		return false, err
	}
	_, caps, _ := strings.Cut(string(status), "\nCapEff:\t")
	caps, _, _ = strings.Cut(caps, "\n")
	effective, err := strconv.ParseUint(caps, 16, 64)
	return effective&(1<<unix.CAP_SYS_PTRACE) == 0, err
}

// read returns the whole of a file below /proc.
func (t *Table) read(name string) ([]byte, error) { return readAt(t.proc, name) }

func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 4096)
	for {
		if len(text) == cap(text) {
			text = append(text, make([]byte, len(text))...)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		default:
			text = text[:len(text)+n]
		}
	}
}

// workers is how many goroutines read the table. Most of a scan is the kernel's
// own work, which two processors share well.
var workers = min(2, runtime.NumCPU())

// Scan passes every process to visit, kernel threads too, in no order and from
// several goroutines at once: worker says from which, 0 to Workers()-1. A process
// that ends during the scan is passed over; anything else that keeps a process
// from being seen is an error, for then the view would be a partial one.
func (t *Table) Scan(visit func(worker int, p *Process)) error {
	if err := t.readPIDs(); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		first, end := len(t.pids)*w/workers, len(t.pids)*(w+1)/workers
		wait.Add(1)
		go func() {
			defer wait.Done()
			errs[w] = t.scan(t.pids[first:end], func(p *Process) { visit(w, p) })
		}()
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Detailed says that Scan tells states and start times.
const Detailed = true

// Workers is the number of goroutines from which Scan calls its function.
func Workers() int { return workers }

func (t *Table) scan(pids []int, visit func(*Process)) error {
	var (
		p    Process
		text = make([]byte, 1024)
		name = make([]byte, 0, 32)
	)
	for _, pid := range pids {
		name = strconv.AppendInt(name[:0], int64(pid), 10)
		dir := len(name)
		err := t.process(string(append(name, "/stat"...)), string(name[:dir]), text, &p)
		switch {
		case err == unix.ENOENT || err == unix.ESRCH: // it has ended
		case err != nil:
			return fmt.Errorf("/proc/%d: %w", pid, err)
		default:
			visit(&p)
		}
	}
	return nil
}

// process reads one process: the owner of its directory, who is its effective uid
// (the files in it belong to root when it has changed uid), and its stat file. The
// owner comes first. Of a process that has gone it would be root, but then there
// is no stat to be read either.
func (t *Table) process(stat, dir string, text []byte, p *Process) error {
	var owner unix.Stat_t
	if err := unix.Fstatat(t.proc, dir, &owner, 0); err != nil {
		return err
	}
	fd, err := unix.Openat(t.proc, stat, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n, err := unix.Read(fd, text)
	unix.Close(fd)
	if err != nil {
		return err
	}
	p.UID = owner.Uid
	return parseStat(text[:n], p)
}

// readPIDs lists the directories of /proc that are processes.
func (t *Table) readPIDs() error {
	if _, err := unix.Seek(t.proc, 0, 0); err != nil {
		return err
	}
	t.pids = t.pids[:0]
	for {
		n, err := unix.Getdents(t.proc, t.list)
		if err != nil || n <= 0 {
			return err
		}
		// getdents64(2): inode 8, offset 8, length of the entry 2, type 1, name, NUL.
		for entry := t.list[:n]; len(entry) > 0; {
			size := binary.NativeEndian.Uint16(entry[16:])
			if pid, ok := entryPID(entry[19:size]); ok {
				t.pids = append(t.pids, pid)
			}
			entry = entry[size:]
		}
	}
}

// entryPID reads a NUL-terminated name of digits.
func entryPID(name []byte) (pid int, ok bool) {
	for i, c := range name {
		if c < '0' || c > '9' {
			return pid, c == 0 && i > 0
		}
		pid = pid*10 + int(c-'0')
	}
	return 0, false
}

// ticksPerSecond is USER_HZ, in which /proc counts time. The kernel has it as 100
// on all machines that Go runs on.
const ticksPerSecond = 100

// Now returns the Start of a process that starts now, for Process.Recent. It is the
// boot clock, which no clock step moves and which runs on in suspend.
func Now() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // there since Linux 2.6.39
	}
	return uint64(time.Duration(now.Nano()) / (time.Second / ticksPerSecond))
}

// Recent reports whether the process was started in the 60 s before now, which
// is from Now.
func (p *Process) Recent(now uint64) bool { return p.Start+60*ticksPerSecond >= now }
