package trusted

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes an exclusive lock on f, fcntl(2) F_SETLK, and tries for at most wait.
// The lock belongs to the whole process and goes when any descriptor of the file is
// closed.
func Lock(f *os.File, wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if err != syscall.EAGAIN && err != syscall.EACCES {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("locked by another for over %s", wait)
		}
	}
}
