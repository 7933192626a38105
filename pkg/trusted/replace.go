package trusted

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Replace replaces the file path by one with this text and mode. When it returns nil
// the new file is on the disk; after an error the old one is as it was. The draft
// beside it, path.new, always has that name, so the caller must hold a lock. A draft
// that a crash has left is removed.
func Replace(path string, text []byte, mode os.FileMode) error {
	if err := replace(path, text, mode); err != nil {
		return fmt.Errorf("%s: %w", path, Cause(err))
	}
	return nil
}

func replace(path string, text []byte, mode os.FileMode) error {
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := Open(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask is
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = os.Remove(draft)
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory brings a rename to the disk, if the file system supports that.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
