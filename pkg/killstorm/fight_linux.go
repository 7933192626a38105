package killstorm

import (
	"errors"
	"time"
)

// stale is how old a look may be that decides about a kill.
const stale = 100 * time.Millisecond

// run ends the storms, or gives up at the deadline or after a signal. In any case no
// process stays frozen.
func (f *fight) run() {
	f.dropPaused()
	f.keep(func(*storm) error { return f.changed() })
	if len(f.storms) == 0 {
		return
	}
	defer f.closeList()
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
		f.ask() // without locks: the processes may have to write to the mailbox before they end
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

// lookAgain looks again before any process was touched.
func (f *fight) lookAgain() {
	if err := f.look(); err != nil {
		f.keep(func(*storm) error { return err })
	}
}
