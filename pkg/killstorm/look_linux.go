package killstorm

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// A lookout reads the process table.
type lookout struct {
	table  *proc.Table
	own    map[int]bool  // killstorm and its ancestors
	group  int           // its process group, 0 if that is unknown
	sweeps int           // done
	took   time.Duration // the last one
	now    uint64        // when it began, for Process.Recent

	workers [2]proc.Identity // of the processes that each passes, one for each goroutine
	one     proc.Identity    // of a process that is looked at alone
}

func openLookout() (l lookout, err error) {
	// The group is 0 if its leader is outside of this PID namespace, and so is that of
	// every other process from there.
	l = lookout{own: map[int]bool{}, group: syscall.Getpgrp()}
	if l.table, err = proc.Open(); err != nil {
		return l, err
	}
	if err = l.ancestors(); err == nil {
		for w := range l.workers {
			err = errors.Join(err, l.identify(os.Getpid(), &l.workers[w])) // makes its buffers
		}
	}
	if err != nil {
		l.table.Close()
	}
	return l, err
}

// ancestors finds this process and all above it, which started the pipe. If one of
// them ends meanwhile, its children have another parent, and it begins again.
func (l *lookout) ancestors() (err error) {
	const tries = 10
	for range tries {
		if err = l.climb(); !errors.Is(err, proc.ErrGone) {
			break
		}
	}
	return err
}

func (l *lookout) climb() error {
	clear(l.own)
	for pid := os.Getpid(); pid > 0 && !l.own[pid]; pid = l.one.PPID {
		l.own[pid] = true
		if err := l.identify(pid, &l.one); err != nil {
			return fmt.Errorf("/proc/%d: %w", pid, err)
		}
	}
	return nil
}

// identify reads the identity of the process that has a PID.
func (l *lookout) identify(pid int, who *proc.Identity) error {
	h, err := l.table.Process(pid)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.Identify(who)
}

// isOwn reports whether a process is killstorm's own pipe, or started it.
func (l *lookout) isOwn(p *proc.Process) bool {
	return l.own[p.PID] || l.group != 0 && p.PGID == l.group
}

// each passes all processes of all storms to do, the worst storm's first.
func (f *fight) each(do func(s *storm, p *process, who *proc.Identity)) {
	for _, s := range f.storms {
		f.eachOf(s, do)
	}
}

// eachOf passes all processes of a storm to do, from two goroutines: it is the
// kernel's work, which two processors share well.
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

// sweep reads the table.
func (f *fight) sweep() error {
	start := time.Now()
	f.now = proc.Now()
	f.sweeps++
	for _, s := range f.storms {
		s.sweep++
		if s.since == 0 {
			s.since = f.now
		}
	}
	err := f.table.Scan(f.visit)
	if err == nil {
		f.readTitles()
	}
	f.took = time.Since(start)
	return err
}

// meet notes a process of the table, and reports whether it is one of a storm's.
func (f *fight) meet(p *proc.Process) bool {
	if p.Zombie || p.Kernel || p.PID <= 1 {
		return false
	}
	met := false
	for _, s := range f.byUID[p.UID] {
		met = f.meetIn(s, p) || met
	}
	for _, s := range f.rootless {
		if s.subordinates.Hold(p.UID) {
			met = f.meetIn(s, p) || met
		}
	}
	return met
}

// meetIn notes a process that has the uid for a storm, and reports whether it may be one
// of it.
func (f *fight) meetIn(s *storm, p *proc.Process) bool {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	c := s.naming.of(p.Comm)
	if c == nil {
		return false
	}
	found := process{uid: p.UID, comm: c, sweep: s.sweep, recent: p.Recent(f.now), late: f.killing, terminal: p.Terminal}
	if c.name != s.comm {
		found.claim = other // until its title says otherwise
	}
	if f.isOwn(p) {
		found.refuse(ownGroup)
	}
	s.meet(p, found)
	return true
}

// look sweeps, and keeps only those storms that are still due.
func (f *fight) look() error {
	if err := f.sweep(); err != nil {
		return err
	}
	f.examine(f.DryRun || f.Max > 0)
	left := map[*storm]int64{}
	f.keep(func(s *storm) error {
		err := s.stillDue(f.Max)
		var few subsided
		if errors.As(err, &few) {
			left[s] = int64(few)
		}
		return err
	})
	if len(left) > 0 {
		f.explain(left)
	}
	return nil
}

// subsided is the error of a storm of which so many processes are left, too few for
// the limit.
type subsided int64

func (s subsided) Error() string { return rows.FormatSubsided(int64(s), "") }

