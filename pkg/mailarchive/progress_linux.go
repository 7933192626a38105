package mailarchive

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
)

// terminal returns w if it is a terminal, and nil if it isn't: cron mails whatever
// is printed.
func terminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return w
		}
	}
	return nil
}

// A copy that takes less than patience shows nothing; a longer one shows its progress from
// time to time.
const (
	patience = time.Second
	often    = 200 * time.Millisecond
)

// A meter shows on one line of a terminal how far a copy is.
type meter struct {
	to    io.Writer // nil: nowhere
	what  string
	size  int64
	begin time.Time
	last  time.Time // when it was shown
}

func (m *meter) show(done int64) {
	now := time.Now()
	if m.to == nil || now.Sub(m.begin) < patience || now.Sub(m.last) < often {
		return
	}
	m.last = now
	fmt.Fprintf(m.to, "\r\x1b[Kmailarchive: %s: %s of %s", rows.Printable(m.what), sizeText(done), sizeText(m.size))
}

// clear takes the line away.
func (m *meter) clear() {
	if !m.last.IsZero() {
		fmt.Fprint(m.to, "\r\x1b[K")
	}
}
