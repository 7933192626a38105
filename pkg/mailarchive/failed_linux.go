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

// failedName is the file of the mailboxes whose copy has failed. Within --again-after such
// a mailbox has one try without waiting, and comes last, so that a user who makes copies
// slow delays only his own.
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

// read reads the file in a directory. A line that isn't as write makes it is left out.
func (f *failures) read(dir *os.File) {
	*f = nil
	fd, err := unix.Openat(int(dir.Fd()), failedName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
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

// write replaces the file in a directory. It needn't be on the disk.
func (f failures) write(dir *os.File) error {
	text := failedHeader + "\n"
	for _, one := range f {
		text += fmt.Sprintf("%s,%s,%s\n", rfc3339(one.at), one.mailbox, one.why)
	}
	at := int(dir.Fd())
	temporary := fmt.Sprintf(".%s.tmp%d", failedName, os.Getpid())
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, temporary, flags, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat(at, temporary, at, failedName)
	}
	if err != nil {
		_ = unix.Unlinkat(at, temporary, 0)
	}
	return err
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
