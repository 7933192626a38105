package killstorm

import (
	"cmp"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	proc.MakeThreads() // or it could die in the middle, with processes frozen
	k := newKiller(o)
	signal.Notify(k.signals, caught...)
	defer signal.Stop(k.signals)
	return filter.Acting{
		Tool: "killstorm", Action: rows.ActionKill, Lesser: rows.ActionTrim, Host: o.Host, Now: o.Now,
		Needs:    []rows.Column{rows.Proc, rows.Count},
		Fills:    []rows.Column{rows.Killed, rows.Remaining},
		Together: k.act,
		Stop:     filter.NewStop(k.abandon, caught...),
	}.Run(env)
}

// A killer is a run. A signal ends it.
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

// writingTakes is how long rows may take to be written after a second signal.
const writingTakes = time.Second

// abandon is what a second signal does: killstorm resumes what is frozen, writes its
// rows if their reader takes them, and ends.
func (k *killer) abandon() {
	k.abandoned.Store(true)
	k.working.Lock() // never released: no other batch is begun
	time.Sleep(writingTakes)
	signal.Reset(syscall.SIGTERM)
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
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

// act does what is due for rows that came together. After a termination signal it does
// nothing more.
func (k *killer) act(due []*filter.Due) {
	k.working.Lock()
	defer k.working.Unlock()
	var fought []*storm
	for _, storms := range turns(k.storms(due)) {
		fought = append(fought, k.turn(storms)...)
	}
	k.lastLook(fought)
	log := syslog.Open(k.Syslog, "killstorm")
	defer log.Close()
	for _, s := range fought {
		s.report(log)
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

// turns divides storms so that a row for the same processes as one before it has its
// turn after that.
func turns(storms []*storm) (all [][]*storm) {
	for len(storms) > 0 {
		var now, later []*storm
		for _, s := range storms {
			if slices.ContainsFunc(now, func(of *storm) bool { return of.user.UID == s.user.UID && of.comm == s.comm }) {
				later = append(later, s)
			} else {
				now = append(now, s)
			}
		}
		all, storms = append(all, now), later
	}
	return all
}

// turn looks at the storms again, and ends those that are still due. It returns those:
// their rows are yet to be filled.
func (k *killer) turn(storms []*storm) (fought []*storm) {
	start := time.Now() // each turn has its time, without the name service's
	fail := func(err error) []*storm {
		for _, s := range storms {
			s.due.Err = err
		}
		return nil
	}
	if err := k.termination(); err != nil {
		return fail(err)
	}
	f, err := newFight(k, storms, start.Add(k.Timeout))
	if err != nil {
		return fail(err)
	}
	defer f.table.Close()
	if err := f.look(); err != nil {
		return fail(err)
	}
	if k.DryRun {
		f.dropPaused()
		f.keep(func(*storm) error { return k.changed() })
		f.choose()
		f.keep(func(s *storm) error { return filter.Note(s.wouldKill()) })
		return nil
	}
	if len(f.storms) > 0 {
		f.run()
	}
	return f.storms
}
