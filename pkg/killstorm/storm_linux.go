package killstorm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// A storm is all processes of one uid and one name, and what becomes of them.
type storm struct {
	target
	due       *filter.Due
	processes []process     // all that were ever seen
	index     map[id]int    // in processes
	notes     []error       // told with what came of it
	evidence  map[id]string // what was known of the first ones before the freeze
	begun     bool          // a process of it may have been signalled
	held      locks
	silent    bool // the file system of its mailbox doesn't answer

	fit, fitRecent atomic.Int64 // of those examined: not refused, and of them recent
}

// An id says which process: PIDs are reused.
type id struct {
	pid   int
	start uint64
}

// A process matches, or did: it may have taken another name.
type process struct {
	id
	seen      int    // the sweep that saw it last
	state     byte   // then, proc_pid_stat(5)
	own       bool   // killstorm's own pipe, or what started it
	recent    bool   // started in the last 60 s
	late      bool   // it came after the killing had begun
	other     bool   // its title says that the row isn't about it, or didn't say that it is
	sure      bool   // its title was right when it had stopped
	refused   string // why it isn't to be touched; "" if it may be
	unseen    error  // why it couldn't be opened
	denied    error  // why it couldn't be signalled
	stopped   bool
	signalled bool // with a signal that ends it
	killed    bool // with KILL
	gone      bool // or a zombie
}

// touched reports whether it was made to do anything, so that it is ours to see
// the end of.
func (p *process) touched() bool { return p.stopped || p.signalled }

// remains reports whether it is there after the sweep, and nobody's but the storm's.
func (p *process) remains(sweep int) bool {
	return !p.gone && !p.other && p.refused == "" && (p.seen == sweep || p.touched())
}

// meet notes what a sweep has seen. The table's p is valid only now.
func (s *storm) meet(p *proc.Process, own, recent, late bool, sweep int) {
	who := id{p.PID, p.Start}
	i, known := s.index[who]
	if !known {
		if len(s.processes) == cap(s.processes) {
			s.forget(sweep)
		}
		i = len(s.processes)
		s.processes = append(s.processes, process{id: who, own: own, recent: recent, late: late})
		s.index[who] = i
	}
	s.processes[i].seen, s.processes[i].state = sweep, p.State
}

// forget makes room of those that have gone without having been touched: in a storm
// most do, and would be looked at for ever.
func (s *storm) forget(sweep int) {
	s.processes = slices.DeleteFunc(s.processes, func(p process) bool {
		return p.seen < sweep-1 && !p.touched() && p.refused == ""
	})
	clear(s.index)
	for i, p := range s.processes {
		s.index[p.id] = i
	}
}

// reserve makes room for those who will be met, so that none has to be found
// when there is no memory left.
func (s *storm) reserve() {
	room := 2*len(s.processes) + 256
	s.processes = slices.Grow(s.processes, room)
	index := make(map[id]int, len(s.processes)+room)
	for i, p := range s.processes {
		index[p.id] = i
	}
	s.index = index
}

// stillDue holds what the sweep has seen against the limit again. Those that are not
// to be touched count too: they are there. But the others have to reach the limit
// without them, or a few processes of a person would end for the many of his
// container. Of what it returns, a Note is no failure.
func (s *storm) stillDue(sweep int, most int64) error {
	var count, recent, others, othersRecent int64
	for _, p := range s.processes {
		if p.seen != sweep || p.gone || p.other {
			continue
		}
		if p.unseen != nil {
			return fmt.Errorf("/proc/%d: %w", p.pid, p.unseen)
		}
		fresh := int64(0)
		if p.recent {
			fresh = 1
		}
		count, recent = count+1, recent+fresh
		if p.refused == "" {
			others, othersRecent = others+1, othersRecent+fresh
		}
	}
	switch limit := s.due.Limit; {
	case !limit.Reached(rows.Numbers{Count: count, Recent: recent}):
		return filter.Note(fmt.Sprintf("subsided to %d", count))
	case !limit.Reached(rows.Numbers{Count: others, Recent: othersRecent}):
		return filter.Note(fmt.Sprintf("refused: %s - too few others: %d", s.refusals(), others))
	case most > 0 && others > most:
		return fmt.Errorf("refused: %d are more than --max %d", others, most)
	}
	return nil
}

// report fills the row, and tells syslog who was killed.
func (s *storm) report(log *syslog, sweep int) {
	var killed []process
	for _, p := range s.processes {
		if p.gone && p.signalled {
			killed = append(killed, p)
		}
	}
	remaining := s.remaining(sweep)
	s.due.Record.Set(rows.Killed, fmt.Sprint(len(killed)))
	s.due.Record.Set(rows.Remaining, fmt.Sprint(len(remaining)))
	var told []error
	if refusals := s.refusals(); refusals != "" {
		told = append(told, filter.Note("refused: "+refusals))
	}
	if len(remaining) > 0 {
		told = append(told, fmt.Errorf("%d remaining: %s", len(remaining), resistance(remaining)))
	}
	told = append(told, s.notes...)
	if unsent, why := s.audit(log, killed); unsent > 0 {
		told = append(told, filter.Note(fmt.Sprintf("%d lines for syslog not sent: %s", unsent, why)))
	}
	s.due.Err = errors.Join(append(told, s.due.Err)...)
}

// remaining returns those that are still there, as the last sweep saw them.
func (s *storm) remaining(sweep int) (left []process) {
	for _, p := range s.processes {
		if p.remains(sweep) {
			left = append(left, p)
		}
	}
	return left
}

// wouldKill says how many processes a run would signal, and which, the oldest first.
func (s *storm) wouldKill(sweep int) string {
	const most = 20
	due := oldest(s.remaining(sweep))
	text := fmt.Sprintf("would kill %d (dry run): pids", len(due))
	for _, p := range due[:min(most, len(due))] {
		text += fmt.Sprintf(" %d", p.pid)
	}
	if more := len(due) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if refusals := s.refusals(); refusals != "" {
		text += " - refused: " + refusals
	}
	return text
}

// oldest returns the processes that are the row's and not refused, the oldest first.
func oldest(all []process) []process {
	all = slices.DeleteFunc(slices.Clone(all), func(p process) bool { return p.refused != "" || p.other })
	slices.SortFunc(all, func(a, b process) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid)) })
	return all
}

// refusals says how many were refused, and why: "3 in containers".
func (s *storm) refusals() string {
	counts := map[string]int{}
	for _, p := range s.processes {
		if p.refused != "" {
			counts[p.refused]++
		}
	}
	return tell(counts)
}

// resistance says why those that remain do.
func resistance(remaining []process) string {
	counts := map[string]int{}
	for _, p := range remaining {
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
	return tell(counts)
}

// tell lists counts, without the commas that a message can't have.
func tell(counts map[string]int) string {
	var parts []string
	for what, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, " and ")
}
