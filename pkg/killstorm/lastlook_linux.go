package killstorm

import (
	"errors"
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
	const tries = 10
	for try := 0; try < tries && (try == 0 || f.vanished()); try++ {
		if try > 0 {
			f.rest()
		}
		c = census{}
		if err := errors.Join(f.sweep(), f.sweepNew()); err != nil {
			return err
		}
		f.examine(true)
		f.countAlive()
	}
	for _, s := range f.storms {
		if other := f.most(c, s); other.mayBe(int64(len(s.killed()))) {
			s.elsewhere = other
		}
	}
	return nil
}

// vanished reports whether all that the last sweep has seen of a storm has ended since, by
// itself.
func (f *fight) vanished() bool {
	return slices.ContainsFunc(f.storms, func(s *storm) bool {
		ended := func(p *process) bool { return p.sweep == s.sweep && p.ends() && p.stage == gone && !p.touched() }
		lives := func(p *process) bool { return p.remains(s.sweep) }
		return s.any(ended) && !s.any(lives)
	})
}

// leftName reports whether a process of the storm runs under another name and isn't
// known to remain.
func (s *storm) leftName(id id) bool {
	i, known := s.index[id]
	return known && s.processes[i].claim == ours && !s.processes[i].touched()
}
