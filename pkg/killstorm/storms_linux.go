package killstorm

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/thaw"
)

// A fight ends some storms together. It freezes all of them first: a stopped process
// can't fork and keeps its slot, so the number of those that still run only falls,
// while a killed one frees a slot for the next.
//
// From the first STOP to the last KILL it does nothing that could wait for another
// process: it starts no process and no thread, waits for no lock, works in memory that it
// has, and writes nothing but its list, for which there is room. The only exception are
// the titles of processes that have stopped.
type fight struct {
	*killer
	lookout
	storms   []*storm // that are still due
	locked   []*storm // whose mailboxes were locked, also if they aren't due any more
	deadline time.Time

	byUID    map[uint32][]*storm // for see, which Scan's workers call
	rootless []*storm            // whose accounts may have subordinate uids
	mutex    sync.Mutex
	visit    func(int, *proc.Process)
	began    time.Time  // when it was ready to freeze what it kills
	list     *thaw.List // of what is stopped
	killing  bool
	stuck    bool // one that was killed hasn't gone in time
	unbound  bool // the kernel keeps no processor time for others
}

// each passes all processes of all storms to do, the worst storm's first.
func (f *fight) each(do func(s *storm, p *process, who *proc.Identity)) {
	for _, s := range f.storms {
		f.eachOf(s, do)
	}
}

// eachOf passes all processes of a storm to do, from two goroutines, because the work is
// the kernel's, and two processors share it well.
func (f *fight) eachOf(s *storm, do func(s *storm, p *process, who *proc.Identity)) {
	const share = 32
	var (
		wait sync.WaitGroup
		next atomic.Int64
	)
	for w := range f.workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				end := int(next.Add(share))
				if end-share >= len(s.processes) {
					return
				}
				for i := end - share; i < min(end, len(s.processes)); i++ {
					do(s, &s.processes[i], &f.workers[w])
				}
			}
		}()
	}
	wait.Wait()
}

// keep drops each storm for which why returns an error, and puts the error into its row.
// No process of such a storm was or will be signalled.
func (f *fight) keep(why func(*storm) error) {
	var kept []*storm
	for _, s := range f.storms {
		if err := why(s); err != nil {
			s.due.Err = err
			if !f.DryRun {
				s.due.Record.Set(rows.Killed, "0")
			}
			continue
		}
		kept = append(kept, s)
	}
	f.storms = kept
}

// fail gives all rows an error.
func (f *fight) fail(err error) {
	for _, s := range f.storms {
		s.due.Err = err
	}
}

// dropPaused drops the storms that the pause file names.
func (f *fight) dropPaused() {
	p := f.readPause()
	f.keep(func(s *storm) error { return p.holds(f.Options, s.due.Row) })
}

// begin reports whether processes of a storm may be signalled: some have been already, or
// no watched file has changed. Otherwise it drops the storm.
func (f *fight) begin(s *storm) bool {
	if s.begun {
		return true
	}
	why := f.changed()
	if s.begun = why == nil; s.begun {
		return true
	}
	f.keep(func(of *storm) error {
		if of == s {
			return why
		}
		return nil
	})
	return false
}

// keepList begins the list of what is stopped, by which the next run resumes it if
// killstorm dies.
func (f *fight) keepList() {
	if f.list != nil {
		return
	}
	room := 0
	for _, s := range f.storms {
		room += cap(s.processes)
	}
	f.list = thaw.New(room)
}

// closeList removes the list, or leaves it to the next run if a process has stayed
// stopped.
func (f *fight) closeList() {
	if f.anyFrozen() {
		f.list.Close()
	} else {
		f.list.Remove()
	}
}

// resume resumes a process.
func (f *fight) resume(p *process, h proc.Handle) error {
	err := h.Signal(resumeSignal)
	f.list.Resumed(p.pid, p.start)
	return err
}

// over reports whether it is time to stop.
func (f *fight) over() bool { return f.termination() != nil || !time.Now().Before(f.deadline) }

// interrupted returns the signal that ends killstorm while nothing is frozen, so that
// nothing need be killed.
func (f *fight) interrupted() error {
	if f.anyFrozen() {
		return nil
	}
	return f.termination()
}

// anyFrozen reports whether a process was stopped and can still get the signal that ends
// it.
func (f *fight) anyFrozen() bool {
	return slices.ContainsFunc(f.storms, func(s *storm) bool {
		return s.any(func(p *process) bool { return p.stage == frozen && p.ends() && p.denied == nil })
	})
}
