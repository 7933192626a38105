package killstorm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// report fills the row, and writes to syslog which processes were killed.
func (s *storm) report(log *syslog.Log) {
	killed := s.killed()
	left := s.remaining()
	remaining := len(left) + s.elsewhere.count
	var all []error
	if s.goal == endOldest {
		remaining = s.above()
		all = append(all, filter.Note(rows.FormatTrimmed(len(killed), s.trim.of, s.live())))
	}
	s.due.Record.Set(rows.Killed, fmt.Sprint(len(killed)))
	s.due.Record.Set(rows.Remaining, fmt.Sprint(remaining))
	all = append(all, s.refusalErrors("")...)
	if n := len(left) + s.elsewhere.count; n > 0 {
		all = append(all, errors.New(rows.FormatRemaining(n, s.resistance(left))))
	}
	all = append(all, s.notes...)
	if unsent, why := s.audit(log, killed); unsent > 0 {
		all = append(all, filter.Note(fmt.Sprintf("%d lines for syslog not sent: %s", unsent, why)))
	}
	s.due.Err = errors.Join(append(all, s.due.Err)...)
}

// wouldKill says how many processes a run would signal, and which, the oldest first.
func (s *storm) wouldKill() string {
	const most = 20
	due := oldest(s.remaining())
	text := rows.FormatWouldKill(len(due)) + ": pids"
	for _, p := range due[:min(most, len(due))] {
		text += fmt.Sprintf(" %d", p.pid)
	}
	if more := len(due) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if counts := s.refusals(); len(counts) > 0 {
		text += " - " + rows.FormatRefused(list(counts))
	}
	return text
}

// resistance says why processes remain.
func (s *storm) resistance(left []process) string {
	counts := map[string]int{}
	for _, p := range left {
		switch {
		case p.denied == unix.EPERM:
			counts["not permitted"]++
		case p.unseen != nil:
			counts[p.unseen.Error()]++
		case p.denied != nil:
			counts[p.denied.Error()]++
		case p.state == 'D':
			counts["uninterruptible (D)"]++
		case p.late:
			counts["respawned"]++
		default:
			counts["not yet gone"]++
		}
	}
	if n := s.elsewhere; n.count > 0 {
		counts["respawned as "+field(n.comm)] += n.count
	}
	return list(counts)
}
