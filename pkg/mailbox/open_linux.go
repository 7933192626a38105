package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags keep an open from waiting for a FIFO's writer or for the end of a
// lease (fcntl(2), F_SETLEASE), from getting a terminal, and reading from marking
// the mail as seen: a mailbox has new mail while its atime is before its mtime.
const openFlags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_LARGEFILE

// openDirectory opens a directory on the way, for whoever may only pass through it.
const openDirectory = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// Open opens the user's mailbox for reading. The directory that the template
// begins with is the administrator's, and links on the way to it are followed;
// beneath it users make what they like, and no link is. What is opened is then a
// regular file that the user owns. The error doesn't name the path, see Path; it
// is ErrNone, ErrDirectory, wraps ErrForeign or ErrRefused, or is the system's. That
// the administrator's directory is missing is an error of its own.
func (t Template) Open(u User) (*os.File, error) {
	at, err := t.place(u)
	if err != nil {
		return nil, err
	}
	defer at.close()
	f, err := at.open(u.UID)
	return f, refusedLease(err)
}

// A place is where a mailbox lies: its directory, held open, and its name there.
type place struct {
	dir      int
	name     string
	uid      uint32 // its owner's
	lockName string // its dotlock's
	lockZ    []byte // the same, ended by a NUL
	path     string // for messages
}

func (p place) close() { unix.Close(p.dir) }

// place opens the directory of the user's mailbox.
func (t Template) place(u User) (p place, err error) {
	if err := t.fits(u); err != nil {
		return p, err
	}
	dir := t.dir
	if dir == "" {
		dir = u.Home
	}
	if !path.IsAbs(dir) {
		return p, errors.New("home directory unknown")
	}
	fd, err := retried(openDirectory, func(flags int) (int, error) { return unix.Open(dir, flags, 0) })
	if err == unix.ENOENT && t.dir != "" { // a wrong path, or a spool that isn't mounted
		return p, errNoSpool
	}
	if err != nil {
		return p, reason(err)
	}
	above, name := path.Split(t.beneath(u))
	if above != "" {
		top := fd
		fd, err = openBeneath(top, above[:len(above)-1], openDirectory)
		if unix.Close(top); err != nil {
			return p, reason(err)
		}
	}
	return place{fd, name, u.UID, name + dotlock, []byte(name + dotlock + "\x00"), t.Path(u)}, nil
}

// open opens the mailbox, which has to be uid's.
func (p place) open(uid uint32) (*os.File, error) {
	fd, err := openBeneath(p.dir, p.name, openFlags)
	if err != nil {
		return nil, reason(err)
	}
	f := os.NewFile(uintptr(fd), p.path)
	if err := check(fd, uid); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openBeneath opens name in directory dir, following no symbolic link in any of
// its parts. Kernels before 5.6 don't have openat2(2), and the filters of some
// containers don't know it.
func openBeneath(dir int, name string, flags int) (int, error) {
	fd, err := retried(flags, func(flags int) (int, error) {
		return unix.Openat2(dir, name, &unix.OpenHow{
			Flags:   uint64(flags),
			Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
		})
	})
	if err == unix.ENOSYS || err == unix.EPERM {
		return openByParts(dir, name, flags)
	}
	return fd, err
}

// openByParts is openBeneath with openat(2), which leaves a symbolic link alone
// only in the last part: it goes one part at a time.
func openByParts(dir int, name string, flags int) (int, error) {
	first, rest, more := strings.Cut(name, "/")
	if !more {
		return retried(flags|unix.O_NOFOLLOW, func(flags int) (int, error) {
			return unix.Openat(dir, name, flags, 0)
		})
	}
	next, err := retried(openDirectory|unix.O_NOFOLLOW, func(flags int) (int, error) {
		return unix.Openat(dir, first, flags, 0)
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(next)
	return openByParts(next, rest, flags)
}

// retried calls open with flags until no signal interrupts it, and then without
// O_NOATIME where that is only for the file's owner.
func retried(flags int, open func(flags int) (int, error)) (int, error) {
	for {
		fd, err := open(flags)
		switch {
		case err == unix.EPERM && flags&unix.O_NOATIME != 0:
			flags &^= unix.O_NOATIME
		case err != unix.EINTR:
			return fd, err
		}
	}
}

// check looks at the open file, which can't be swapped any more. Others may link
// a user's own mailbox, and must not be able to deny its archive by that. But so
// many files are root's that a link to one of them isn't root's mailbox.
func check(fd int, uid uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFDIR:
		return ErrDirectory
	case kind != unix.S_IFREG:
		return errNotRegular
	case st.Uid != uid:
		return fmt.Errorf("%w (uid %d)", ErrForeign, st.Uid)
	case uid == 0 && st.Nlink > 1:
		return fmt.Errorf("%w: %d links where root's mailbox may have 1", ErrRefused, st.Nlink)
	}
	return nil
}

var errNoSpool = errors.New("its directory doesn't exist")

var errNotRegular = fmt.Errorf("%w: not a regular file", ErrRefused)

// reason puts into words what open(2) and openat2(2) mean here.
func reason(err error) error {
	switch err {
	case unix.ENOENT:
		return ErrNone
	case unix.ELOOP:
		return fmt.Errorf("%w: a symbolic link", ErrRefused)
	case unix.ENXIO: // a socket
		return errNotRegular
	case unix.EAGAIN:
		return errLease
	}
	return err
}

// IsLeased reports whether err says that the file is under a lease, which a Locking waits
// for.
func IsLeased(err error) bool { return errors.Is(err, errLease) }

// refusedLease puts a lease that isn't waited for among what is refused.
func refusedLease(err error) error {
	if err == errLease {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}
