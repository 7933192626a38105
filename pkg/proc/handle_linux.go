package proc

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Handle is an open /proc/PID directory. What is read and signalled through it
// is that one process: when it has ended, nothing is, though another may have its
// PID by then.
type Handle struct{ dir int }

// ErrGone is the error of a process that has ended.
var ErrGone = errors.New("the process has ended")

// Process opens process pid for reading and signals.
func (t *Table) Process(pid int) (Handle, error) {
	fd, err := unix.Openat(t.proc, strconv.Itoa(pid), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return Handle{fd}, gone(err)
}

// Close gives the handle back.
func (h Handle) Close() { unix.Close(h.dir) }

// Identity is what says whose a process is, all of it read through its handle.
type Identity struct {
	Process
	Real, Saved uint32 // uids; Process.UID is the effective one
	Leader      bool   // its PID is that of a process, not of a thread
	Inner       bool   // it belongs to a PID namespace within ours: a container
}

// Identity reads who the process is. Its Comm is the caller's to keep. The uids
// are those of the status file: the directory's owner is root once the process
// has gone.
func (h Handle) Identity() (id Identity, err error) {
	stat, err := readAt(h.dir, "stat")
	if err != nil {
		return id, gone(err)
	}
	if err := parseStat(stat, &id.Process); err != nil {
		return id, gone(err)
	}
	status, err := readAt(h.dir, "status")
	if err != nil {
		return id, gone(err)
	}
	if !parseStatus(status, &id) {
		return id, unix.EBADMSG
	}
	return id, nil
}

// parseStatus reads the lines Tgid, Uid and NSpid of /proc/PID/status,
// proc_pid_status(5). Name is the first line and the only one with text of the
// process's own; the kernel escapes newlines in it.
func parseStatus(text []byte, id *Identity) bool {
	field := func(name string) []string {
		_, rest, _ := bytes.Cut(text, []byte("\n"+name+":\t"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		return strings.Fields(string(line))
	}
	tgid, uids, pids := field("Tgid"), field("Uid"), field("NSpid")
	if len(tgid) != 1 || len(uids) != 4 {
		return false
	}
	id.Leader = tgid[0] == strconv.Itoa(id.PID)
	id.Inner = len(pids) > 1
	for i, uid := range []*uint32{&id.Real, &id.UID, &id.Saved} {
		n, err := strconv.ParseUint(uids[i], 10, 32)
		if err != nil {
			return false
		}
		*uid = uint32(n)
	}
	return true
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
