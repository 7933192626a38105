package mailbox

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dotlock is what a mail program appends to a mailbox's name to lock it with a file of
// that name.
const dotlock = ".lock"

// freshFor is how long a dotlock counts after its last change, as in lockfile_create(3).
const freshFor = 5 * time.Minute

// A Dotlock is what a USER.lock says of itself. The user may have written
// anything there.
type Dotlock struct {
	PID     int       // the process that made it, 0 if it doesn't say
	Host    string    // where, "" if it doesn't say: letters, digits, dots, dashes
	UID     uint32    // the file's owner
	Inode   uint64    // the file's
	Changed time.Time // its ctime
}

// Dotlock reads the dotlock of the user's mailbox. The error is as Open's:
// ErrNone if there is none, and what isn't a regular file isn't opened.
func (t Template) Dotlock(u User) (Dotlock, error) {
	at, err := t.place(u)
	if err != nil {
		return Dotlock{}, err
	}
	defer at.close()
	return at.readDotlock()
}

// Dead reports whether the dotlock names a process of this machine that has ended.
// A PID without a host proves nothing: the process may live on another machine that
// shares the spool, or in a container.
func (d Dotlock) Dead() bool {
	here, err := os.Hostname()
	return d.PID != 0 && err == nil && d.Host == here && unix.Kill(d.PID, 0) == unix.ESRCH
}

// dotlocked reports whether a fresh dotlock stands. Mail programs make it as root or as
// the mailbox's owner, and as a regular file. Anything else doesn't count: if everybody
// may write to the spool, anybody could prevent a copy of the mailbox.
func (p place) dotlocked() bool {
	f, err := p.lookAtDotlock()
	switch {
	case err != nil:
		return err != unix.ENOENT && err != unix.ENAMETOOLONG
	case f.mode&unix.S_IFMT != unix.S_IFREG, f.uid != 0 && f.uid != p.uid, !isFresh(f.changed, time.Now()):
		return false
	}
	d, err := p.readDotlock()
	return err != nil || !d.Dead()
}

// A lockFile is what a dotlock's inode says of it.
type lockFile struct {
	mode, uid uint32
	changed   time.Time // its ctime
}

// lookAtDotlock returns what lies at the dotlock's name, and follows no link. The name
// is ready for the call, which is made each millisecond while no memory may be
// allocated; the filters of some containers don't know the call.
func (p place) lookAtDotlock() (lockFile, error) {
	const wanted = unix.STATX_TYPE | unix.STATX_UID | unix.STATX_CTIME
	var st unix.Statx_t
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(p.dir), uintptr(unsafe.Pointer(&p.lockZ[0])),
		unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, wanted, uintptr(unsafe.Pointer(&st)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		var st unix.Stat_t
		err := unix.Fstatat(p.dir, p.lockName, &st, unix.AT_SYMLINK_NOFOLLOW)
		return lockFile{st.Mode, st.Uid, time.Unix(st.Ctim.Unix())}, err
	}
	if errno != 0 {
		return lockFile{}, errno
	}
	return lockFile{uint32(st.Mode), st.Uid, time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec))}, nil
}

func isFresh(changed, now time.Time) bool { return now.Sub(changed) < freshFor }

// readDotlock opens and reads the dotlock as carefully as the mailbox: users make
// what they like under its name.
func (p place) readDotlock() (Dotlock, error) {
	fd, err := openBeneath(p.dir, p.lockName, openFlags)
	if err != nil {
		return Dotlock{}, reason(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Dotlock{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return Dotlock{}, errNotRegular
	}
	var text [256]byte
	n, err := unix.Pread(fd, text[:], 0)
	if err != nil {
		return Dotlock{}, err
	}
	d := Dotlock{UID: st.Uid, Inode: st.Ino, Changed: time.Unix(st.Ctim.Unix())}
	d.PID, d.Host = parseDotlock(string(text[:n]))
	return d, nil
}

// parseDotlock reads PID, as liblockfile writes it, or PID:HOST, as Dovecot does.
// Postfix writes nothing, and procmail 0.
func parseDotlock(text string) (pid int, host string) {
	line, _, _ := strings.Cut(text, "\n")
	first, host, _ := strings.Cut(strings.TrimSpace(line), ":")
	if pid = number(first); pid == 0 || strings.Trim(host, hostBytes) != "" {
		return 0, ""
	}
	return pid, host
}

const hostBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// number returns a positive plain decimal that a PID can be, or 0.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// dotlockHolder says which process made the dotlock, " of pid 4711 on mail2", or nothing.
func (p place) dotlockHolder() string {
	d, err := p.readDotlock()
	switch {
	case err != nil || d.PID == 0:
		return ""
	case d.Host == "":
		return fmt.Sprintf(" of pid %d", d.PID)
	}
	return fmt.Sprintf(" of pid %d on %s", d.PID, d.Host)
}
