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

// Poll is the time between two tries. If many programs take turns, tries each second, as
// mail programs make them, or even each 50 ms, may find the lock taken every time.
const Poll = time.Millisecond

// OpenLocked is Open with a shared lock on the mailbox, tried for within; see
// Locking. While it waits it does nothing but system calls and sleep: its memory
// doesn't grow, and it needs no other thread.
func (t Template) OpenLocked(u User, within time.Duration) (*os.File, error) {
	l := t.Lock(u)
	for deadline := time.Now().Add(within); ; time.Sleep(Poll) {
		f, err := l.Try()
		if !IsBusy(err) {
			return f, err
		}
		if !time.Now().Before(deadline) {
			return l.GiveUp()
		}
	}
}

// A Locking is a mailbox to be opened with a shared lock. Locked is what mail
// programs heed: fcntl(2)'s locks and flock(2)'s, which don't know of each other, and
// no USER.lock that stands. It is all or nothing: a program that holds one while it
// waits for another may wait for one that does so the other way round.
//
// A lease, fcntl(2), is waited for too: the first try asks its holder for it, and the
// kernel ends it after /proc/sys/fs/lease-break-time.
//
// The file's locks end with its Close, or with Unlock. Postfix defers mail after 19 s:
// hold them no longer than 15.
type Locking struct {
	template Template
	user     User
	at       *place   // nil: not opened
	file     *os.File // nil: not opened
	busy     busy     // what the last try found
}

// Lock returns a Locking of the user's mailbox. The caller then calls Try.
func (t Template) Lock(u User) *Locking { return &Locking{template: t, user: u} }

// IsBusy reports whether Try may succeed if it is called again.
func IsBusy(err error) bool { _, ok := err.(busy); return ok }

// busy is the error of a try that may succeed later.
type busy string

func (b busy) Error() string { return string(b) }

const (
	errHeld     = busy("held")
	errDotlock  = busy("a dotlock stands")
	errLease    = busy("under a lease")
	errReplaced = busy("replaced again and again")
)

// Try opens and locks the mailbox, or finds that it is busy now, and doesn't wait. If
// the kind of lock doesn't work there the file is open all the same, and the error
// wraps ErrNotLocked; after any other error there is no file. Only after IsBusy may it
// be called again.
func (l *Locking) Try() (*os.File, error) {
	const replacements = 10
	for range replacements {
		if err := l.open(); err != nil {
			return nil, l.end(err)
		}
		if err := l.at.try(int(l.file.Fd())); err != nil {
			if IsBusy(err) {
				return nil, l.end(err)
			}
			return l.take(), fmt.Errorf("%w (%w)", ErrNotLocked, err)
		}
		// A mail program may have put another file in its place before it was locked.
		same, err := l.at.names(l.file, l.user.UID)
		switch {
		case err == nil && same:
			return l.take(), nil
		case err != nil && err != errLease:
			return nil, l.end(err)
		}
		l.Close()
	}
	return nil, l.end(errReplaced)
}

// GiveUp ends the waiting: the file is open and not locked, and the error wraps
// ErrNotLocked and names the holder where that is known, or there is no file.
func (l *Locking) GiveUp() (*os.File, error) {
	found := l.busy
	if err := l.open(); err != nil {
		l.Close()
		return nil, refusedLease(err)
	}
	why := string(found)
	if found == errHeld || found == errDotlock {
		why = "held by " + l.at.holder(int(l.file.Fd()), found)
	}
	return l.take(), fmt.Errorf("%w (%s)", ErrNotLocked, why)
}

// Close ends a Locking that neither Try nor GiveUp has ended.
func (l *Locking) Close() {
	if l.file != nil {
		l.file.Close()
	}
	if l.at != nil {
		l.at.close()
	}
	l.file, l.at = nil, nil
}

// open opens what isn't open yet.
func (l *Locking) open() error {
	if l.at == nil {
		at, err := l.template.place(l.user)
		if err != nil {
			return err
		}
		l.at = &at
	}
	if l.file != nil {
		return nil
	}
	f, err := l.at.open(l.user.UID)
	l.file = f
	return err
}

// end notes what was found, and closes all after an error that doesn't pass.
func (l *Locking) end(err error) error {
	found, passes := err.(busy)
	if l.busy = found; !passes {
		l.Close()
	}
	return err
}

// take hands the file over and closes the rest.
func (l *Locking) take() *os.File {
	f := l.file
	l.file = nil
	l.Close()
	return f
}

// Unlock ends the locks of a Locking's file and leaves the file open. Another goroutine
// may close it at the same time.
func Unlock(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { unlock(int(fd)) })
	}
}

// try takes all locks or none, and doesn't wait. If a later try may succeed, the error is
// a busy. While a dotlock stands it doesn't touch the others: its maker may be about to
// take one, and a Postfix that fails waits for a second with the dotlock in place. One
// made meanwhile counts too.
func (p place) try(fd int) error {
	if p.dotlocked() {
		return errDotlock
	}
	err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, wholeFile(unix.F_RDLCK))
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
	_ = unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, wholeFile(unix.F_UNLCK))
}

// wholeFile is a lock of the whole file, however it grows. An OFD lock belongs to the
// open file: one of the process would go when any other descriptor of it is closed.
func wholeFile(kind int16) *unix.Flock_t { return &unix.Flock_t{Type: kind} }

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

// holder names the holder of what try found, as far as it can be known.
func (p place) holder(fd int, what busy) string {
	if what == errDotlock {
		return p.name + dotlock + p.dotlockHolder()
	}
	lock := wholeFile(unix.F_RDLCK)
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

// flockHolder returns the process that holds an exclusive flock on the open file, 0 if
// /proc/locks doesn't say; see proc_locks(5).
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

// device returns the device of the open file as /proc/locks has it: that of the whole file
// system. On btrfs fstat(2) returns the subvolume's, so it is taken from the mount,
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
