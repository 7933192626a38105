package proc

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mostNested is how deep namespaces nest, pid_namespaces(7) and user_namespaces(7).
const mostNested = 32

// ContainerOwners returns the owners of the PID namespaces that the process is in, from
// its own one up to, not including, ours: for each the uid that made the user namespace
// to which it belongs, ioctl_ns(2). It is empty for a process of our own namespace, and
// an error if one is out of reach.
func (h Handle) ContainerOwners() (owners []uint32, err error) {
	return h.owners("ns/pid", func(pid int) (uint32, error) {
		user, err := ioctlFile(pid, unix.NS_GET_USERNS)
		if err != nil {
			return 0, err
		}
		defer unix.Close(user)
		return ownerOf(user)
	})
}

// UserOwners returns the owners of the user namespaces that the process is in, from its
// own one up to, not including, ours.
func (h Handle) UserOwners() (owners []uint32, err error) { return h.owners("ns/user", ownerOf) }

// owners climbs from a namespace of the process to ours.
func (h Handle) owners(file string, owner func(namespace int) (uint32, error)) (owners []uint32, err error) {
	ours, err := namespace(unix.AT_FDCWD, "/proc/self/"+file)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ours)
	at, err := namespace(h.dir, file)
	if err != nil {
		return nil, gone(err)
	}
	defer func() { unix.Close(at) }()
	for range mostNested + 1 {
		if same, err := sameFile(at, ours); err != nil || same {
			return owners, err
		}
		uid, err := owner(at)
		if err != nil {
			return nil, err
		}
		owners = append(owners, uid)
		parent, err := ioctlFile(at, unix.NS_GET_PARENT)
		if err != nil {
			return nil, err
		}
		unix.Close(at)
		at = parent
	}
	return nil, unix.ELOOP
}

func namespace(dir int, path string) (fd int, err error) {
	return unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// ownerOf returns the uid that made a user namespace.
func ownerOf(user int) (uid uint32, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(user), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&uid)))
	if errno != 0 {
		return 0, errno
	}
	return uid, nil
}

// ioctlFile asks a namespace for another one. The kernel opens it with O_CLOEXEC.
func ioctlFile(namespace int, request uintptr) (fd int, err error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(namespace), request, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

func sameFile(a, b int) (bool, error) {
	var one, two unix.Stat_t
	if err := unix.Fstat(a, &one); err != nil {
		return false, err
	}
	if err := unix.Fstat(b, &two); err != nil {
		return false, err
	}
	return one.Dev == two.Dev && one.Ino == two.Ino, nil
}
