package proc

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostNested is how deep namespaces nest, pid_namespaces(7) and user_namespaces(7).
const mostNested = 32

// A Namespace is an open namespace, namespaces(7). The caller closes it.
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

// UserNamespaceOf opens the user namespace of a process that a scan has just seen.
func (t *Table) UserNamespaceOf(pid int) (Namespace, error) {
	var buffer [32]byte
	return openNamespace(t.proc, append(strconv.AppendInt(buffer[:0], int64(pid), 10), "/ns/user\x00"...))
}

// ContainerOwners returns the owners of the PID namespaces that the process is in, from
// its own one up to, not including, ours: for each the uid that made the user namespace
// to which it belongs, ioctl_ns(2). It is empty for a process of our own namespace, and
// an error if one is out of reach.
func (h Handle) ContainerOwners() (owners []uint32, err error) {
	return h.owners("ns/pid", func(pid Namespace) (uint32, error) {
		user, err := pid.related(unix.NS_GET_USERNS)
		if err != nil {
			return 0, err
		}
		defer user.Close()
		return user.owner()
	})
}

// UserOwners returns the owners of the user namespaces that the process is in, from its
// own one up to, not including, ours.
func (h Handle) UserOwners() (owners []uint32, err error) {
	return h.owners("ns/user", Namespace.owner)
}

// owners climbs from a namespace of the process to ours.
func (h Handle) owners(file string, owner func(Namespace) (uint32, error)) (owners []uint32, err error) {
	ours, err := openNamespace(h.dir, []byte("/proc/self/"+file+"\x00"))
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	its, err := openNamespace(h.dir, []byte(file+"\x00"))
	if err != nil {
		return nil, err
	}
	defer its.Close()
	return its.climb(ours.ID, owner)
}

// Owners returns the uids that own a user namespace and those from which it descends, up
// to one that isn't among them: the caller's own. It is an error if the namespace doesn't
// descend from that one.
func (n Namespace) Owners(upTo NamespaceID) (owners []uint32, err error) {
	return n.climb(upTo, Namespace.owner)
}

// climb returns the owners of a namespace and of those in which it was made, below upTo.
func (n Namespace) climb(upTo NamespaceID, owner func(Namespace) (uint32, error)) (owners []uint32, err error) {
	for at := n; at.ID != upTo; {
		if len(owners) > mostNested {
			return nil, unix.ELOOP
		}
		uid, err := owner(at)
		if err != nil {
			return nil, err
		}
		owners = append(owners, uid)
		// It is an error, EPERM, if the parent lies outside the caller's namespace.
		if at, err = at.related(unix.NS_GET_PARENT); err != nil {
			return nil, err
		}
		defer at.Close() // there are few
	}
	return owners, nil
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

// related asks a namespace for another one. The kernel opens it with O_CLOEXEC.
func (n Namespace) related(request uintptr) (Namespace, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), request, 0)
	if errno != 0 {
		return Namespace{fd: -1}, errno
	}
	return identified(int(fd))
}

// owner returns the uid that made a user namespace.
func (n Namespace) owner() (uid uint32, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&uid)))
	if errno != 0 {
		return 0, errno
	}
	return uid, nil
}
