package child

import (
	"os"

	"golang.org/x/sys/unix"
)

// awaitExit waits until the child is dead and not yet reaped: until then no other process
// gets its PID or that of its group. It reports whether it did wait, waitid(2).
func awaitExit(pid int) bool {
	for {
		switch unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) {
		case nil:
			return true
		case unix.EINTR:
		default:
			return false
		}
	}
}

// namelessFile returns an empty file without a name, in memory.
func namelessFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "input"), nil
}
