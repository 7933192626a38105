package mailarchive

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// tries is how often a mailbox that changes is copied before the last copy has
// to do.
const tries = 3

// errTorn is the error of a mailbox that changed while it was copied. Mail
// programs write in its middle: a copy may have a message twice, or half of one.
var errTorn = errors.New("changed while it was copied: the copy may be torn")

// save copies the mailbox that open opens. The copy is called name in the
// directory, or as publish says, and its path is returned. With errTorn there may
// be a copy; after any other error there is none.
func (d *directory) save(open func() (*os.File, error), name string) (path string, err error) {
	for try := 1; ; try++ {
		path, err = d.try(open, name, try == tries)
		if err != errTorn || path != "" {
			return path, err
		}
	}
}

// try is one try of save. It keeps the copy of a mailbox that changed only if it
// is the last, or a next one could open nothing.
func (d *directory) try(open func() (*os.File, error), name string, last bool) (path string, err error) {
	from, err := open()
	if err != nil {
		return "", err
	}
	defer from.Close()
	before, err := stat(from)
	if err != nil {
		return "", err
	}
	to, err := d.draft(name)
	if err != nil {
		return "", err
	}
	defer to.discard()
	if err := copyContents(to.File, from, before.Size); err != nil {
		return "", err
	}

	now, gone := restat(open)
	torn := gone != nil || changed(before, now)
	if torn && gone == nil && !last {
		return "", errTorn
	}
	if !torn {
		if err := checkLength(to.File, before.Size); err != nil {
			return "", err
		}
	}
	if err := to.dress(before); err != nil {
		return "", err
	}
	if err := to.Sync(); err != nil {
		return "", err
	}
	path, err = to.publish(name)
	if err == nil && torn {
		err = errTorn
	}
	return path, err
}

// copyContents copies the first size bytes, holes as holes. Where there are fewer
// by now, the copy may be as short as that.
func copyContents(to, from *os.File, size int64) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	for at := int64(0); at < size; {
		start, end, err := data(from, at, size)
		if err != nil {
			return err
		}
		if err := copyRange(to, from, start, end-start); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		at = end
	}
	return to.Truncate(size)
}

// data returns where the next data lies in f, at or after at and before size;
// where there is none start and end are size. See lseek(2).
func data(f *os.File, at, size int64) (start, end int64, err error) {
	start, err = f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size, size, nil
	case errors.Is(err, unix.EINVAL): // the file system doesn't tell holes
		return at, size, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = f.Seek(start, unix.SEEK_HOLE)
	if errors.Is(err, unix.ENXIO) { // cut just now: copyRange will find out
		end, err = size, nil
	}
	return min(start, size), min(end, size), err
}

// copyRange copies n bytes at start; io.EOF says that there were fewer. It uses
// copy_file_range(2) where it can: so does package os, between two files.
func copyRange(to, from *os.File, start, n int64) error {
	for _, f := range []*os.File{to, from} {
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	_, err := io.CopyN(to, from, n)
	return err
}

// restat opens the mailbox again and returns what it is by now.
func restat(open func() (*os.File, error)) (st unix.Stat_t, err error) {
	f, err := open()
	if err != nil {
		return st, err
	}
	defer f.Close()
	return stat(f)
}

// changed reports whether a is no longer what b is now. The times alone don't say
// it: mail programs set the mtime back, and another file may have come in its
// place. Nobody can set the ctime.
func changed(a, b unix.Stat_t) bool {
	return a.Dev != b.Dev || a.Ino != b.Ino || a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim
}

func checkLength(f *os.File, size int64) error {
	st, err := stat(f)
	if err == nil && st.Size != size {
		err = fmt.Errorf("%d of %d bytes could be copied", st.Size, size)
	}
	return err
}

// dress gives the draft owner, group, mode and times of the mailbox as cp -p
// does, but no set-user-ID, set-group-ID and sticky bit. The owner comes before
// the mode, which chown(2) may change.
func (f *draft) dress(as unix.Stat_t) error {
	if err := f.Chown(int(as.Uid), int(as.Gid)); err != nil {
		return err
	}
	if err := f.Chmod(os.FileMode(as.Mode & 0o777)); err != nil {
		return err
	}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, f.itself(), []unix.Timespec{as.Atim, as.Mtim}, 0)
	if err != nil {
		err = &os.PathError{Op: "utimensat", Path: f.Name(), Err: err}
	}
	return err
}
