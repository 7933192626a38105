package killstorm

import (
	"sync/atomic"
	"time"

	"stormcheck/pkg/proc"
)

// lastGrace is how long processes that are killed at the deadline may take to be gone.
const lastGrace = 500 * time.Millisecond

// patience is how long killed processes may take to be gone before the next sweep.
const patience = 500 * time.Millisecond

// ask sends the signal of --signal, which isn't KILL, to the processes, and waits until
// they have ended or the grace is over.
func (f *fight) ask() {
	if _, err := f.freeze(); err == nil {
		f.send(f.Signal)
	}
	f.send(resumeSignal) // also if it came to nothing
	for end := time.Now().Add(f.Grace); ; {
		if f.anyFrozen() {
			f.send(resumeSignal) // one couldn't be opened
		}
		if f.rest(); f.sweep() != nil || f.countAlive() == 0 || !time.Now().Before(end) || f.over() {
			return
		}
	}
}

// kill kills all processes that are stopped, and all that come, until none is left. fresh
// is how many the last sweep found.
func (f *fight) kill(fresh int) error {
	f.killing = true
	// A process that forks and ends all the time can slip past a sweep. So two in a row have
	// to find none, not even among what has come meanwhile.
	for empty := 0; empty < 2; {
		f.send(killSignal)
		if fresh > 0 || !f.await() {
			f.rest()
		}
		err := f.sweep()
		left, there := f.countAlive(), 0
		if fresh, there = f.stop(); left+there == 0 && err == nil {
			err = f.sweepNew()
			fresh, there = f.stop()
		}
		if left+there == 0 {
			empty++
		} else {
			empty = 0
		}
		if err != nil || f.over() {
			f.finalKill()
			return err
		}
	}
	return nil
}

// send sends a signal to all processes that were stopped or signalled, and to no other.
// They may have another name by now, but they are the same processes. One that has run a
// setuid program since is no longer only the user's.
func (f *fight) send(sig Signal) {
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if p.stage == signalled || p.denied != nil || !p.touched() || !p.remains(s.sweep) {
			return
		}
		h, err := f.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		switch p.refuse(f.refusal(s, p, h, who)); {
		case p.claim != ours:
			_ = f.resume(p, h) // it may have got there while it was being stopped
			p.stage = seen
		case sig == resumeSignal:
			p.got(sig, f.resume(p, h))
		case !p.titled() || p.confirmed:
			p.got(sig, h.Signal(sig))
		}
		h.Close()
	})
}

// await waits until the killed processes have gone, at most for patience, because others
// may come. They need the processor to end, and a sweep would take it, so await looks at
// one process at a time. It reports whether it has waited for any. If none has gone in all
// that time it never waits again, because a stuck process would delay all others each
// time.
func (f *fight) await() (waited bool) {
	if f.stuck {
		return false
	}
	went, end := false, time.Now().Add(patience)
	for left := true; left; {
		left = false
		for _, s := range f.storms {
			for i := range s.processes {
				p := &s.processes[i]
				switch {
				case p.stage != signalled:
					continue
				case f.hasGone(p):
					went = true
					continue
				case f.over():
					return waited
				case time.Now().After(end):
					f.stuck = !went
					return waited
				}
				left, waited = true, true
				time.Sleep(sweepGap)
			}
		}
	}
	return waited
}

// hasGone looks whether a process has gone.
func (f *fight) hasGone(p *process) bool {
	h, err := f.open(p, &f.one)
	if err == nil {
		h.Close()
	}
	if err == proc.ErrGone {
		p.stage = gone
	}
	return p.stage == gone
}

// finalKill kills all processes that are stopped, and gives them a moment to be gone.
// After a second signal it resumes them instead. It retries a process that it can't open,
// and goes on even if the table can't be read: a process without the signal would stay
// frozen.
func (f *fight) finalKill() {
	for begin := time.Now(); ; {
		if f.abandoned.Load() {
			f.send(resumeSignal)
			return
		}
		f.send(killSignal)
		f.release(func(p *process) bool { return p.stage == frozen })
		most := lastGrace
		if f.anyFrozen() {
			most = 10 * lastGrace
		}
		if f.countAlive() == 0 || time.Since(begin) >= most {
			return
		}
		f.rest()
		_ = f.sweep()
	}
}

// countAlive looks at processes that were stopped or signalled and that the last sweep
// hasn't seen: they have gone, or have another name. It returns how many remain.
func (f *fight) countAlive() (left int) {
	var alive atomic.Int64
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if !p.remains(s.sweep) {
			return
		}
		if p.sweep != s.sweep {
			h, err := f.open(p, who)
			if err == proc.ErrGone {
				p.stage = gone
				return
			}
			if err == nil {
				p.state = who.State
				h.Close()
			}
		}
		alive.Add(1)
	})
	return int(alive.Load())
}
