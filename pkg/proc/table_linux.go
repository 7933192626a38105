package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Table is this machine's process table, or this container's: what /proc
// shows of its PID namespace.
type Table struct {
	proc   int // /proc, opened
	list   []byte
	pids   []int
	noInfo atomic.Bool // a pidfd can't be asked for uids
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
	return t.checkUsers()
}

// checkUsers returns an error if accounts can't be told apart: in a user namespace
// within that of the table, user_namespaces(7), every account without a mapping is
// the same overflow uid. A container is whole if its PID 1 is in our user namespace.
func (t *Table) checkUsers() error {
	var own, first unix.Stat_t
	if err := unix.Fstatat(t.proc, "self/ns/user", &own, 0); err != nil {
		if err == unix.ENOENT { // a kernel without user namespaces
			return nil
		}
		return fmt.Errorf("self/ns/user: %w", err)
	}
	if unix.Fstatat(t.proc, "1/ns/user", &first, 0) == nil {
		if own.Dev != first.Dev || own.Ino != first.Ino {
			return errMerged
		}
		return nil
	}
	// An ordinary user can't look at PID 1. He sees every uid unless his own
	// namespace maps them.
	uids, err := t.read("self/uid_map")
	if err != nil {
		return fmt.Errorf("self/uid_map: %w", err)
	}
	if strings.Join(strings.Fields(string(uids)), " ") != "0 0 4294967295" {
		return errMerged
	}
	return nil
}

var errMerged = errors.New("accounts can't be told apart in this user namespace: run it in that of PID 1 as root")

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
	var (
		wait sync.WaitGroup
		next atomic.Int64 // index of the first PID that nobody has taken
	)
	for w := range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for errs[w] == nil {
				end := int(next.Add(share))
				if end-share >= len(t.pids) {
					return
				}
				errs[w] = t.scan(t.pids[end-share:min(end, len(t.pids))], func(p *Process) { visit(w, p) })
			}
		}()
	}
	wait.Wait()
	return errors.Join(errs...)
}

// share is how many PIDs a worker takes at once: few enough that both end together
// though one gets less of its processor.
const share = 64

// Detailed says that Scan finds states and start times.
const Detailed = true

// Workers is the number of goroutines from which Scan calls its function.
func Workers() int { return workers }

// ScanNew passes those processes to visit that have come since the last Scan, or ScanNew,
// began, from one goroutine; not one that has the PID of a process that was there. One that
// all the time forks and ends slips past a Scan: it was listed, but had ended when it was
// read. Its successor is read at once here. If that has ended, too, or is a zombie, the next
// is looked for, five times at most.
func (t *Table) ScanNew(visit func(worker int, p *Process)) error {
	const tries = 5
	for range tries {
		listed := slices.Clone(t.pids)
		if err := t.readPIDs(); err != nil {
			return fmt.Errorf("/proc: %w", err)
		}
		isKnown := func(pid int) bool { _, known := slices.BinarySearch(listed, pid); return known }
		came := slices.DeleteFunc(slices.Clone(t.pids), isKnown)
		live := 0
		err := t.scan(came, func(p *Process) {
			if !p.Zombie {
				live++
			}
			visit(0, p)
		})
		if err != nil || live == len(came) {
			return err
		}
	}
	return nil
}

func (t *Table) scan(pids []int, visit func(*Process)) error {
	var (
		p    Process
		text = make([]byte, 1024)
		path = make([]byte, 0, 32)
	)
	for _, pid := range pids {
		path = strconv.AppendInt(path[:0], int64(pid), 10)
		switch err := t.process(path, text, &p); err {
		case nil:
			visit(&p)
		case unix.ENOENT, unix.ESRCH: // it has ended
		default:
			return fmt.Errorf("/proc/%d: %w", pid, err)
		}
	}
	return nil
}

// process reads the process whose directory is dir: that one's owner, who is its
// effective uid (the files in it belong to root when it has changed uid), and its
// stat file. The owner comes first. Of a process that has gone it would be root,
// but then there is no stat to be read either.
//
// The system calls are raw, and their paths lie in one buffer: beside what the
// kernel needs for each process, all of ours has to vanish. None of them can
// block for long, for they wait neither for the process nor for a disk.
func (t *Table) process(dir []byte, text []byte, p *Process) error {
	var owner unix.Statx_t
	path := append(dir, 0)
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(t.proc), uintptr(unsafe.Pointer(&path[0])),
		unix.AT_STATX_DONT_SYNC, unix.STATX_UID, uintptr(unsafe.Pointer(&owner)), 0)
	if errno != 0 {
		return errno
	}
	path = append(dir, "/stat\x00"...)
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(t.proc), uintptr(unsafe.Pointer(&path[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return errno
	}
	p.UID = owner.Uid
	return parseStat(text[:n], p)
}

// readPIDs lists the directories of /proc that are processes, in ascending order
// (proc_pid_readdir in Linux's fs/proc/base.c).
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

// Boot returns the time at which the boot clock was 0, as the wall clock has it now. It
// differs from call to call only when the wall clock is set.
func Boot() time.Time {
	var boot time.Time
	// Both clocks are read as one, or nearly: not with another process in between.
	for least, try := time.Hour, 0; try < 10 && least > 10*time.Microsecond; try++ {
		var before, wall, after unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &before)
		_ = unix.ClockGettime(unix.CLOCK_REALTIME, &wall)
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &after)
		if took := time.Duration(after.Nano() - before.Nano()); took < least {
			least, boot = took, time.Unix(0, wall.Nano()-(before.Nano()+after.Nano())/2)
		}
	}
	return boot
}

// StartTime returns when a process with that Start was started. boot is from Boot.
func StartTime(boot time.Time, start uint64) time.Time {
	return boot.Add(time.Duration(start) * (time.Second / ticksPerSecond))
}

// StartOf returns the name of a process and when it was started.
func StartOf(pid int) (comm string, start time.Time, err error) {
	table, err := Open()
	if err != nil {
		return "", time.Time{}, err
	}
	defer table.Close()
	h, err := table.Process(pid)
	if err != nil {
		return "", time.Time{}, err
	}
	defer h.Close()
	var id Identity
	if err := h.Identify(&id); err != nil {
		return "", time.Time{}, err
	}
	return string(id.Comm), StartTime(Boot(), id.Start), nil
}

// Recent reports whether the process was started in the 60 s before now, which
// is from Now.
func (p *Process) Recent(now uint64) bool { return p.Start+60*ticksPerSecond >= now }
