// Package trusted opens, replaces and locks the files that steer a tool or that it
// writes for itself. Run by root, it refuses a file that somebody else could change.
package trusted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open opens a file that steers a tool, or that it writes for itself. It does not
// follow a link in the last place. If root runs it, the file must be a regular file
// of root's that group and others can't write, and the same holds for each directory
// above it, except that the sticky bit is enough there: whoever can write one of
// these would decide what root does. perm is the mode of a file that is made.
func Open(path string, flags int, perm os.FileMode) (*os.File, error) {
	if os.Geteuid() == 0 {
		if err := checkAbove(path); err != nil { // before anything is made there
			return nil, fmt.Errorf("%s: %w", path, Cause(err))
		}
	}
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, perm)
	if err == nil {
		if err = checkTrusted(f, path); err == nil {
			return f, nil
		}
		f.Close()
	}
	if Cause(err) == syscall.ELOOP {
		err = fmt.Errorf("a symbolic link")
	}
	return nil, fmt.Errorf("%s: %w", path, Cause(err))
}

// Read returns the contents of a file that steers a tool, at most 16 MiB; see Open.
func Read(path string) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 16 << 20
	info, err := f.Stat()
	if err == nil && info.Size() > most {
		return nil, fmt.Errorf("%s: over %d bytes", path, most)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, Cause(err))
	}
	return text, nil
}

func checkTrusted(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("not a regular file")
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := onlyRoots(info); err != nil {
		return err
	}
	// Nobody but root can move what is below the directories above: what the path
	// names now is what it named when it was opened, or root changed it.
	if now, err := os.Lstat(path); err != nil || !os.SameFile(info, now) {
		return fmt.Errorf("replaced while it was opened")
	}
	return nil
}

// onlyRoots refuses what others than root can write or own. For a directory the
// sticky bit is enough: there others can't move what is root's.
func onlyRoots(info fs.FileInfo) error {
	sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
	switch {
	case info.Sys().(*syscall.Stat_t).Uid != 0:
		return fmt.Errorf("owner is not root")
	case info.Mode().Perm()&0o022 != 0 && !sticky:
		return fmt.Errorf("writable by group or others")
	}
	return nil
}

// checkAbove applies onlyRoots to each directory on the way to path, also those
// that symbolic links lead through. It resolves the path as the kernel does.
func checkAbove(path string) error {
	if !strings.HasPrefix(path, "/") {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		path = here + "/" + path
	}
	const mostLinks = 40 // the kernel's own bound
	dir, parts := "/", strings.Split(path[:strings.LastIndexByte(path, '/')], "/")
	for links := 0; len(parts) > 0; parts = parts[1:] {
		if parts[0] == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		next := filepath.Join(dir, parts[0])
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if err := onlyRoots(info); err != nil {
				return fmt.Errorf("%s: %w", next, err)
			}
			dir = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err != nil || links > mostLinks || info.Sys().(*syscall.Stat_t).Uid != 0 {
			return fmt.Errorf("%s: a link that isn't root's", next)
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		parts = append(append(parts[:1:1], strings.Split(target, "/")...), parts[1:]...)
	}
	return nil
}

// Cause returns what the system said, without the call and the path around it, for a
// message that names the file already.
func Cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// List returns the names in a directory of files that steer a tool, sorted. If root
// runs it, the directory must be one that can stand above a file for Open.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, Cause(err))
	}
	if os.Geteuid() == 0 {
		if err := checkAbove(dir + "/."); err != nil {
			return nil, err
		}
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}
