package killstorm

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// A storm is all processes of one uid and one name, and what becomes of them.
type storm struct {
	target
	naming    naming
	due       *filter.Due
	processes []process // all that were ever seen
	index     map[id]int
	sweep     int    // the last one that looked for them
	since     uint64 // when the first sweep that looked for them began, as Process.Start
	elsewhere crowd  // what has come under another name when the storm was killed
	goal      goal
	trim      trim
	begun     bool          // one may have been signalled
	notes     []error       // for the row, besides what came of it
	boxes     *boxes        // its mailboxes, nil if none was locked
	silent    bool          // the file system of its mailboxes doesn't answer
	audited   map[id]string // what the audit says of the first ones besides their PIDs

	fit, fitRecent atomic.Int64 // the examined processes that aren't refused, and how many of these are recent
}

// see notes a process that a sweep has seen. The table's p is valid only during the call.
func (s *storm) see(p *proc.Process, found process) {
	found.id = id{p.PID, p.Start}
	i, known := s.index[found.id]
	if !known {
		if len(s.processes) == cap(s.processes) {
			s.forget(found.sweep)
		}
		found.spared = s.trim.done
		i = len(s.processes)
		s.processes = append(s.processes, found)
		s.index[found.id] = i
	}
	at := &s.processes[i]
	at.sweep, at.state, at.parent = found.sweep, p.State, p.PPID
}

// forget drops processes that have gone untouched: in a storm most do, and each sweep
// would look at them again.
func (s *storm) forget(sweep int) {
	s.processes = slices.DeleteFunc(s.processes, func(p process) bool {
		return p.sweep < sweep-1 && !p.touched()
	})
	clear(s.index)
	for i, p := range s.processes {
		s.index[p.id] = i
	}
}

// reserve allocates memory for the processes that the sweeps will find, because there may
// be none left then.
func (s *storm) reserve() {
	room := 2*len(s.processes) + 256
	s.processes = slices.Grow(s.processes, room)
	index := make(map[id]int, len(s.processes)+room)
	for i, p := range s.processes {
		index[p.id] = i
	}
	s.index = index
}

// any reports whether is holds for one process.
func (s *storm) any(is func(*process) bool) bool {
	for i := range s.processes {
		if is(&s.processes[i]) {
			return true
		}
	}
	return false
}

// all returns the processes for which are holds.
func (s *storm) all(are func(*process) bool) (found []process) {
	for i := range s.processes {
		if p := &s.processes[i]; are(p) {
			found = append(found, *p)
		}
	}
	return found
}

// remaining returns those that live, and should have ended.
func (s *storm) remaining() []process {
	return s.all(func(p *process) bool { return p.remains(s.sweep) })
}

// killed returns those that killstorm has ended.
func (s *storm) killed() []process { return s.all((*process).killed) }

// A goal is what a row wants.
type goal uint8

const (
	endAll    goal = iota // the action kill
	endOldest             // the action trim: bring the storm under the limit
)

// A trim is what was chosen of a storm whose oldest processes end.
type trim struct {
	done   bool // no more are chosen
	of     int  // live processes when it was done
	excess int  // of them, those that had to end
}

// A crowd is processes of one name.
type crowd struct {
	comm  string
	count int
}

// mayBe reports whether so many may be a storm of n processes under another name.
func (c crowd) mayBe(n int64) bool { return c.count >= 5 && 10*int64(c.count) >= n }

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
