package killstorm

import (
	"cmp"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	proc.MakeThreads() // without them it could die with processes frozen
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

// turns divides storms so that of two rows for the same processes the second has its turn
// after the first.
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

// turn looks at the storms again, and ends those that are still due. It returns these,
// whose rows are not filled yet.
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
