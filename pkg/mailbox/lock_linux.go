package mailbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotLocked is wrapped by the error of a mailbox that is open, but not locked:
// its text says why, as "not locked (held by pid 4711)".
var ErrNotLocked = errors.New("not locked")

// poll is the time between two tries. Where many take their turns, a second as
// mail programs have it, or even 50 ms, may find the lock taken every time.
const poll = time.Millisecond

// OpenLocked is Open with a shared lock on the mailbox, tried for within. Locked
// is what mail programs heed: fcntl(2)'s locks and flock(2)'s, which don't know
// of each other, and no USER.lock that stands. It is all or nothing: who holds one
// while he waits for another may wait for who does so the other way round.
//
// Where there is no lock in time the file is open all the same, and the error
// wraps ErrNotLocked; after any other error there is no file. The locks go with
// Close, or with Unlock. Postfix defers mail after 19 s: hold them no longer than
// 15. It does nothing but system calls and sleep while it waits: its memory
// doesn't grow, and it needs no other thread.
func (t Template) OpenLocked(u User, within time.Duration) (*os.File, error) {
	deadline := time.Now().Add(within)
	for {
		at, err := t.place(u)
		if err != nil {
			return nil, err
		}
		f, err := at.open(u.UID)
		if err != nil {
			at.close()
			return nil, err
		}
		if err := at.lock(int(f.Fd()), deadline); err != nil {
			at.close()
			return f, err
		}
		// A mail program may have put another file in its place before it was locked.
		same, err := at.names(f, u.UID)
		at.close()
		if err != nil {
			f.Close()
			return nil, err
		}
		if same {
			return f, nil
		}
		if !time.Now().Before(deadline) {
			Unlock(f)
			return f, fmt.Errorf("%w (replaced again and again)", ErrNotLocked)
		}
		f.Close()
	}
}

// Unlock lets the locks of OpenLocked go and leaves the file open.
// Another goroutine may, also of one that closes the file.
func Unlock(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { unlock(int(fd)) })
	}
}

// lock locks the open mailbox, or says who kept it from that until the deadline.
func (p place) lock(fd int, deadline time.Time) error {
	for {
		err := p.try(fd)
		if err == nil {
			return nil
		}
		if err != errHeld && err != errDotlock {
			return fmt.Errorf("%w (%w)", ErrNotLocked, err)
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w (held by %s)", ErrNotLocked, p.holder(fd, err))
		}
		time.Sleep(poll)
	}
}

// What one try finds in its way.
var (
	errHeld    = errors.New("held")
	errDotlock = errors.New("a dotlock stands")
)

// try takes all locks or none, and doesn't wait. While a dotlock stands it doesn't
// touch the others: its maker may be about to take one, and Postfix that fails at it
// waits for a second with the dotlock in place. One made meanwhile counts too.
func (p place) try(fd int) error {
	if p.dotlocked() {
		return errDotlock
	}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, whole(unix.F_RDLCK))
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
	}
	if err == nil && p.dotlocked() {
		err = errDotlock
	}
	switch err {
	case nil:
		return nil
	case unix.EAGAIN, unix.EACCES: // fcntl(2): either may be what a held lock gives
		err = errHeld
	}
	unlock(fd)
	return err
}

func unlock(fd int) {
	_ = unix.Flock(fd, unix.LOCK_UN)
	_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, whole(unix.F_UNLCK))
}

// whole is a lock of the whole file, however it grows. An OFD lock belongs to the
// open file: one of the process would go when any other descriptor of it is closed.
func whole(kind int16) *unix.Flock_t { return &unix.Flock_t{Type: kind} }

// names reports whether the mailbox, which has to be uid's, still is the open file.
func (p place) names(f *os.File, uid uint32) (bool, error) {
	again, err := p.open(uid)
	if err != nil {
		return false, err
	}
	defer again.Close()
	a, err := f.Stat()
	if err != nil {
		return false, err
	}
	b, err := again.Stat()
	return err == nil && os.SameFile(a, b), err
}

// holder says in words who holds what try found in its way, as far as it can be
// known.
func (p place) holder(fd int, what error) string {
	if what == errDotlock {
		return p.name + dotlock + p.dotlockHolder()
	}
	lock := whole(unix.F_RDLCK)
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, lock)
	switch {
	case err == nil && lock.Type != unix.F_UNLCK && lock.Pid > 0:
		return fmt.Sprintf("pid %d", lock.Pid)
	case err == nil && lock.Type != unix.F_UNLCK: // an OFD lock is nobody's in particular
		return "an unknown process"
	}
	if pid := flockHolder(fd); pid > 0 {
		return fmt.Sprintf("pid %d", pid)
	}
	return "an unknown process"
}

// flockHolder returns the process that holds an exclusive flock on the open file,
// 0 if /proc/locks doesn't tell; see proc_locks(5).
func flockHolder(fd int) int {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	where := fmt.Sprintf("%s:%d", device(fd), st.Ino)
	for range 3 { // it is read page by page, and changes meanwhile
		for line := range strings.Lines(procFile("locks")) {
			words := strings.Fields(line) // 1: FLOCK ADVISORY WRITE 4711 fd:00:1234 0 EOF
			if len(words) == 8 && words[1] == "FLOCK" && words[3] == "WRITE" && words[5] == where {
				return number(words[4])
			}
		}
	}
	return 0
}

// device returns the device of the open file as /proc/locks has it: that of the whole
// file system. On btrfs fstat(2) tells the subvolume's, so it is taken from the mount,
// proc_pid_fdinfo(5) and proc_pid_mountinfo(5).
func device(fd int) string {
	mount := ""
	for line := range strings.Lines(procFile(fmt.Sprint("self/fdinfo/", fd))) {
		if id, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			mount = strings.TrimSpace(id)
		}
	}
	for line := range strings.Lines(procFile("self/mountinfo")) {
		words := strings.Fields(line) // 36 35 98:0 /mnt1 /mnt2 ...
		if len(words) < 3 || words[0] != mount {
			continue
		}
		var major, minor uint32
		if n, _ := fmt.Sscanf(words[2], "%d:%d", &major, &minor); n == 2 {
			return fmt.Sprintf("%02x:%02x", major, minor)
		}
	}
	return ""
}

// procFile returns a file of /proc as far as a mebibyte, for users make as many
// locks as they like; "" if it can't be read.
func procFile(name string) string {
	f, err := os.Open("/proc/" + name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(text)
}
