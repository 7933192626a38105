package killstorm

import (
	"fmt"
	"slices"
	"time"

	"stormcheck/pkg/filter"
)

// choose chooses once which processes of the trimmed storms end: the oldest among those
// that are unlikely to be a parent or somebody's session.
func (f *fight) choose() {
	for _, s := range f.storms {
		if s.goal == endOldest && !s.trim.done {
			s.choose(f.now, f.TrimAge)
		}
	}
}

// choose chooses by what the last sweep saw at a time, as Process.Start.
func (s *storm) choose(now uint64, age time.Duration) {
	const tick = time.Second / 100 // proc_pid_stat(5)
	parents := map[int]bool{}
	for i := range s.processes {
		if p := &s.processes[i]; p.stage != gone && p.sweep == s.sweep {
			parents[p.parent] = true
		}
	}
	live := oldest(s.remaining())
	s.trim = trim{done: true, of: len(live), excess: max(0, len(live)-int(s.due.Lesser.Count)+1)}
	chosen, kept := map[id]bool{}, map[string]int{}
	for _, p := range live {
		switch {
		case parents[p.pid]:
			kept["parents"]++
		case p.terminal:
			kept["at a terminal"]++
		case time.Duration(now-min(now, p.start))*tick < age:
			kept["younger than "+age.String()]++
		case len(chosen) < s.trim.excess:
			chosen[p.id] = true
		}
	}
	for i := range s.processes {
		p := &s.processes[i]
		p.spared = !chosen[p.id]
	}
	if few := len(chosen); few < s.trim.excess {
		s.notes = append(s.notes, filter.Note(fmt.Sprintf("only %d of %d may be trimmed: %s", few, s.trim.excess, list(kept))))
	}
}

// trims reports whether a storm is trimmed.
func (f *fight) trims() bool {
	return slices.ContainsFunc(f.storms, func(s *storm) bool { return s.goal == endOldest && !s.trim.done })
}

// above returns how many live processes are above the limit of a storm that was trimmed.
func (s *storm) above() int { return max(0, s.live()-int(s.due.Lesser.Count)+1) }

// live counts the processes that the last sweep saw, or that were touched, and that the
// row is about.
func (s *storm) live() int {
	return len(s.all(func(p *process) bool { return p.claim == ours && p.alive(s.sweep) }))
}
