package proc

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Namespace is an open user namespace, user_namespaces(7). The caller closes it.
type Namespace struct {
	fd int
	ID NamespaceID
}

// A NamespaceID says which namespace one is, as long as it exists.
type NamespaceID struct{ dev, inode uint64 }

// OwnUserNamespace opens the user namespace of this process.
func (t *Table) OwnUserNamespace() (Namespace, error) {
	return openNamespace(t.proc, []byte("self/ns/user\x00"))
}

// openNamespace opens a file whose name ends in NUL.
func openNamespace(dir int, name []byte) (Namespace, error) {
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return Namespace{fd: -1}, gone(errno)
	}
	return identified(int(fd))
}

func identified(fd int) (Namespace, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return Namespace{fd: -1}, err
	}
	return Namespace{fd, NamespaceID{uint64(st.Dev), st.Ino}}, nil
}

// Close gives the namespace back.
func (n Namespace) Close() { unix.Close(n.fd) }

// Parent opens the namespace in which this one was made. It is an error, EPERM, for one
// that lies outside the caller's.
func (n Namespace) Parent() (Namespace, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), unix.NS_GET_PARENT, 0)
	if errno != 0 {
		return Namespace{fd: -1}, errno
	}
	return identified(int(fd))
}

// Owners returns the uids that own a user namespace and those from which it descends, up
// to one that isn't among them: the caller's own. It is an error if the namespace doesn't
// descend from that one.
func (n Namespace) Owners(upTo NamespaceID) (owners []uint32, err error) {
	at := n
	for at.ID != upTo {
		owner, err := ownerOf(at.fd)
		var parent Namespace
		if err == nil {
			parent, err = at.Parent()
		}
		if at != n {
			at.Close()
		}
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner)
		at = parent
	}
	if at != n {
		at.Close()
	}
	return owners, nil
}

// UserNamespaceOf opens the user namespace of a process that a scan has just seen.
func (t *Table) UserNamespaceOf(pid int) (Namespace, error) {
	var buffer [32]byte
	return openNamespace(t.proc, append(strconv.AppendInt(buffer[:0], int64(pid), 10), "/ns/user\x00"...))
}
