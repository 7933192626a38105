package killstorm

import (
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"stormcheck/pkg/proc"
)

// stale is how old a look may be that decides about a kill.
const stale = 100 * time.Millisecond

// A fight ends some storms together. It freezes all of them first: a stopped process
// can't fork and keeps its slot, so the number of those that still run only falls,
// while a killed one frees a slot for the next.
//
// From the first STOP to the last KILL it does nothing that could wait for another
// process: it starts no process and no thread, writes nothing, waits for no lock, and
// works in memory that it has. It makes an exception for titles alone, of processes
// that have stopped.
type fight struct {
	*killer
	lookout
	storms   []*storm // that are still due
	locked   []*storm // whose mailboxes were locked, also if they aren't due any more
	deadline time.Time

	byUID    map[uint32][]*storm // for meet, which Scan's workers call
	rootless []*storm            // whose accounts may have subordinate uids
	mutex    sync.Mutex
	visit    func(int, *proc.Process)
	began    time.Time // when it was ready to freeze what it kills
	killing  bool
	stuck    bool // one that was killed hasn't gone in time
	unbound  bool // the kernel keeps no processor time for others
}

func newFight(k *killer, storms []*storm, deadline time.Time) (*fight, error) {
	look, err := openLookout()
	if err != nil {
		return nil, err
	}
	f := &fight{killer: k, lookout: look, storms: storms, deadline: deadline, byUID: map[uint32][]*storm{}, unbound: unbound()}
	f.visit = func(_ int, p *proc.Process) { f.meet(p) }
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

// run ends the storms, or gives up at the deadline or after a signal. However it comes
// out no process stays frozen.
func (f *fight) run() {
	f.dropPaused()
	f.keep(func(*storm) error { return f.changed() })
	if len(f.storms) == 0 {
		return
	}
	f.writeEvidence()
	for _, s := range f.storms {
		f.keepAudit(s)
		s.reserve()
	}
	polite := f.Signal != killSignal
	if polite {
		if f.trims() {
			f.lock()
			f.lookAgain()
			f.choose()
			f.unlock()
		}
		f.dropPaused()
		f.ask() // without locks: they may have to write their last into the mailbox
	}
	begin := time.Now()
	if f.interrupted() == nil {
		f.lock() // also past the deadline, then it is tried once
		defer f.unlock()
	}
	if !polite {
		if time.Since(begin) > stale || f.trims() {
			f.lookAgain() // much may have happened while the locks were waited for
		}
		f.choose()
		f.dropPaused()
	}
	if err := f.interrupted(); err != nil || len(f.storms) == 0 {
		f.examine(true) // to say what remains
		f.fail(err)
		return
	}
	f.began = time.Now()
	fresh, err := f.freeze()
	f.fail(errors.Join(err, f.kill(fresh), f.termination()))
	f.unlock()
	f.removeDotlocks()
}

// interrupted returns the signal that ends killstorm while nothing is frozen, so that
// nothing need be killed.
func (f *fight) interrupted() error {
	if f.anyFrozen() {
		return nil
	}
	return f.termination()
}

// lookAgain looks again before any process was touched.
func (f *fight) lookAgain() {
	if err := f.look(); err != nil {
		f.keep(func(*storm) error { return err })
	}
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

// begin reports whether processes of a storm may be signalled: if some have been, or
// nothing has changed that must not change. Else it drops the storm.
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

// over reports whether it is time to stop.
func (f *fight) over() bool { return f.termination() != nil || !time.Now().Before(f.deadline) }

// anyFrozen reports whether there is a process that was stopped, and that the signal
// that ends it hasn't reached yet though it might.
func (f *fight) anyFrozen() bool {
	return slices.ContainsFunc(f.storms, func(s *storm) bool {
		return s.any(func(p *process) bool { return p.stage == frozen && p.ends() && p.denied == nil })
	})
}

// unbound reports whether real-time processes may have all of the processor, sched(7).
// Else the kernel keeps a twentieth for others.
func unbound() bool {
	text, _ := os.ReadFile("/proc/sys/kernel/sched_rt_runtime_us")
	return string(text) == "-1\n"
}
