// Package syslog writes lines to the system's log, and never waits for it: the daemon
// that reads it may be stopped, starved by a storm, or below a sender of a higher
// priority. What can't be sent is counted.
package syslog

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is where the system's log is. Tests have their own.
var Socket = "/dev/log"

// A Severity is how bad the matter is, RFC 5424, 6.2.1.
type Severity int

// The severities in use.
const (
	Error  Severity = 3
	Notice Severity = 5
)

const (
	daemon = 3 << 3 // the facility

	// patience is how long a Log tries again in all, because the socket's queue is
	// short, and pause the time between two tries.
	patience = 100 * time.Millisecond
	pause    = time.Millisecond
)

// A Log is the system's log, for a few lines that are sent together.
type Log struct {
	tool  string
	fd    int // -1 if there is none
	lost  int
	fault error
	until time.Time // when nothing is tried again any more
}

// Open connects to a log's socket. tool is the program's name in
// each line. If there is no such socket, as in a container, then there is no log, and
// no line of it is lost.
func Open(socket, tool string) *Log {
	l := &Log{tool: tool, until: time.Now().Add(patience)}
	if l.fd, l.fault = connect(socket); l.fault == unix.ENOENT {
		l.fault = nil
	}
	return l
}

// connect returns a connected descriptor that never blocks, or -1.
func connect(path string) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	err = unix.SetNonblock(fd, true)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Send sends one line, as syslog(3) does. The text must be one line of printable
// characters; what comes from outside must be escaped in it.
func (l *Log) Send(severity Severity, text string) {
	if l.fd < 0 {
		if l.fault != nil {
			l.lost++
		}
		return
	}
	line := fmt.Appendf(nil, "<%d>%s %s[%d]: %s", daemon|severity, time.Now().Format(time.Stamp), l.tool, os.Getpid(), text)
	for {
		_, err := unix.Write(l.fd, line)
		switch {
		case err == nil:
			return
		case err == unix.EINTR:
		case isFull(err) && time.Now().Before(l.until):
			time.Sleep(pause)
		default:
			l.lost, l.fault = l.lost+1, err
			return
		}
	}
}

// isFull reports whether a line may be taken in a moment: unix(7) has EAGAIN for a full
// queue, the BSDs have ENOBUFS.
func isFull(err error) bool { return err == unix.EAGAIN || err == unix.ENOBUFS }

// Lost returns how many lines were not sent since it was asked last, and why.
func (l *Log) Lost() (lines int, why error) {
	lines, l.lost = l.lost, 0
	return lines, l.fault
}

// Close ends the connection.
func (l *Log) Close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
		l.fd = -1
	}
}
