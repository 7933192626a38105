package mailarchive

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
)

// failedName is the file of the mailboxes whose copy has failed. Such a mailbox has one
// try without waiting for --again-after, and comes last: what a user can do to make a
// copy slow delays his own.
const failedName = "failed.csv"

const failedHeader = "time,mailbox,error"

// A failure is a line of the file. mailbox and why are as the file has them, escaped.
type failure struct {
	at           time.Time
	mailbox, why string
}

// failures is what the file holds.
type failures []failure

// within reports whether the mailbox has failed within that time.
func (f failures) within(path string, now time.Time, d time.Duration) bool {
	path = rows.Escape(path)
	return slices.ContainsFunc(f, func(f failure) bool { return f.mailbox == path && f.isWithin(now, d) })
}

func (f failure) isWithin(now time.Time, d time.Duration) bool {
	return !f.at.After(now) && now.Sub(f.at) < d
}

// hasFailed reports whether the copy of the mailbox has failed a short while ago.
func (j *job) hasFailed(path string) bool {
	j.dir.mutex.Lock()
	defer j.dir.mutex.Unlock()
	return j.dir.failed.within(path, j.Now(), j.AgainAfter)
}

// noteFailure notes that the copy of the mailbox has failed, or hasn't: nil. If that
// can't be written the next run waits for the mailbox again.
func (j *job) noteFailure(path string, why error) {
	d, now, path := j.dir, j.Now(), rows.Escape(path)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	had := slices.ContainsFunc(d.failed, func(f failure) bool { return f.mailbox == path })
	if why == nil && !had {
		return
	}
	d.failed.read(d) // other runs write there too
	d.failed = slices.DeleteFunc(d.failed, func(f failure) bool { return f.mailbox == path || !f.isWithin(now, j.AgainAfter) })
	if why != nil && j.AgainAfter > 0 {
		d.failed = append(d.failed, failure{now, path, rows.EscapeMessage(why.Error())})
	}
	_ = d.writeFailed()
}

// read reads the file. A line that isn't as writeFailed makes it is left out.
func (f *failures) read(d *directory) {
	*f = nil
	fd, err := unix.Openat(int(d.Fd()), failedName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	file := os.NewFile(uintptr(fd), failedName)
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, 1<<20))
	for line := range strings.Lines(string(text)) {
		cells := strings.SplitN(strings.TrimSuffix(line, "\n"), ",", 3)
		if at, err := time.Parse(time.RFC3339, cells[0]); err == nil && len(cells) == 3 {
			*f = append(*f, failure{at, cells[1], cells[2]})
		}
	}
}

// writeFailed replaces the file. It needn't be on the disk.
func (d *directory) writeFailed() error {
	text := failedHeader + "\n"
	for _, f := range d.failed {
		text += fmt.Sprintf("%s,%s,%s\n", rfc3339(f.at), f.mailbox, f.why)
	}
	temporary := fmt.Sprintf(".%s.tmp%d", failedName, os.Getpid())
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(d.Fd()), temporary, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat(int(d.Fd()), temporary, int(d.Fd()), failedName)
	}
	if err != nil {
		_ = unix.Unlinkat(int(d.Fd()), temporary, 0)
	}
	d.add(failedName)
	return err
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
