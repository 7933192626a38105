package killstorm

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// lastLook is how long the last to be killed at the deadline have to be gone.
const lastLook = 200 * time.Millisecond

// pause is between two looks at processes that are ending.
const pause = 2 * time.Millisecond

// A storm is all processes of one uid and one name. They are frozen first: a
// stopped process can't fork and keeps its slot, so the number of those that
// still run only falls, while a killed one frees a slot for the next.
type storm struct {
	uid  uint32
	comm string

	table   *proc.Table
	own     map[int]bool // killstorm, its ancestors
	group   int          // its process group
	mutex   sync.Mutex   // for found, which Scan's workers share
	found   []match      // live matches of the last sweep
	victims map[id]*victim
	refused map[id]string // matches that are not to be touched, and why
}

// An id says which process: PIDs are reused.
type id struct {
	pid   int
	start uint64
}

// A match is a live process of the storm's uid and name, as the table shows it.
type match struct {
	id
	own    bool // killstorm's own pipe, or what started it
	recent bool // started in the last 60 s
}

// A victim is a process that is to end.
type victim struct {
	stopped   bool
	signalled bool  // with a signal that ends it
	gone      bool  // or a zombie
	denied    error // why it can't be signalled
	late      bool  // it came after the killing had begun
	state     byte  // as last seen
}

// end looks at the storm again, ends it, and fills the row.
func (k *killer) end(record *rows.Record, uid uint32, comm string, limit rows.Limit) error {
	table, err := proc.Open()
	if err != nil {
		return err
	}
	defer table.Close()
	own, err := ancestors(table)
	if err != nil {
		return err
	}
	s := storm{
		uid: uid, comm: comm, table: table, own: own, group: syscall.Getpgrp(),
		victims: map[id]*victim{}, refused: map[id]string{},
	}
	if err := s.sweep(); err != nil {
		return err
	}
	if due, why := s.stillDue(limit); !due {
		if !k.DryRun {
			record.Set(rows.Killed, "0")
		}
		return filter.Note(why)
	}
	if k.DryRun {
		return filter.Note(s.wouldKill())
	}
	err = s.fight(k.Options, k.toldToEnd)

	killed, remaining := s.killed(), s.remaining()
	record.Set(rows.Killed, fmt.Sprint(killed))
	record.Set(rows.Remaining, fmt.Sprint(len(remaining)))
	if len(s.refused) > 0 {
		err = errors.Join(filter.Note("refused: "+s.refusals()), err)
	}
	if len(remaining) > 0 {
		err = errors.Join(fmt.Errorf("%d remaining: %s", len(remaining), s.resistance(remaining)), err)
	}
	return err
}

// stillDue holds the storm, as the last sweep saw it, against the limit again.
// Those that are not to be touched count too: they are there. But the others have
// to reach the limit without them, or a few processes of a person would end for
// the many of his container.
func (s *storm) stillDue(limit rows.Limit) (due bool, why string) {
	var count, recent, others, othersRecent int64
	for _, m := range s.found {
		fresh := int64(0)
		if m.recent {
			fresh = 1
		}
		h, who, err := s.open(m.id)
		if err == proc.ErrGone {
			continue
		}
		count, recent = count+1, recent+fresh
		if err != nil {
			continue
		}
		h.Close()
		if reason := s.refusal(m, who); reason != "" {
			s.refused[m.id] = reason
			continue
		}
		others, othersRecent = others+1, othersRecent+fresh
	}
	switch {
	case !limit.Reached(count, recent):
		return false, fmt.Sprintf("subsided to %d", count)
	case !limit.Reached(others, othersRecent):
		return false, fmt.Sprintf("refused: %s - too few others: %d", s.refusals(), others)
	}
	return true, ""
}

// killed returns how many victims were signalled and seen gone.
func (s *storm) killed() (n int) {
	for _, v := range s.victims {
		if v.gone && v.signalled {
			n++
		}
	}
	return n
}

