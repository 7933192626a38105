package mailarchive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
)

// A directory is the archive directory, held open: copies are made in it wherever
// its path leads meanwhile. Its Name is its path.
type directory struct{ *os.File }

// openDirectory opens the archive directory. Whoever else can write there could
// put a link where a copy is to be made, or take a copy away.
func openDirectory(path string) (*directory, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) {
		err = errors.New("not a directory or a symbolic link to one")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, filter.Cause(err))
	}
	if err := checkDirectory(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &directory{f}, nil
}

func checkDirectory(f *os.File) error {
	st, err := stat(f)
	switch {
	case err != nil:
		return filter.Cause(err)
	case st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("belongs to uid %d and not to %d", st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return errors.New("writable by group or others")
	}
	return nil
}

// stat is fstat(2), for what an os.FileInfo has under no name of its own.
func stat(f *os.File) (st unix.Stat_t, err error) {
	if err = unix.Fstat(int(f.Fd()), &st); err != nil {
		err = &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st, err
}

// A draft is a file in the directory that doesn't have its name yet.
type draft struct {
	*os.File  // its Name is the path that is wanted
	dir       *directory
	temporary string // what it is called meanwhile, "" for nothing
}

// draft makes a draft of a file to be called name. Where it can it has no name at
// all until then, so that nothing of it is left whenever the machine stops.
func (d *directory) draft(name string) (*draft, error) {
	const flags = unix.O_RDWR | unix.O_CLOEXEC
	path := filepath.Join(d.Name(), name)
	temporary := ""
	fd, err := unix.Openat(int(d.Fd()), ".", flags|unix.O_TMPFILE, 0o600)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR { // open(2): the file system or the kernel lacks it
		temporary = fmt.Sprintf(".%s.tmp%d", name, os.Getpid())
		fd, err = unix.Openat(int(d.Fd()), temporary, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &draft{os.NewFile(uintptr(fd), path), d, temporary}, nil
}

// discard closes the draft, and removes what wasn't published.
func (f *draft) discard() {
	f.Close()
	if f.temporary != "" {
		_ = unix.Unlinkat(int(f.dir.Fd()), f.temporary, 0)
	}
}

// publish makes the draft, whole and on the disk, a file called name, or where
// that is taken name.1 to name.999. It returns its path once the directory too
// is on the disk.
func (f *draft) publish(name string) (string, error) {
	final, err := name, f.rename(name)
	for n := 1; err == unix.EEXIST && n <= 999; n++ {
		final = fmt.Sprintf("%s.%d", name, n)
		err = f.rename(final)
	}
	if err != nil {
		return "", &os.PathError{Op: "link", Path: f.Name(), Err: err}
	}
	if err := f.dir.Sync(); err != nil {
		_ = unix.Unlinkat(int(f.dir.Fd()), final, 0)
		return "", err
	}
	return filepath.Join(f.dir.Name(), final), nil
}

// rename gives the draft a name that is free; EEXIST says that it isn't.
func (f *draft) rename(name string) error {
	dir := int(f.dir.Fd())
	if f.temporary != "" {
		return unix.Renameat2(dir, f.temporary, dir, name, unix.RENAME_NOREPLACE)
	}
	return unix.Linkat(unix.AT_FDCWD, f.itself(), dir, name, unix.AT_SYMLINK_FOLLOW)
}

// itself returns a path that leads to the open file by its descriptor, proc(5).
func (f *draft) itself() string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
