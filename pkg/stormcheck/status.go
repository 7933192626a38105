//go:build linux

package stormcheck

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/trusted"
)

// status writes how the last run went. It is fine if the run was, and a snapshot has
// passed in the last ten minutes.
func status(out io.Writer) (fine bool) {
	l, known := readLast()
	if !known {
		fmt.Fprintln(out, "no run since the machine was started, or none that you may see")
		return false
	}
	begun := l.begun.UTC().Format(time.RFC3339)
	running := unix.Kill(l.pid, 0) != unix.ESRCH
	fine = true
	switch {
	case l.ended:
		fmt.Fprintf(out, "last run %s: took %.0f s, status %d\n", begun, l.end.Sub(l.begun).Seconds(), l.status)
		fine = l.status == 0
	case !running:
		fmt.Fprintf(out, "last run %s: died\n", begun)
		fine = false
	case l.how != "once":
		fmt.Fprintf(out, "stands since %s, process %d, a snapshot each %s\n", begun, l.pid, l.how)
	default:
		fmt.Fprintf(out, "a run is under way since %s, process %d\n", begun, l.pid)
	}
	since, known := age(heartbeatPath())
	if known {
		fmt.Fprintf(out, "last snapshot that passed as a whole: %.0f s ago\n", since.Seconds())
	} else {
		fmt.Fprintln(out, "no snapshot has passed as a whole")
	}
	if text, err := trusted.Read(said()); err == nil {
		fmt.Fprintf(out, "reported: %s", text)
	}
	return fine && known && since < stuckAfter
}
