package killstorm

import (
	"errors"
	"fmt"
	"os"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

func newFight(k *killer, storms []*storm, deadline time.Time) (*fight, error) {
	look, err := openLookout()
	if err != nil {
		return nil, err
	}
	f := &fight{killer: k, lookout: look, storms: storms, deadline: deadline, byUID: map[uint32][]*storm{}, unbound: unbound()}
	f.visit = func(_ int, p *proc.Process) { f.see(p) }
	for _, s := range storms {
		if s.index == nil {
			s.index = map[id]int{}
		}
		f.byUID[s.user.UID] = append(f.byUID[s.user.UID], s)
		s.naming.table, s.naming.owner, s.naming.comm = s.table, s.owner, s.comm
		if s.subordinates.Any() && !s.people {
			f.rootless = append(f.rootless, s)
		}
	}
	return f, nil
}

// unbound reports whether real-time processes may have all of the processor, sched(7).
// Otherwise the kernel keeps a twentieth for others.
func unbound() bool {
	text, _ := os.ReadFile("/proc/sys/kernel/sched_rt_runtime_us")
	return string(text) == "-1\n"
}

// sweep reads the table.
func (f *fight) sweep() error {
	start := time.Now()
	f.now = proc.Now()
	f.sweeps++
	for _, s := range f.storms {
		s.sweep++
		if s.since == 0 {
			s.since = f.now
		}
	}
	err := f.scan(f.table.Scan)
	f.took = time.Since(start)
	return err
}

// sweepNew reads what has come since the last sweep began, as a part of that.
func (f *fight) sweepNew() error {
	start := time.Now()
	err := f.scan(f.table.ScanNew)
	f.took += time.Since(start)
	return err
}

func (f *fight) scan(table func(func(worker int, p *proc.Process)) error) error {
	err := table(f.visit)
	if err == nil {
		f.readTitles()
	}
	return err
}

// see notes a process of the table, and reports whether it is one of a storm's.
func (f *fight) see(p *proc.Process) bool {
	if p.Zombie || p.Kernel || p.PID <= 1 {
		return false
	}
	found := false
	for _, s := range f.byUID[p.UID] {
		found = f.seeIn(s, p) || found
	}
	for _, s := range f.rootless {
		if s.subordinates.Hold(p.UID) {
			found = f.seeIn(s, p) || found
		}
	}
	return found
}

// seeIn notes a process that has the uid for a storm, and reports whether it may be one
// of it.
func (f *fight) seeIn(s *storm, p *proc.Process) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	c := s.naming.of(p.Comm)
	if c == nil {
		return false
	}
	found := process{uid: p.UID, comm: c, sweep: s.sweep, recent: p.Recent(f.now), late: f.killing, terminal: p.Terminal}
	if c.name != s.comm {
		found.claim = other // until its title says otherwise
	}
	if f.isOwn(p) {
		found.refuse(ownGroup)
	}
	s.see(p, found)
	return true
}

// look sweeps, and keeps only those storms that are still due.
func (f *fight) look() error {
	if err := f.sweep(); err != nil {
		return err
	}
	f.examine(f.DryRun || f.Max > 0)
	left := map[*storm]int64{}
	f.keep(func(s *storm) error {
		err := s.stillDue(f.Max)
		var few subsided
		if errors.As(err, &few) {
			left[s] = int64(few)
		}
		return err
	})
	if len(left) > 0 {
		f.explain(left)
	}
	return nil
}

// stillDue compares what the last sweep has seen with the limits again, and sets the goal.
// Processes that must not be touched count too. But the others have to reach the limit
// without them, or a few processes of a person would end because a container has many. An
// error that is a Note is no failure.
func (s *storm) stillDue(most int64) error {
	var all, fit rows.Numbers
	for _, p := range s.processes {
		if p.claim == other || p.spared || p.sweep != s.sweep || p.stage == gone {
			continue
		}
		if p.unseen != nil {
			return fmt.Errorf("/proc/%d: %w", p.pid, p.unseen)
		}
		count(&all, p)
		if p.claim == ours {
			count(&fit, p)
		}
	}
	kill, less := s.due.Limit, s.due.Lesser
	switch {
	case kill.Reached(all) && kill.Reached(fit):
		s.goal = endAll
	case less.Reached(all) && less.Reached(fit):
		s.goal = endOldest
		fit.Count -= less.Count - 1
	case kill.Reached(all) || less.Reached(all):
		return errors.Join(s.refusalErrors(fmt.Sprintf(" - too few others: %d", fit.Count))...)
	default:
		return subsided(all.Count)
	}
	if most > 0 && fit.Count > most {
		return errors.New(rows.FormatRefused(fmt.Sprintf("%d are more than --max %d", fit.Count, most)))
	}
	return nil
}

// count adds a process to numbers.
func count(n *rows.Numbers, p process) {
	n.Count++
	if p.recent {
		n.Recent++
	}
}

// examine looks for reasons not to touch the processes that the sweep has seen. If their
// number matters it looks at all, otherwise only until enough for the limit may be
// touched. Before a process is stopped it is examined again.
func (f *fight) examine(all bool) {
	for _, s := range f.storms {
		s.fit.Store(0)
		s.fitRecent.Store(0)
	}
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if p.sweep != s.sweep || !p.ends() {
			return
		}
		if !all && s.due.Limit.Reached(rows.Numbers{Count: s.fit.Load(), Recent: s.fitRecent.Load()}) {
			return
		}
		h, err := f.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		if p.refuse(f.refusal(s, p, h, who)); p.claim == ours {
			s.fit.Add(1)
			if p.recent {
				s.fitRecent.Add(1)
			}
		}
		h.Close()
	})
}
