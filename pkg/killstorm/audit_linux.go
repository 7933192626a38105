package killstorm

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// What syslog is told of one row at most, and of how many the circumstances.
const (
	auditLines   = 50
	evidenceOnes = 20
)

// keepEvidence keeps what will be gone with the first ones: their parents, and what
// they did.
func (b *battle) keepEvidence(s *storm) {
	s.evidence = map[id]string{}
	who := &b.who[0]
	for _, p := range oldest(s.processes) {
		h, err := b.open(&p, who)
		if err != nil {
			continue
		}
		h.Close()
		if s.refusal(&p, who) != "" {
			continue
		}
		parent := who.PPID
		text := fmt.Sprintf(" state=%c ppid=%d", who.State, parent)
		if b.identify(parent, who) == nil {
			text += " parent=" + rows.EscapeName(string(who.Comm))
		}
		if s.evidence[p.id] = text; len(s.evidence) == evidenceOnes {
			return
		}
	}
}

// audit tells syslog who was killed, the oldest first. It returns how many lines it
// couldn't send, and why.
func (s *storm) audit(log *syslog, killed []process) (unsent int, why error) {
	whose := fmt.Sprintf("killed uid=%d user=%s proc=%s", s.user.UID, rows.EscapeName(s.user.Name), rows.EscapeName(s.comm))
	for i, p := range oldest(killed) {
		if i == auditLines {
			log.send(fmt.Sprintf("%s and %d more", whose, len(killed)-i))
			break
		}
		log.send(fmt.Sprintf("%s pid=%d start=%s%s", whose, p.pid, started(p.start), s.evidence[p.id]))
	}
	return log.unsent()
}

// started returns when a process started, by the clock on the wall.
func started(ticks uint64) string {
	const tick = time.Second / 100 // proc_pid_stat(5)
	ago := time.Duration(proc.Now()-ticks) * tick
	return time.Now().Add(-ago).UTC().Format(time.RFC3339)
}

// A syslog is the system's log. It is told without being waited for: who reads it may
// be starved or stopped.
type syslog struct {
	fd    int
	lost  int
	fault error
	slow  time.Time // when there will have been enough of trying again
}

// openSyslog connects to the socket of a log. Where there is none, as in a container,
// nobody is told, and no line is lost.
func openSyslog(path string) *syslog {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return &syslog{fd: -1, fault: err}
	}
	const patience = 100 * time.Millisecond
	l := &syslog{fd: fd, slow: time.Now().Add(patience)}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		l.close()
		if l.fd = -1; err != unix.ENOENT {
			l.fault = err
		}
	}
	return l
}

func (l *syslog) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

// send sends one line as facility daemon, severity notice, as syslog(3) does.
func (l *syslog) send(message string) {
	if l.fd < 0 {
		if l.fault != nil {
			l.lost++
		}
		return
	}
	const priority = 3<<3 | 5
	line := fmt.Sprintf("<%d>%s killstorm[%d]: %s", priority, time.Now().Format(time.Stamp), os.Getpid(), message)
	for {
		err := unix.Sendto(l.fd, []byte(line), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
		if err == nil {
			return
		}
		if err != unix.EAGAIN || time.Now().After(l.slow) {
			l.lost, l.fault = l.lost+1, err
			return
		}
		time.Sleep(sweepGap) // its queue is short, and its reader below us
	}
}

// unsent returns how many lines were lost since it was last asked, and why.
func (l *syslog) unsent() (lost int, why error) {
	lost, l.lost = l.lost, 0
	return lost, l.fault
}
