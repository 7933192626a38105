package mailarchive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// step is how much is copied between two looks at the time and at what is free.
const step = 8 << 20

// quick is the size of the largest mailbox that is copied at this process's own priority.
const quick = 64 << 20

// withPriority calls work, which reads or copies the mailbox. At a lower priority work
// waits for seconds in a storm, and the kill waits with it. At real-time priority a large
// mailbox would take the processor from all others for too long, and so could one with
// many holes, or a file server that returns a byte at a time.
func (b *box) withPriority(st unix.Stat_t, work func() error) error {
	if !b.served && st.Size <= quick && st.Blocks*512 >= st.Size {
		return work()
	}
	return proc.AtSharedPriority(work)
}

// contents copies the mailbox up to the size in st, or shares the blocks if the file
// system can. Holes stay holes: like cp it asks for them only if there are fewer blocks
// than the size takes. If the mailbox has become shorter, so may the copy.
func (b *box) contents(turn *turn, to, from *os.File, st unix.Stat_t) error {
	if err := b.fitsMaxSize(st); err != nil {
		return err
	}
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	if err := b.fits(from, st); err != nil {
		return err
	}
	size := st.Size
	shown := meter{to: b.Progress, what: b.job.user.Name, size: size, begin: time.Now()}
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
			turn.progressed()
			if err == nil {
				err = b.mayGoOn(start, size)
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
func (j *job) mayGoOn(done, size int64) error {
	if err := j.inTime(); err != nil {
		return fmt.Errorf("%w: %s of %s copied", err, sizeText(done), sizeText(size))
	}
	room, err := j.room()
	if err == nil && room.free < room.reserved {
		err = errors.New(rows.FormatNoSpace(fmt.Sprintf("%s of %s copied (%s)", sizeText(done), sizeText(size), room)))
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
	case errors.Is(err, unix.EINVAL): // the file system doesn't report holes
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
