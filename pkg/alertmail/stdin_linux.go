package alertmail

import (
	"os"

	"golang.org/x/sys/unix"
)

// namelessFile returns an empty file without a name, here in memory.
func namelessFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("message", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "message"), nil
}
