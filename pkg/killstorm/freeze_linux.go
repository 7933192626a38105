package killstorm

import (
	"sync/atomic"
	"time"

	"stormcheck/pkg/proc"
)

// freezeGap is how long others have the processor between two sweeps that freeze.
// They may use it to fork, so it is short; see also rest.
const freezeGap = 100 * time.Microsecond

// freezeFast is how long the freeze takes nearly all of the processor. After freezeMost
// the storm is killed even if new processes still come; it is a variable for tests.
const freezeFast = time.Second

var freezeMost = 5 * time.Second

// freeze stops every process that the last sweep saw, and sweeps until it finds none
// that is new. A storm that brings new ones for ever is killed while it does: fresh is
// how many it found last.
func (f *fight) freeze() (fresh int, err error) {
	begin := time.Now()
	f.keepList()
	for again := false; ; again = true {
		fresh, _ = f.stop()
		took := time.Since(begin)
		if fresh == 0 && again && f.settled() || took > freezeMost || f.over() {
			return fresh, nil
		}
		switch {
		case took > freezeFast:
			f.rest()
		case f.unbound:
			time.Sleep(max(freezeGap, f.took/20))
		default:
			time.Sleep(freezeGap)
		}
		if err := f.sweep(); err != nil {
			return fresh, err
		}
	}
}

// stop stops what the last sweep saw and hasn't been stopped yet. It returns how many
// processes it stopped, and how many of the sweep's processes still matter. These include
// processes that have just gone, because their children may be there.
func (f *fight) stop() (stopped, left int) {
	var fresh, there atomic.Int64
	for _, s := range f.storms {
		if f.begin(s) {
			f.eachOf(s, func(s *storm, p *process, who *proc.Identity) { f.stopOne(s, p, who, &fresh, &there) })
		}
	}
	return int(fresh.Load()), int(there.Load())
}

func (f *fight) stopOne(s *storm, p *process, who *proc.Identity, fresh, there *atomic.Int64) {
	if p.sweep != s.sweep || p.stage == gone || p.spared {
		return
	}
	if p.claim == refused && p.why == otherUID {
		f.reconsider(s, p, who)
	}
	if p.claim != ours {
		return
	}
	there.Add(1)
	if p.stage != seen || p.denied != nil {
		return
	}
	h, err := f.open(p, who)
	if err != nil {
		p.missed(err)
		return
	}
	defer h.Close()
	switch p.refuse(f.refusal(s, p, h, who)); {
	case p.claim != ours:
		there.Add(-1)
	case who.Kernel || !who.Leader || string(who.Comm) != p.comm.name: // it isn't what the sweep saw
	default:
		if who.State != 'T' { // else another has stopped it
			f.list.Stops(p.pid, p.start)
		}
		if p.got(stopSignal, h.Signal(stopSignal)); p.stage == frozen {
			fresh.Add(1)
		}
	}
}

// reconsider looks again at a process that had another real uid: it may have been about to
// change it, as a server's child does when it becomes the user's.
func (f *fight) reconsider(s *storm, p *process, who *proc.Identity) {
	h, err := f.open(p, who)
	if err != nil {
		p.missed(err)
		return
	}
	p.refuse(f.refusal(s, p, h, who))
	h.Close()
}

// sweepGap is the least between two sweeps: killstorm runs above all others, and what
// it kills needs the processor to end.
const sweepGap = time.Millisecond

// rest gives the processor to others, for two thirds of the time while sweeps take long.
func (f *fight) rest() { time.Sleep(max(sweepGap, 2*f.took)) }
