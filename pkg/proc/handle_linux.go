package proc

import (
	"bytes"
	"errors"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Handle is an open /proc/PID directory. What is read and signalled through it
// is that one process: when it has ended, nothing is, though another may have its
// PID by then.
type Handle struct{ dir int }

// ErrGone is the error of a process that has ended.
var ErrGone = errors.New("the process has ended")

// Process opens process pid for reading and signals. Neither this nor what is read
// through the handle takes memory, nor waits: both are for a machine that has
// nothing left.
func (t *Table) Process(pid int) (Handle, error) {
	var buffer [24]byte
	path := append(strconv.AppendInt(buffer[:0], int64(pid), 10), 0)
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(t.proc), uintptr(unsafe.Pointer(&path[0])),
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return Handle{-1}, gone(errno)
	}
	return Handle{int(fd)}, nil
}

// Close gives the handle back.
func (h Handle) Close() { unix.Close(h.dir) }

// Identity is what says whose a process is, all of it read through its handle.
type Identity struct {
	Process
	Real, Saved uint32 // uids; Process.UID is the effective one
	Leader      bool   // its PID is that of a process, not of a thread
	Inner       bool   // it belongs to a PID namespace within ours: a container
	First       bool   // it is the first process of that one, with which all others end

	stat, status []byte // of the files, kept for the next process
}

var (
	statFile, statusFile = []byte("stat\x00"), []byte("status\x00")
	tgid, uid, nspid     = []byte("\nTgid:\t"), []byte("\nUid:\t"), []byte("\nNSpid:\t")
)

// Identify reads who the process is. id.Comm is valid until id is read again. The
// uids are those of the status file: the directory's owner is root once the process
// has gone.
func (h Handle) Identify(id *Identity) (err error) {
	if id.stat, err = h.read(statFile, id.stat); err != nil {
		return gone(err)
	}
	if err := parseStat(id.stat, &id.Process); err != nil {
		return gone(err)
	}
	if id.status, err = h.read(statusFile, id.status); err != nil {
		return gone(err)
	}
	return id.parseStatus()
}

// read reads a file of the process, whose name ends in NUL, into a buffer, which
// it makes larger where it has to.
func (h Handle) read(name, into []byte) ([]byte, error) {
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(h.dir), uintptr(unsafe.Pointer(&name[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return into, errno
	}
	defer unix.Close(int(fd))
	into = into[:0]
	for {
		if cap(into)-len(into) < 1024 {
			into = append(make([]byte, 0, 2*cap(into)+4096), into...)
		}
		free := into[len(into):cap(into)]
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&free[0])), uintptr(len(free)))
		if errno != 0 {
			return into, errno
		}
		into = into[:len(into)+int(n)]
		if int(n) < len(free) { // of such a file all that fits comes at once
			return into, nil
		}
	}
}

// parseStatus reads the lines Tgid, Uid and NSpid of /proc/PID/status,
// proc_pid_status(5). Name is the first line and the only one with text of the
// process's own; the kernel escapes newlines in it.
func (id *Identity) parseStatus() error {
	pid, _, ok := number(line(id.status, tgid))
	id.Leader = ok && pid == id.PID
	uids := line(id.status, uid)
	for _, to := range [...]*uint32{&id.Real, &id.UID, &id.Saved} {
		n, rest, isNumber := number(uids)
		*to, uids, ok = uint32(n), rest, ok && isNumber
	}
	if !ok {
		return unix.EBADMSG
	}
	_, more, _ := number(line(id.status, nspid)) // a PID in each namespace from ours on
	id.Inner, id.First = len(more) > 0, false
	for len(more) > 0 {
		if pid, more, ok = number(more); !ok {
			return unix.EBADMSG
		}
		id.First = pid == 1 && len(more) == 0
	}
	return nil
}

// line returns what stands behind a name, which begins with the newline before it.
func line(text, name []byte) []byte {
	at := bytes.Index(text, name)
	if at < 0 {
		return nil
	}
	text = text[at+len(name):]
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	return text
}

// number reads the first of several numbers with tabs between them.
func number(text []byte) (n int, rest []byte, ok bool) {
	word := text
	if tab := bytes.IndexByte(text, '\t'); tab >= 0 {
		word, rest = text[:tab], text[tab+1:]
	}
	value, ok := decimal(word)
	return int(value), rest, ok
}

// Cgroup returns the control groups of the process, proc_pid_cgroup(5), separated by
// semicolons; "" if they can't be read. It may wait, and takes memory.
func (h Handle) Cgroup() string {
	fd, err := unix.Openat(h.dir, "cgroup", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	text := make([]byte, 2*unix.PathMax)
	n, err := unix.Read(fd, text)
	if err != nil {
		return ""
	}
	return string(bytes.ReplaceAll(bytes.TrimSuffix(text[:n], []byte("\n")), []byte("\n"), []byte(";")))
}

// Executable returns the path of what the process runs, proc_pid_exe(5); "" if it can't
// be read. It may wait, and takes memory.
func (h Handle) Executable() string {
	path := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(h.dir, "exe", path)
	if err != nil {
		return ""
	}
	return string(path[:n])
}

// Signal sends sig to the process. A zombie takes a signal too, to no effect.
func (h Handle) Signal(sig syscall.Signal) error {
	return gone(unix.PidfdSendSignal(h.dir, sig, nil, 0))
}

// gone makes the kernel's two ways to say that a process has ended ErrGone.
func gone(err error) error {
	if err == unix.ESRCH || err == unix.ENOENT {
		return ErrGone
	}
	return err
}
