package mailbox

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// RemoveDotlock removes the user's dotlock if a process that was killed has left it:
// it is a regular file of the user's, names a PID of this machine for which killed
// is true, and hasn't been touched since before, when the killing began. Whoever
// makes a lock now makes another file. It says in words what it did, or that it left
// a dotlock that seems to be nobody's any more; "" where there is nothing to say.
func (t Template) RemoveDotlock(u User, killed func(pid int) bool, before time.Time) (string, error) {
	at, err := t.place(u)
	if err == nil {
		defer at.close()
		return at.removeDotlock(u, killed, before)
	}
	if err == ErrNone || err == errNoSpool {
		err = nil
	}
	return "", err
}

func (p place) removeDotlock(u User, killed func(pid int) bool, before time.Time) (string, error) {
	d, err := p.readDotlock()
	switch {
	case err == ErrNone:
		return "", nil
	case err != nil:
		return "", err
	case d.PID == 0 || !killed(d.PID) || !d.isHere() || d.UID != u.UID || !d.Changed.Before(before):
		if d.Dead() || !isFresh(d.Changed, time.Now()) {
			return fmt.Sprintf("left %s%s: stale%s", p.path, dotlock, p.dotlockHolder()), nil
		}
		return "", nil
	}
	var st unix.Stat_t
	if err := unix.Fstatat(p.dir, p.lockName, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return "", reason(err)
	}
	if st.Ino != d.Inode || !time.Unix(st.Ctim.Unix()).Equal(d.Changed) {
		return "", nil // somebody has made another meanwhile
	}
	if err := unix.Unlinkat(p.dir, p.lockName, 0); err != nil {
		return "", err
	}
	return fmt.Sprintf("removed %s%s of killed pid %d", p.path, dotlock, d.PID), nil
}

// isHere reports whether the dotlock is of this machine, as far as it says.
func (d Dotlock) isHere() bool {
	here, err := os.Hostname()
	return d.Host == "" || err == nil && d.Host == here
}
