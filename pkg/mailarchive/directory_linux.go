package mailarchive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/trusted"
)

// An archive is the archive directory as its path leads to it.
type archive struct {
	path  string
	mutex sync.Mutex // for dir and its users
	dir   *directory // nil: not opened
}

// openArchive begins to open the directory. It may lie on a file server that is down,
// and a row that isn't due doesn't wait for that.
func openArchive(path string) *archive {
	a := &archive{path: path}
	go func() {
		if dir, err := a.use(); err == nil {
			a.release(dir)
		}
	}()
	return a
}

// use returns the directory, to be released. In a pipe that stands for weeks its path
// may come to lead elsewhere: then that is opened.
func (a *archive) use() (*directory, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.dir == nil || !a.dir.stands() {
		old := a.dir
		if a.dir = nil; old != nil && old.users == 0 {
			old.close()
		}
		dir, err := openDirectory(a.path)
		if err != nil {
			return nil, err
		}
		a.dir = dir
	}
	a.dir.users++
	return a.dir, nil
}

// release closes the directory when nobody uses it and the path leads elsewhere.
func (a *archive) release(dir *directory) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if dir.users--; dir.users == 0 && dir != a.dir {
		dir.close()
	}
}

// close closes the directory, unless a call that hangs uses it.
func (a *archive) close() {
	if !a.mutex.TryLock() {
		return // the process ends, and with it the call
	}
	defer a.mutex.Unlock()
	if a.dir != nil && a.dir.users == 0 {
		a.dir.close()
	}
	a.dir = nil
}

// A directory is the archive directory, held open: copies are made in it wherever
// its path leads meanwhile. Its Name is its path.
type directory struct {
	*os.File
	users int // jobs that use it; under the archive's mutex

	mutex   sync.Mutex     // for all that follows, and for changes of what it holds
	locks   *os.File       // lockName, open; nil: not needed yet
	locked  map[uint32]int // jobs of each uid
	names   []string       // what it holds, sorted; see list
	changed unix.Timespec  // its mtime when it held that
	swept   bool           // temporaries of earlier runs are gone
	failed  failures
	drafts  atomic.Int64 // how many have been made
}

func (d *directory) close() {
	d.Close()
	if d.locks != nil {
		d.locks.Close()
	}
}

// openDirectory opens the archive directory. Whoever else can write there could put a link
// at a copy's name, or remove a copy.
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
	return &directory{File: f, locked: map[uint32]int{}}, nil
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

// lockName is the file whose bytes are locked: one byte for each uid that a run works on,
// and sweepLock by all runs. Only its owner can open it, so that others can't lock it even
// if they may read the directory.
const (
	lockName  = ".lock"
	sweepLock = 1 << 32
)

var errLocked = errors.New("locked by another run")

// begin makes sure that no other run works in the directory for that uid, and reads what
// the directory holds. A dry run locks nothing. It doesn't wait: if another run works for
// the uid, the error is errLocked.
func (d *directory) begin(uid uint32, dryRun bool) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if dryRun {
		return d.list()
	}
	if d.locked[uid] == 0 {
		if err := d.lock(uid); err != nil {
			return err
		}
	}
	d.locked[uid]++
	return d.list()
}

// lock takes the lock of one uid.
func (d *directory) lock(uid uint32) error {
	if d.locks == nil {
		const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := unix.Openat(int(d.Fd()), lockName, flags, 0o600)
		if err != nil {
			return &os.PathError{Op: "open", Path: filepath.Join(d.Name(), lockName), Err: err}
		}
		d.locks = os.NewFile(uintptr(fd), filepath.Join(d.Name(), lockName))
	}
	err := d.setLock(unix.F_WRLCK, int64(uid))
	if err == unix.EAGAIN || err == unix.EACCES {
		return errLocked
	}
	return err
}

func (d *directory) setLock(kind int16, at int64) error {
	return unix.FcntlFlock(d.locks.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
}

// end lets other runs work for that uid.
func (d *directory) end(uid uint32, dryRun bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if dryRun {
		return
	}
	if d.locked[uid]--; d.locked[uid] == 0 {
		delete(d.locked, uid)
		_ = d.setLock(unix.F_UNLCK, int64(uid))
	}
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

// draft makes a draft of a file that will be called name. If the file system can do it,
// the draft has no name until then, so that a crash leaves nothing of it.
func (d *directory) draft(name string) (*draft, error) {
	const flags = unix.O_RDWR | unix.O_CLOEXEC
	temporary := ""
	fd, err := unix.Openat(int(d.Fd()), ".", flags|unnamed, 0o600)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR { // open(2): the file system or the kernel lacks it
		// Two drafts may be made within a second.
		temporary = fmt.Sprintf(".%s.%d.tmp%d", name, d.drafts.Add(1), os.Getpid())
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
	f.dir.mutex.Lock()
	defer f.dir.mutex.Unlock()
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

// list reads the names in the directory, unless it hasn't changed since, and the list of
// mailboxes that have failed.
func (d *directory) list() error {
	st, err := stat(d.File)
	if err != nil {
		return err
	}
	if d.names != nil && st.Mtim == d.changed {
		return nil
	}
	if _, err := d.Seek(0, 0); err != nil {
		return err
	}
	if d.names, err = d.Readdirnames(-1); err != nil {
		return err
	}
	slices.Sort(d.names)
	d.changed = st.Mtim
	d.sweep()
	d.failed.read(d.File)
	return nil
}

// sweep removes what runs that were killed have left where there is no O_TMPFILE, if no
// other run is at work.
func (d *directory) sweep() {
	if d.locks == nil || d.swept {
		return
	}
	defer func() { _ = d.setLock(unix.F_RDLCK, sweepLock) }()
	if d.setLock(unix.F_WRLCK, sweepLock) != nil {
		return
	}
	d.swept = true
	for _, name := range slices.Clone(d.names) {
		if isTemporary(name) && d.isRegular(name) {
			_ = d.remove(name)
		}
	}
}

// isTemporary knows the names that draft makes.
func isTemporary(name string) bool {
	dot := strings.LastIndex(name, ".tmp")
	if dot < 1 || name[0] != '.' {
		return false
	}
	_, err := strconv.ParseUint(name[dot+len(".tmp"):], 10, 31)
	return err == nil && strings.Contains(name[1:dot], ".")
}

func (d *directory) isRegular(name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// add notes a name that has been made.
func (d *directory) add(name string) {
	at, _ := slices.BinarySearch(d.names, name)
	d.names = slices.Insert(d.names, at, name)
	d.noteChange()
}

// remove removes a file and its name from the list.
func (d *directory) remove(name string) error {
	if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil {
		return err
	}
	if at, found := slices.BinarySearch(d.names, name); found {
		d.names = slices.Delete(d.names, at, at+1)
	}
	d.noteChange()
	return nil
}

// noteChange notes that the list agrees with the directory now. If another run has made a
// copy meanwhile, for another account, it is missing until the next change.
func (d *directory) noteChange() {
	if st, err := stat(d.File); err == nil {
		d.changed = st.Mtim
	}
}
