package killstorm

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	proc.MakeThreads() // or it could die in the middle, with everybody frozen
	k := killer{Options: o, signals: make(chan os.Signal, 1)}
	return filter.Acting{
		Tool: "killstorm", Action: "kill", Host: o.Host, Now: o.Now,
		Needs: []rows.Column{rows.Proc, rows.Count},
		Fills: []rows.Column{rows.Killed, rows.Remaining},
		Act:   k.act,
	}.Run(env)
}

// A killer is a run, which can be told to end.
type killer struct {
	Options
	signals chan os.Signal
	told    error // by a signal
}

// ending are the signals that would end killstorm, and leave people frozen, if it
// didn't catch them while it works. Nothing helps against KILL.
var ending = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXCPU,
}

// act does what is due for one row. Once told to end it does nothing more. While
// rows are waited for, signals do what they always do.
func (k *killer) act(record *rows.Record, row rows.Row, limit rows.Limit) error {
	signal.Notify(k.signals, ending...)
	defer signal.Stop(k.signals)
	if err := k.toldToEnd(); err != nil {
		return err
	}
	uid, comm, err := target(row)
	if err != nil {
		return err
	}
	return k.end(record, uid, comm, limit)
}

// toldToEnd returns what a signal said, or nil.
func (k *killer) toldToEnd() error {
	select {
	case sig := <-k.signals:
		k.told = fmt.Errorf("ended early by a signal: %s", sig)
	default:
	}
	return k.told
}
