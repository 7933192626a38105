package killstorm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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

// refusals counts those that were refused, by the reason.
func (s *storm) refusals() map[string]int {
	counts := map[string]int{}
	for _, p := range s.processes {
		if p.claim == refused && p.alive(s.sweep) {
			counts[p.why]++
		}
	}
	return counts
}

// refusalErrors says how many were refused and why: "refused: 3 in containers". It is a
// Note, but an error for those of the own process group: the storm was started from
// where killstorm was, and nothing else would ever end it.
func (s *storm) refusalErrors(consequence string) (all []error) {
	counts := s.refusals()
	if n := counts[ownGroup]; n > 0 {
		all = append(all, errors.New(rows.FormatRefused(fmt.Sprintf("%d %s%s", n, ownGroup, consequence))))
		delete(counts, ownGroup)
	}
	if len(counts) > 0 {
		all = append(all, filter.Note(rows.FormatRefused(list(counts)+consequence)))
	}
	return all
}

// resistance says why those that remain do.
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
		counts["respawned as "+rows.EscapeName(n.comm)] += n.count
	}
	return list(counts)
}

// list lists counts, without commas, which a message can't have.
func list(counts map[string]int) string {
	var parts []string
	for what, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, " and ")
}
