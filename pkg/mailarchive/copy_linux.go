package mailarchive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// step is how much is copied between two looks at the time and at what is free.
const step = 8 << 20

// contents copies the mailbox as far as st says, or shares the blocks where the file
// system can. Holes stay holes: like cp it asks for them only if there are fewer
// blocks than the size takes. Where there are fewer bytes by now, the
// copy may be as short as that.
func (j *job) contents(d *directory, to, from *os.File, st unix.Stat_t) error {
	size := st.Size
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	shown := meter{to: j.Progress, what: j.user.Name, size: size, begin: time.Now()}
	defer shown.clear()
	c := copier{to: int(to.Fd()), from: int(from.Fd())}
	written := int64(0) // as far as there is data
	for at := int64(0); at < size; {
		start, end, err := at, size, error(nil)
		if st.Blocks*512 < size {
			start, end, err = data(from, at, size)
		}
		for err == nil && start < end {
			part := min(end, start+step)
			err = c.copy(start, part)
			start, written = part, part
			shown.show(start)
			if err == nil {
				err = j.mayGoOn(d, start, size)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		at = end
	}
	if written == size {
		return nil
	}
	return to.Truncate(size) // a hole at its end
}

// mayGoOn says why a copy that has come so far must end, if it must.
func (j *job) mayGoOn(d *directory, done, size int64) error {
	if err := j.overtime(); err != nil {
		return fmt.Errorf("%w: %s of %s copied", err, sizeText(done), sizeText(size))
	}
	free, reserve, err := j.space(d)
	if err == nil && free < reserve {
		err = fmt.Errorf("no space: %s are free and %s have to stay: %s of %s copied",
			sizeText(free), sizeText(reserve), sizeText(done), sizeText(size))
	}
	return err
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
	if errors.Is(err, unix.ENXIO) { // cut just now: copy will find out
		end, err = size, nil
	}
	return min(start, size), min(end, size), err
}

// A copier copies between two descriptors, in the kernel where it can.
type copier struct {
	to, from int
	buffer   []byte // made when the kernel can't
}

// copy copies what lies from at to end; io.EOF says that there was less.
func (c *copier) copy(at, end int64) error {
	for at < end {
		n, err := c.some(at, int(end-at))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return os.NewSyscallError("copy", err)
		case n == 0:
			return io.EOF
		}
		at += int64(n)
	}
	return nil
}

// some copies up to n bytes and returns how many. Some file systems end
// copy_file_range(2) early, or before anything is copied: read(2) has the last word.
func (c *copier) some(at int64, n int) (int, error) {
	if c.buffer == nil {
		in, out := at, at
		done, err := unix.CopyFileRange(c.from, &in, c.to, &out, n, 0)
		if err == nil && done > 0 || err == unix.EINTR || err == unix.ENOSPC || err == unix.EIO {
			return done, err
		}
		c.buffer = make([]byte, 256<<10)
	}
	read, err := unix.Pread(c.from, c.buffer[:min(n, len(c.buffer))], at)
	if err != nil {
		return 0, err
	}
	for done := 0; done < read; {
		written, err := unix.Pwrite(c.to, c.buffer[done:read], at+int64(done))
		if err != nil && err != unix.EINTR {
			return 0, err
		}
		done += max(written, 0)
	}
	return read, nil
}

func checkLength(f *os.File, size int64) error {
	st, err := stat(f)
	if err == nil && st.Size != size {
		err = fmt.Errorf("%d of %d bytes could be copied", st.Size, size)
	}
	return err
}

// dress gives the draft owner, group, mode, times and access list of the mailbox as
// cp -p does, and its owner's extended attributes, but no set-user-ID, set-group-ID
// and sticky bit. The owner comes before the mode, which chown(2) may change. lost
// says what couldn't be kept that isn't the mail.
func (f *draft) dress(from *os.File, as unix.Stat_t) (lost []error, err error) {
	if err := f.Chown(int(as.Uid), int(as.Gid)); err != nil {
		return nil, err
	}
	// What the archive directory has for new files isn't the mailbox's, acl(5).
	if _, err := unix.Fgetxattr(int(f.Fd()), accessList, nil); err != unix.ENODATA && err != unix.EOPNOTSUPP {
		_ = unix.Fremovexattr(int(f.Fd()), accessList)
	}
	if err := f.Chmod(os.FileMode(as.Mode & 0o777)); err != nil {
		return nil, err
	}
	lost = f.attributes(from, as)
	err = f.byDescriptor(func(at int, path string, flags int) error {
		return unix.UtimesNanoAt(at, path, []unix.Timespec{as.Atim, as.Mtim}, flags)
	}, 0)
	if err != nil {
		err = &os.PathError{Op: "utimensat", Path: f.Name(), Err: err}
	}
	return lost, err
}
