package proc

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MaxTitle is how long a title may be, in bytes. Programs that name their user need less,
// and the beginning of a longer title might end within the name of another user.
const MaxTitle = 4096

// A TitleReader reads what processes say of themselves: /proc/PID/cmdline,
// proc_pid_cmdline(5), which is their arguments until they write something else
// there. That is memory of the process, and a reader waits as long as the process
// is stuck, for ever if the process wants that. So threads read that may be left behind.
// The zero TitleReader is ready. Keep it for the next snapshot: it remembers which processes
// are stuck.
type TitleReader struct {
	stuck []*titleThread
}

const (
	usualThreads = 2                     // as Scan has
	mostThreads  = 8                     // with those that stayed behind
	stalled      = 20 * time.Millisecond // without a title: one thread more
)

// A titleThread reads one title after the other.
type titleThread struct {
	at    atomic.Int64 // index of the process whose title it reads, or beyond all
	ended atomic.Bool
	of    Process // that process, when the thread was left behind
}

// titleWork is what the threads of one Read share.
type titleWork struct {
	table *Table
	of    []Process
	stuck []*titleThread // of earlier ones
	visit func(i int, title []byte)
	next  atomic.Int64 // index of the first that no thread has taken
	ready chan bool    // closed when all are done

	mutex sync.RWMutex // held for reading while one is taken, or its title passed on
	over  bool         // titles aren't waited for any more
	done  atomic.Int64
	left  atomic.Int64 // of done, those not tried for
}

// Read passes the titles of processes to visit, from several goroutines at once, with
// their indexes; a title is valid until visit returns. Of a process PID, Start, UID
// and Zombie matter. Read returns how many it couldn't read within a time, and visit
// isn't called after that.
//
// A title ends before its last NULs; any other NUL, which separates arguments, is a
// space. It is empty for one of over MaxTitle bytes, and for a process whose real,
// effective and saved uid aren't all UID: who runs a setuid program chooses its
// arguments.
func (r *TitleReader) Read(t *Table, of []Process, within time.Duration, visit func(i int, title []byte)) (unread int) {
	if len(of) == 0 {
		return 0
	}
	r.stuck = slices.DeleteFunc(r.stuck, func(thread *titleThread) bool { return thread.ended.Load() })
	w := &titleWork{table: t, of: of, stuck: r.stuck, visit: visit, ready: make(chan bool)}
	var threads []*titleThread
	more := func() {
		if len(r.stuck)+len(threads) < mostThreads {
			thread := &titleThread{}
			thread.at.Store(int64(len(of)))
			threads = append(threads, thread)
			go thread.read(w)
		}
	}
	for range min(usualThreads, len(of)) {
		more()
	}
	w.wait(within, more)
	r.stuck = slices.Clip(r.stuck) // w has the old ones
	for _, thread := range threads {
		if at := thread.at.Load(); at < int64(len(of)) {
			thread.of = of[at]
			r.stuck = append(r.stuck, thread)
		}
	}
	return len(of) - int(w.done.Load()-w.left.Load())
}

// wait returns when all is done or the time is over.
func (w *titleWork) wait(within time.Duration, more func()) {
	end := time.After(within)
	watch := time.NewTicker(stalled)
	defer watch.Stop()
	for before := int64(0); ; {
		select {
		case <-watch.C:
			if now := w.done.Load(); now > before {
				before = now
			} else {
				more()
			}
			continue
		case <-w.ready:
		case <-end:
		}
		w.mutex.Lock()
		w.over = true
		w.mutex.Unlock()
		return
	}
}

// read reads until nobody is left, or it has taken too long.
func (thread *titleThread) read(w *titleWork) {
	defer thread.ended.Store(true)
	buffer := make([]byte, MaxTitle+1)
	for i := thread.take(w); i < len(w.of); i = thread.take(w) {
		p := &w.of[i]
		isStuck := slices.ContainsFunc(w.stuck, func(s *titleThread) bool { return s.of.PID == p.PID && s.of.Start == p.Start })
		var title []byte
		if !isStuck && !p.Zombie {
			title = w.table.title(p, buffer)
		}
		thread.deliver(w, i, title, isStuck)
	}
}

