package killstorm

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	proc.MakeThreads() // or it could die in the middle, with everybody frozen
	k := killer{Options: o, signals: make(chan os.Signal, 1)}
	env.In = input{env.In, &k}
	defer signal.Stop(k.signals)
	return filter.Acting{
		Tool: "killstorm", Action: "kill", Host: o.Host, Now: o.Now,
		Needs:    []rows.Column{rows.Proc, rows.Count},
		Fills:    []rows.Column{rows.Killed, rows.Remaining},
		Together: k.act,
	}.Run(env)
}

// A killer is a run, which can be told to end.
type killer struct {
	Options
	signals chan os.Signal
	told    error            // by a signal
	titles  proc.TitleReader // which remembers who is stuck
}

// An input fails when the run was told to end, for more may come. All rows before have
// been written when it is read. While it is waited for, signals do what they always do.
type input struct {
	io.Reader
	k *killer
}

func (i input) Read(p []byte) (int, error) {
	signal.Stop(i.k.signals)
	if err := i.k.toldToEnd(); err != nil {
		return 0, err
	}
	return i.Reader.Read(p)
}

// ending are the signals that would end killstorm, and leave people frozen, if it
// didn't catch them while it works. Nothing helps against KILL.
var ending = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGXCPU,
}

// act does what is due for rows that came together. Once told to end it does nothing
// more, and reads no more. Signals are caught until the rows have been written, too.
func (k *killer) act(due []*filter.Due) {
	signal.Notify(k.signals, ending...)
	storms := k.storms(due)
	for len(storms) > 0 {
		start := time.Now() // each turn has its time, without the name service's
		var now, later []*storm
		for _, s := range storms {
			// A row for the same processes as one before it has its turn after that.
			if slices.ContainsFunc(now, func(other *storm) bool { return other.user.UID == s.user.UID && other.comm == s.comm }) {
				later = append(later, s)
			} else {
				now = append(now, s)
			}
		}
		k.end(now, start)
		storms = later
	}
}

// storms returns those of the rows that name processes to be ended, worst first.
func (k *killer) storms(due []*filter.Due) (storms []*storm) {
	// The name service may let each of them wait.
	targets := make([]target, len(due))
	var all sync.WaitGroup
	free := make(chan bool, 8) // as many threads may be waiting
	for i, d := range due {
		all.Add(1)
		free <- true
		go func() {
			targets[i], d.Err = k.target(d)
			<-free
			all.Done()
		}()
	}
	all.Wait()
	for i, d := range due {
		if d.Err == nil {
			storms = append(storms, &storm{target: targets[i], due: d})
		}
	}
	slices.SortStableFunc(storms, func(a, b *storm) int { return cmp.Compare(b.due.Row.Count.N, a.due.Row.Count.N) })
	return storms
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

// end looks at the storms again, ends those that are still due, and fills the rows.
func (k *killer) end(storms []*storm, start time.Time) {
	fail := func(err error) {
		for _, s := range storms {
			s.due.Err = err
		}
	}
	if err := k.toldToEnd(); err != nil {
		fail(err)
		return
	}
	b, err := newBattle(k, storms, start.Add(k.Timeout))
	if err != nil {
		fail(err)
		return
	}
	defer b.table.Close()
	if err := b.look(); err != nil {
		fail(err)
		return
	}
	if k.DryRun {
		b.unpaused()
		b.keep(func(*storm) error { return k.changed() })
		for _, s := range b.storms {
			s.due.Err = filter.Note(s.wouldKill(b.sweeps))
		}
		return
	}
	if len(b.storms) > 0 {
		b.fight()
	}
	log := openSyslog(k.Syslog)
	defer log.close()
	for _, s := range b.storms {
		s.report(log, b.sweeps)
	}
}