// remaining returns those that are still there: victims, also under another name,
// and whoever else the last sweep has found.
func (s *storm) remaining() map[id]*victim {
	left := map[id]*victim{}
	for who, v := range s.victims {
		if !v.gone && s.refused[who] == "" {
			left[who] = v
		}
	}
	for _, m := range s.found {
		if s.victims[m.id] == nil && s.refused[m.id] == "" {
			left[m.id] = &victim{late: true}
		}
	}
	return left
}

// ancestors returns the PIDs of this process and of all above it, who started
// the pipe.
func ancestors(table *proc.Table) (map[int]bool, error) {
	pids := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !pids[pid]; {
		pids[pid] = true
		h, err := table.Process(pid)
		if err != nil {
			return nil, fmt.Errorf("/proc/%d: %w", pid, err)
		}
		who, err := h.Identity()
		h.Close()
		if err != nil {
			return nil, fmt.Errorf("/proc/%d: %w", pid, err)
		}
		pid = who.PPID
	}
	return pids, nil
}

// sweep reads the table and fills found.
func (s *storm) sweep() error {
	s.found = s.found[:0]
	now := proc.Now()
	return s.table.Scan(func(_ int, p *proc.Process) {
		if p.UID != s.uid || string(p.Comm) != s.comm || p.Zombie || p.Kernel || p.PID <= 1 {
			return
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.found = append(s.found, match{id{p.PID, p.Start}, s.own[p.PID] || p.PGID == s.group, p.Recent(now)})
	})
}

// open opens a process and reads who it is through the handle with which it will
// be signalled. The error is proc.ErrGone also for a zombie, and where another
// process has the PID by now.
func (s *storm) open(want id) (proc.Handle, proc.Identity, error) {
	h, err := s.table.Process(want.pid)
	if err != nil {
		return h, proc.Identity{}, err
	}
	who, err := h.Identity()
	if err == nil && (who.PID != want.pid || who.Start != want.start || who.Zombie) {
		err = proc.ErrGone
	}
	if err != nil {
		h.Close()
	}
	return h, who, err
}

// refusal says why a process that matches must not be touched; "" if it may.
func (s *storm) refusal(m match, who proc.Identity) string {
	switch {
	case m.own:
		return "of its own process group or above"
	case who.Inner:
		return "in containers"
	case who.UID != s.uid || who.Real != s.uid || who.Saved != s.uid:
		return "of another real uid" // a setuid program that somebody else runs
	}
	return ""
}

// hold stops those of the last sweep that haven't been stopped yet. It returns
// how many it stopped, and how many of the sweep are left to be dealt with: also
// those that had gone when it came, for their children may be there.
func (s *storm) hold(late bool) (stopped, left int) {
	for _, m := range s.found {
		v := s.victims[m.id]
		if v != nil && v.gone || s.refused[m.id] != "" {
			continue
		}
		left++
		if v != nil && (v.stopped || v.denied != nil) {
			continue
		}
		h, who, err := s.open(m.id)
		if err != nil {
			continue // the next sweep finds it again, if it is there
		}
		switch why := s.refusal(m, who); {
		case why != "":
			s.refused[m.id] = why
			left--
		case who.Kernel || !who.Leader || string(who.Comm) != s.comm: // it isn't what the sweep saw
		default:
			if v == nil {
				v = &victim{late: late, state: who.State}
				s.victims[m.id] = v
			}
			v.deny(h.Signal(syscall.SIGSTOP))
			if v.stopped = v.denied == nil; v.stopped {
				stopped++
			}
		}
		h.Close()
	}
	return stopped, left
}

// deny remembers why a signal couldn't be sent, if it couldn't.
func (v *victim) deny(err error) {
	if err != proc.ErrGone {
		v.denied = err
	}
}

// signal sends sig to every victim that isn't gone, and returns how many those
// are. Signal 0 only looks, kill(2).
func (s *storm) signal(sig Signal) (left int) {
	for want, v := range s.victims {
		if v.gone || s.refused[want] != "" {
			continue
		}
		h, who, err := s.open(want)
		if err == proc.ErrGone {
			v.gone = true
			continue
		}
		left++
		if err != nil {
			continue
		}
		v.state = who.State
		// Its name may be another by now, it is the same process; but one that has
		// run a setuid program since is no longer only the user's.
		if why := s.refusal(match{}, who); why != "" {
			s.refused[want] = why
			_ = h.Signal(syscall.SIGCONT) // it may have got there while it was being stopped
		} else {
			v.deny(h.Signal(sig))
			v.stopped = v.stopped && sig != syscall.SIGCONT
			v.signalled = v.signalled || v.denied == nil && sig != 0 && sig != syscall.SIGCONT
		}
		h.Close()
	}
	return left
}

// freeze stops everybody, until a sweep finds nobody new to stop.
func (s *storm) freeze(over func() bool) error {
	for {
		if stopped, _ := s.hold(false); stopped == 0 || over() {
			return nil
		}
		if err := s.sweep(); err != nil {
			return err
		}
	}
}

// settle waits until all victims are gone, for as long as d.
func (s *storm) settle(d time.Duration, over func() bool) {
	for end := time.Now().Add(d); s.signal(0) > 0 && time.Now().Before(end) && !over(); {
		time.Sleep(pause)
	}
}

// fight ends the storm, or gives up at the deadline or when this process is told
// to end. However it comes out nobody stays frozen: all were due for the kill.
func (s *storm) fight(o Options, toldToEnd func() error) error {
	deadline := time.Now().Add(o.Timeout)
	over := func() bool { return toldToEnd() != nil || time.Now().After(deadline) }
	if err := s.freeze(over); o.Signal != syscall.SIGKILL && err == nil && !over() {
		s.signal(o.Signal)
		s.signal(syscall.SIGCONT)
		s.settle(o.Grace, over)
		if s.sweep() == nil {
			_ = s.freeze(over) // what it couldn't see, the sweeps below must
		}
	}
	// One process that forks and ends all the time can slip past a sweep, so two
	// in a row have to find nobody.
	for empty := 0; ; {
		alive := s.signal(syscall.SIGKILL)
		err := s.sweep()
		_, left := s.hold(true)
		if empty++; err != nil || left > 0 || alive > 0 {
			empty = 0
		}
		if empty == 2 {
			return toldToEnd()
		}
		if over() {
			s.signal(syscall.SIGKILL)
			s.settle(lastLook, func() bool { return false })
			return errors.Join(toldToEnd(), err, s.sweep())
		}
		time.Sleep(pause)
	}
}

// wouldKill says how many processes a run would signal, and which, the oldest first.
func (s *storm) wouldKill() string {
	const most = 20
	due := slices.DeleteFunc(s.found, func(m match) bool { return s.refused[m.id] != "" })
	slices.SortFunc(due, func(a, b match) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid)) })
	text := fmt.Sprintf("would kill %d (dry run): pids", len(due))
	for _, m := range due[:min(most, len(due))] {
		text += fmt.Sprintf(" %d", m.pid)
	}
	if more := len(due) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(s.refused) > 0 {
		text += " - refused: " + s.refusals()
	}
	return text
}

// refusals says how many were refused, and why: "3 in containers".
func (s *storm) refusals() string {
	counts := map[string]int{}
	for _, why := range s.refused {
		counts[why]++
	}
	return tell(counts)
}

// resistance says why those that remain do.
func (s *storm) resistance(remaining map[id]*victim) string {
	counts := map[string]int{}
	for _, v := range remaining {
		switch {
		case v.denied != nil:
			counts[v.denied.Error()]++
		case v.state == 'D':
			counts["in D state"]++
		case v.late:
			counts["respawned"]++
		default:
			counts["not yet gone"]++
		}
	}
	return tell(counts)
}

// tell lists counts, without the commas that a message can't have.
func tell(counts map[string]int) string {
	var parts []string
	for what, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, " and ")
}
