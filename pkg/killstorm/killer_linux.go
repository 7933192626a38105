package killstorm

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"stormcheck/pkg/proc"
)

// A killer is one run of killstorm. A signal ends it.
type killer struct {
	Options
	signals chan os.Signal
	ending  error            // what the signal was
	titles  proc.TitleReader // which remembers which processes are stuck
	answers *answers
	// abandoned is set by a second signal: what is frozen and not yet killed is resumed.
	abandoned atomic.Bool
	working   sync.Mutex // held by act
	evidence  chan bool  // holds one while evidence is written
}

func newKiller(o Options) *killer {
	return &killer{Options: o, signals: make(chan os.Signal, 1), answers: newAnswers(), evidence: make(chan bool, 1)}
}

// caught are the signals that would end killstorm, and leave processes frozen, if it
// didn't catch them. Nothing helps against KILL.
var caught = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXCPU,
}

// termination returns the signal that ends killstorm, or nil.
func (k *killer) termination() error {
	select {
	case sig := <-k.signals:
		k.ending = fmt.Errorf("ended early by a signal: %s", sig)
	default:
	}
	return k.ending
}
