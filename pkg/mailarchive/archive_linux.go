package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"stormcheck/pkg/trusted"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An archive is the archive directory, being opened: it may lie on a file server
// that is gone, and a row that isn't due doesn't wait for that.
type archive struct {
	path string
	done chan struct{} // closed once dir and err are set
	dir  *directory
	err  error // why there is no dir
}

func openArchive(path string) *archive {
	a := &archive{path: path, done: make(chan struct{})}
	go func() {
		a.dir, a.err = openDirectory(path)
		close(a.done)
	}()
	return a
}

// open returns the directory. In a pipe that stands for weeks its path may come to
// lead elsewhere: then that is opened.
func (a *archive) open() (*directory, error) {
	<-a.done
	if a.err == nil && a.dir.stands() {
		return a.dir, nil
	}
	if a.dir != nil {
		a.dir.Close()
	}
	a.dir, a.err = openDirectory(a.path)
	return a.dir, a.err
}

// close closes the directory, if it has been opened by now.
func (a *archive) close() {
	select {
	case <-a.done:
		if a.dir != nil {
			a.dir.Close()
		}
	default: // the process ends, and with it the call that hangs
	}
}

// A directory is the archive directory, held open: copies are made in it wherever
// its path leads meanwhile. Its Name is its path.
type directory struct {
	*os.File
	names   []string      // what it holds, sorted; see list
	changed unix.Timespec // its mtime when it held that
	swept   bool          // temporaries of earlier runs are gone
	drafts  int           // how many have been made
}

// openDirectory opens the archive directory. Whoever else can write there could
// put a link where a copy is to be made, or take a copy away.
func openDirectory(path string) (*directory, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) {
		err = errors.New("not a directory or a symbolic link to one")
	}
	if err != nil {
		return nil, trusted.Cause(err)
	}
	if err := checkDirectory(f); err != nil {
		f.Close()
		return nil, err
	}
	return &directory{File: f}, nil
}

func checkDirectory(f *os.File) error {
	st, err := stat(f)
	switch {
	case err != nil:
		return trusted.Cause(err)
	case st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("belongs to uid %d and not to %d", st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return errors.New("writable by group or others")
	}
	return nil
}

// stands reports whether the directory is still what its path leads to, and fit.
func (d *directory) stands() bool {
	var now unix.Stat_t
	st, err := stat(d.File)
	return err == nil && unix.Lstat(d.Name(), &now) == nil && now.Dev == st.Dev && now.Ino == st.Ino && checkDirectory(d.File) == nil
}

// lock waits until no other run is at work in the directory.
func (d *directory) lock(ctx context.Context, within time.Duration) error {
	const poll = 5 * time.Millisecond
	for deadline := time.Now().Add(within); ; time.Sleep(poll) {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return err
		case ctx.Err() != nil || !time.Now().Before(deadline):
			return errors.New("locked by another run")
		}
	}
}

func unlockDirectory(f *os.File) { control(f, func(fd int) { _ = unix.Flock(fd, unix.LOCK_UN) }) }

// control runs f with the descriptor of a file that may be closed meanwhile.
func control(f *os.File, run func(fd int)) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { run(int(fd)) })
	}
}

// A hold is a lock that is let go by whoever comes first: who took it, or who
// doesn't wait for him any longer.
type hold struct {
	mutex  sync.Mutex
	file   *os.File // nil once it is let go
	unlock func(*os.File)
}

// letGo reports whether the lock was still held.
func (h *hold) letGo() bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	held := h.file != nil
	if held {
		h.unlock(h.file)
	}
	h.file = nil
	return held
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
	*os.File  // its Name is the directory's path
	dir       *directory
	temporary string // what it is called meanwhile, "" for nothing
}

// unnamed is openat(2)'s flag for a file without a name; a variable for tests.
var unnamed = unix.O_TMPFILE

// draft makes a draft of a file to be called name. Where it can it has no name at
// all until then, so that nothing of it is left whenever the machine stops.
func (d *directory) draft(name string) (*draft, error) {
	const flags = unix.O_RDWR | unix.O_CLOEXEC
	temporary := ""
	fd, err := unix.Openat(int(d.Fd()), ".", flags|unnamed, 0o600)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR { // open(2): the file system or the kernel lacks it
		d.drafts++ // for there may be two of one second
		temporary = fmt.Sprintf(".%s.%d.tmp%d", name, d.drafts, os.Getpid())
		fd, err = unix.Openat(int(d.Fd()), temporary, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: d.Name(), Err: err}
	}
	return &draft{os.NewFile(uintptr(fd), d.Name()), d, temporary}, nil
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
		return "", &os.PathError{Op: "link", Path: filepath.Join(f.dir.Name(), name), Err: err}
	}
	if err := f.dir.Sync(); err != nil {
		_ = unix.Unlinkat(int(f.dir.Fd()), final, 0)
		return "", err
	}
	f.dir.add(final)
	return filepath.Join(f.dir.Name(), final), nil
}

// rename gives the draft a name that is free; EEXIST says that it isn't.
func (f *draft) rename(name string) error {
	dir := int(f.dir.Fd())
	if f.temporary == "" {
		return f.byDescriptor(func(at int, path string, flags int) error {
			return unix.Linkat(at, path, dir, name, flags)
		}, unix.AT_SYMLINK_FOLLOW)
	}
	err := unix.Renameat2(dir, f.temporary, dir, name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // as on NFS; discard takes the other name away
		err = unix.Linkat(dir, f.temporary, dir, name, 0)
	}
	return err
}

// byDescriptor makes a call on the draft, which may have no name: by an empty path
// where the kernel and the process's capabilities allow it, else by what proc(5)
// calls the descriptor, for which the call needs the flags.
func (f *draft) byDescriptor(call func(at int, path string, flags int) error, flags int) error {
	err := call(int(f.Fd()), "", unix.AT_EMPTY_PATH)
	if err == unix.ENOENT || err == unix.EINVAL || err == unix.EPERM {
		err = call(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flags)
	}
	return err
}