// take returns the index of the next process, or one beyond all.
func (thread *titleThread) take(w *titleWork) int {
	w.mutex.RLock()
	defer w.mutex.RUnlock()
	if w.over {
		return len(w.of)
	}
	i := w.next.Add(1) - 1
	thread.at.Store(i)
	return int(i)
}

// deliver passes a title on, if titles are still waited for.
func (thread *titleThread) deliver(w *titleWork, i int, title []byte, isStuck bool) {
	w.mutex.RLock()
	defer w.mutex.RUnlock()
	if w.over {
		return
	}
	if isStuck {
		w.left.Add(1)
	} else {
		w.visit(i, title)
	}
	thread.at.Store(int64(len(w.of))) // it has come through
	if w.done.Add(1) == int64(len(w.of)) {
		close(w.ready)
	}
}

// title reads the title of a process into buffer, or returns nil where it has none.
// The pidfd makes sure that what was opened by its PID was that process: it is there
// afterwards too, so nobody else has had the PID in between.
func (t *Table) title(p *Process, buffer []byte) []byte {
	if t.noInfo.Load() {
		return t.titleByHandle(p, buffer)
	}
	pidfd, _, errno := unix.RawSyscall(unix.SYS_PIDFD_OPEN, uintptr(p.PID), 0, 0)
	if errno != 0 {
		return t.titleWithout(errno, p, buffer)
	}
	title := cmdline(t.proc, append(strconv.AppendInt(make([]byte, 0, 32), int64(p.PID), 10), "/cmdline\x00"...), buffer)
	var info pidfdInfo
	if title != nil {
		_, _, errno = unix.RawSyscall(unix.SYS_IOCTL, pidfd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	}
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, pidfd, 0, 0)
	switch {
	case title == nil || errno == 0 && info.ruid == p.UID && info.euid == p.UID && info.suid == p.UID:
		return title
	case errno == 0:
		return nil
	}
	return t.titleWithout(errno, p, buffer)
}

// titleWithout is title after a pidfd couldn't be had or asked.
func (t *Table) titleWithout(errno unix.Errno, p *Process, buffer []byte) []byte {
	if errno == unix.ESRCH {
		return nil
	}
	t.noInfo.Store(errno == unix.ENOSYS || errno == unix.ENOTTY || errno == unix.EINVAL || errno == unix.EPERM)
	return t.titleByHandle(p, buffer)
}

// pidfdInfo is struct pidfd_info of the kernel's include/uapi/linux/pidfd.h, as the
// ioctl PIDFD_GET_INFO fills it since Linux 6.13: it costs half of what the file
// status does. Credentials come whatever mask asks for.
type pidfdInfo struct {
	mask, cgroup                                     uint64
	pid, tgid, ppid                                  uint32
	ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid uint32
	exit                                             int32
}

const pidfdGetInfo = 3<<30 | unsafe.Sizeof(pidfdInfo{})<<16 | 0xff<<8 | 11 // _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)

// titleByHandle is title where a pidfd can't be asked for uids.
func (t *Table) titleByHandle(p *Process, buffer []byte) []byte {
	dir, err := unix.Openat(t.proc, strconv.Itoa(p.PID), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	h := Handle{dir}
	defer h.Close()
	title := cmdline(dir, []byte("cmdline\x00"), buffer)
	if title == nil {
		return nil
	}
	var id Identity
	if err := h.Identify(&id); err != nil || id.Real != p.UID || id.UID != p.UID || id.Saved != p.UID {
		return nil
	}
	return title
}

// cmdline reads a title from a file whose name ends in NUL. This read may wait: it
// isn't a raw one, so that the other goroutines go on.
func cmdline(dir int, name, buffer []byte) []byte {
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil
	}
	n, err := unix.Read(int(fd), buffer)
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if err != nil || n > MaxTitle {
		return nil
	}
	title := bytes.TrimRight(buffer[:n], "\x00")
	for i, c := range title {
		if c == 0 {
			title[i] = ' '
		}
	}
	if len(title) == 0 {
		return nil
	}
	return title
}
