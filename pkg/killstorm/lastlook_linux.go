package killstorm

import (
	"fmt"
	"slices"
	"time"

	"stormcheck/pkg/proc"
)

// comeback is the time from the last kill to the last look. Whatever starts such processes
// has the processor and the mailbox's lock meanwhile.
const comeback = 100 * time.Millisecond

// lastLook looks once more for all storms of which killstorm has ended a process.
// Those that have come since, or have taken their name again, remain.
func (k *killer) lastLook(fought []*storm) {
	var ended []*storm
	for _, s := range fought {
		if s.goal == endAll && s.any((*process).killed) {
			ended = append(ended, s)
		}
	}
	if len(ended) == 0 {
		return
	}
	if k.termination() == nil {
		time.Sleep(comeback)
	}
	f, err := newFight(k, ended, time.Now())
	if err == nil {
		defer f.table.Close()
		err = f.lookLast()
	}
	if err != nil {
		for _, s := range ended {
			s.notes = append(s.notes, fmt.Errorf("no last look: %w", err))
		}
	}
}

func (f *fight) lookLast() error {
	f.killing = true
	var c census
	f.visit = func(w int, p *proc.Process) {
		if !f.see(p) {
			f.countOther(c, p, func(s *storm) bool { return p.Start >= s.since || s.leftName(id{p.PID, p.Start}) })
		}
	}
	// What the sweep has seen may have ended since, and left another that it hasn't seen.
	for begin := time.Now(); ; {
		c = census{}
		if err := f.sweep(); err != nil {
			return err
		}
		if err := f.sweepNew(); err != nil {
			return err
		}
		f.examine(true)
		f.countAlive()
		if !slices.ContainsFunc(f.storms, (*storm).vanished) || time.Since(begin) > time.Second || f.termination() != nil {
			break
		}
		f.rest()
	}
	for _, s := range f.storms {
		if s.vanished() { // each time
			s.keepEphemeral()
		}
		if other := f.most(c, s); other.mayBe(int64(len(s.killed()))) {
			s.elsewhere = other
		}
	}
	return nil
}

// vanished reports whether all that the last sweep has seen of the storm has ended since,
// by itself.
func (s *storm) vanished() bool {
	return s.any(func(p *process) bool { return p.ephemeral(s.sweep) }) && len(s.remaining()) == 0
}

// keepEphemeral counts what has ended by itself since the last sweep among what remains:
// it forks and ends all the time, so another lives in its place.
func (s *storm) keepEphemeral() {
	for i := range s.processes {
		if p := &s.processes[i]; p.ephemeral(s.sweep) {
			p.stage = seen
		}
	}
}

// ephemeral reports whether the sweep saw it, and it has ended by itself since.
func (p *process) ephemeral(sweep int) bool {
	return p.sweep == sweep && p.ends() && p.stage == gone && !p.touched()
}

// leftName reports whether a process of the storm runs under another name and isn't
// known to remain.
func (s *storm) leftName(id id) bool {
	i, known := s.index[id]
	return known && s.processes[i].claim == ours && !s.processes[i].touched()
}