// keep drops each storm for which why returns an error, which its row gets. None of
// its processes was signalled, and none will be.
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

// stillDue holds what the last sweep has seen against the limits again, and sets the
// goal. Processes that
// must not be touched count too: they are there. But the others have to reach the
// limit without them, or a few processes of a person would end for the many of a
// container. An error that is a Note is no failure.
func (s *storm) stillDue(most int64) error {
	var all, fit rows.Numbers
	for _, p := range s.processes {
		if p.claim == other || p.spared || p.sweep != s.sweep || p.stage == gone {
			continue
		}
		if p.unseen != nil {
			return fmt.Errorf("/proc/%d: %w", p.pid, p.unseen)
		}
		count(&all, p)
		if p.claim == ours {
			count(&fit, p)
		}
	}
	kill, less := s.due.Limit, s.due.Lesser
	switch {
	case kill.Reached(all) && kill.Reached(fit):
		s.goal = endAll
	case less.Reached(all) && less.Reached(fit):
		s.goal = endOldest
		fit.Count -= less.Count - 1
	case kill.Reached(all) || less.Reached(all):
		return errors.Join(s.refusalErrors(fmt.Sprintf(" - too few others: %d", fit.Count))...)
	default:
		return subsided(all.Count)
	}
	if most > 0 && fit.Count > most {
		return errors.New(rows.FormatRefused(fmt.Sprintf("%d are more than --max %d", fit.Count, most)))
	}
	return nil
}

// count adds a process to numbers.
func count(n *rows.Numbers, p process) {
	n.Count++
	if p.recent {
		n.Recent++
	}
}

// examine looks at what the sweep has seen for a reason not to touch it: at all of
// it, if its number matters, or until so many have none that the limit is reached.
// What is to be stopped is looked at again then.
func (f *fight) examine(all bool) {
	for _, s := range f.storms {
		s.fit.Store(0)
		s.fitRecent.Store(0)
	}
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if p.sweep != s.sweep || !p.ends() {
			return
		}
		if !all && s.due.Limit.Reached(rows.Numbers{Count: s.fit.Load(), Recent: s.fitRecent.Load()}) {
			return
		}
		h, err := f.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		if p.refuse(f.refusal(s, p, h, who)); p.claim == ours {
			s.fit.Add(1)
			if p.recent {
				s.fitRecent.Add(1)
			}
		}
		h.Close()
	})
}

// open opens a process and reads its identity through the handle with which it will
// be signalled. The error is proc.ErrGone also for a zombie, and if another process
// has the PID by now.
func (l *lookout) open(p *process, who *proc.Identity) (proc.Handle, error) {
	h, err := l.table.Process(p.pid)
	if err != nil {
		return h, err
	}
	err = h.Identify(who)
	p.unseen = nil
	if err == nil && (who.PID != p.pid || who.Start != p.start || who.Zombie) {
		err = proc.ErrGone
	}
	if err != nil {
		h.Close()
	}
	return h, err
}

// Why processes that match are refused.
const (
	ownGroup    = "of its own process group or above"
	inContainer = "in containers"
	foreign     = "in containers that others made"
	firstOne    = "the first of containers"
	otherUID    = "of another real uid"
	byTitle     = "named by titles and not spelled by the limits row"
	stranger    = "of a subordinate uid in a foreign user namespace" // the row isn't about it
)

// refusal says why the process that was opened must not be touched, though it
// matches; "" if it may.
func (f *fight) refusal(s *storm, p *process, h proc.Handle, who *proc.Identity) string {
	switch uid := p.uid; {
	case p.why == ownGroup || p.why == byTitle:
		return p.why
	case who.UID != uid || who.Real != uid || who.Saved != uid:
		return otherUID // a setuid program that somebody else runs
	case uid != s.user.UID && !s.madeUser(h):
		return stranger
	case !who.Inner:
		return ""
	case !f.AllowOwnContainers:
		return inContainer
	case who.First:
		return firstOne
	case !s.owns(h):
		return foreign
	}
	return ""
}

// owns reports whether the storm's account made every container that a process is in.
func (s *storm) owns(h proc.Handle) bool {
	owners, err := h.ContainerOwners()
	return err == nil && len(owners) > 0 && !slices.ContainsFunc(owners, func(uid uint32) bool {
		return uid != s.user.UID && !s.subordinates.Hold(uid)
	})
}

// madeUser reports whether the storm's account made a user namespace that a process is
// in. Else its uid only happens to be a subordinate one.
func (s *storm) madeUser(h proc.Handle) bool {
	owners, err := h.UserOwners()
	return err == nil && slices.Contains(owners, s.user.UID)
}
