package mailarchive

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// accessList is the extended attribute that is a file's ACL, acl(5).
const accessList = "system.posix_acl_access"

// mostAttributes is how many bytes of extended attributes are copied: on some file
// systems a user can have any number.
const mostAttributes = 64 << 10

// Our own marks on copies. A mailbox's owner could set them there too: they aren't
// copied.
const (
	marks     = "user.stormcheck."
	tornMark  = marks + "torn"  // the copy may be torn
	untilMark = marks + "until" // the storm of which this is the first copy had another then, as an EPOCH
)

// dress gives the draft owner, group, mode, times and access list of the mailbox as
// cp -p does, and its owner's extended attributes, but no set-user-ID, set-group-ID
// and sticky bit. The owner comes before the mode, which chown(2) may change. lost
// says what couldn't be kept that isn't the mail.
func (f *draft) dress(from *os.File, as unix.Stat_t) (lost []error, err error) {
	if err := f.Chown(int(as.Uid), int(as.Gid)); err != nil {
		return nil, err
	}
	// The default access list of the archive directory isn't the mailbox's, acl(5).
	if _, err := unix.Fgetxattr(int(f.Fd()), accessList, nil); err != unix.ENODATA && err != unix.EOPNOTSUPP {
		_ = unix.Fremovexattr(int(f.Fd()), accessList)
	}
	if err := f.Chmod(os.FileMode(as.Mode & 0o777)); err != nil {
		return nil, err
	}
	lost = f.attributes(from, as)
	err = f.byDescriptor(func(at int, path string, flags int) error {
		return unix.UtimesNanoAt(at, path, []unix.Timespec{as.Atim, as.Mtim}, flags)
	}, 0)
	if err != nil {
		err = &os.PathError{Op: "utimensat", Path: f.Name(), Err: err}
	}
	return lost, err
}

// markTorn notes on the copy that it may be torn. If the file system has no attributes,
// such a copy counts as whole later. It is set before the owner's own attributes, which
// may fill the space for them.
func (f *draft) markTorn() { _ = unix.Fsetxattr(int(f.Fd()), tornMark, []byte("1"), 0) }

// mark sets a mark on a copy that has its name.
func (d *directory) mark(name, mark, value string) error {
	return d.opened(name, func(fd int) error { return unix.Fsetxattr(fd, mark, []byte(value), 0) })
}

// marked returns the mark of a copy, "" where it has none.
func (d *directory) marked(name, mark string) (value string) {
	_ = d.opened(name, func(fd int) error {
		var text [20]byte
		n, err := unix.Fgetxattr(fd, mark, text[:])
		if err == nil {
			value = string(text[:n])
		}
		return err
	})
	return value
}

func (d *directory) opened(name string, do func(fd int) error) error {
	fd, err := unix.Openat(int(d.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

// attributes copies the access list and what the owner has put into the user namespace,
// xattr(7), and says what it couldn't. It copies no attributes of the kernel and of root:
// a file's capabilities, for example, must not be restored with it.
func (f *draft) attributes(from *os.File, as unix.Stat_t) (lost []error) {
	names, err := listAttributes(int(from.Fd()))
	if err != nil {
		return []error{remark("extended attributes not copied: " + err.Error())}
	}
	room := mostAttributes
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		if name != accessList && !strings.HasPrefix(name, "user.") || strings.HasPrefix(name, marks) {
			continue
		}
		switch n, err := f.attribute(from, name, room); {
		case err == nil:
			room -= n
		case name == accessList:
			// The group's bits are the list's mask; without the list they would be the group's.
			_ = f.Chmod(os.FileMode(as.Mode & 0o700))
			lost = append(lost, remark("access list not copied: "+err.Error()))
		default:
			return append(lost, remark("extended attributes not copied: "+err.Error()))
		}
	}
	return lost
}

// listAttributes returns the names, each ended by a NUL; see listxattr(2).
func listAttributes(fd int) (string, error) {
	n, err := unix.Flistxattr(fd, nil)
	if n == 0 || err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return "", nil
	}
	names := make([]byte, mostAttributes)
	if err == nil {
		n, err = unix.Flistxattr(fd, names)
	}
	if err != nil {
		return "", err
	}
	return string(names[:n]), nil
}

// attribute copies one attribute of up to room bytes and returns its size.
func (f *draft) attribute(from *os.File, name string, room int) (int, error) {
	value := make([]byte, max(room, 1))
	n, err := unix.Fgetxattr(int(from.Fd()), name, value)
	if err == unix.ENODATA { // gone meanwhile
		return 0, nil
	}
	if err == nil {
		err = unix.Fsetxattr(int(f.Fd()), name, value[:n], 0)
	}
	return n, err
}
