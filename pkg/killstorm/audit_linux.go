package killstorm

import (
	"fmt"
	"strings"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// The audit has at most so many lines for one row, and for so many processes the state and
// the parent.
const (
	auditLines   = 50
	auditParents = 20
)

// keepAudit keeps the states and parents of the first processes for the audit, because
// these are gone after the kill.
func (f *fight) keepAudit(s *storm) {
	s.audited = map[id]string{}
	who := &f.one
	for _, p := range oldest(s.processes) {
		h, err := f.open(&p, who)
		if err != nil {
			continue
		}
		why := f.refusal(s, &p, h, who)
		h.Close()
		if why != "" {
			continue
		}
		parent := who.PPID
		text := fmt.Sprintf(" state=%c ppid=%d", who.State, parent)
		if f.identify(parent, who) == nil {
			text += " parent=" + field(string(who.Comm))
		}
		if s.audited[p.id] = text; len(s.audited) == auditParents {
			return
		}
	}
}

// field is a name as the value of a field of a line, or as a part of a message. It has no
// blanks, which separate fields and words: no name can look like another field, or go on
// as the message does.
func field(name string) string { return strings.ReplaceAll(rows.EscapeName(name), " ", `\x20`) }

// audit writes to syslog which processes were killed, the oldest first. It returns how
// many lines it couldn't send, and why.
func (s *storm) audit(log *syslog.Log, killed []process) (unsent int, why error) {
	begin := fmt.Sprintf("killed uid=%d user=%s proc=%s", s.user.UID, field(s.user.Name), field(s.comm))
	for i, p := range oldest(killed) {
		if i == auditLines {
			log.Send(syslog.Notice, fmt.Sprintf("%s and %d more", begin, len(killed)-i))
			break
		}
		log.Send(syslog.Notice, fmt.Sprintf("%s pid=%d start=%s%s", begin, p.pid, stamp(p.start), s.audited[p.id]))
	}
	return log.Lost()
}

// stamp returns when a process started, by the wall clock.
func stamp(start uint64) string { return started(start).Format(time.RFC3339) }

// started returns when a process started, by the wall clock, UTC.
func started(start uint64) time.Time {
	const tick = time.Second / 100 // proc_pid_stat(5)
	return time.Now().Add(-time.Duration(proc.Now()-start) * tick).UTC()
}
