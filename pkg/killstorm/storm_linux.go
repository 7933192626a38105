package killstorm

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	missed  int           // live matches of the last sweep that couldn't be looked at
}

// An id says which process: PIDs are reused.
type id struct {
	pid   int
	start uint64
}

// A match is a live process of the storm's uid and name, as the table shows it.
type match struct {
	id
	own bool // killstorm's own pipe, or what started it
}

// A victim is a process that is to end.
type victim struct {
	stopped   bool
	signalled bool // with a signal that ends it
	gone      bool // or a zombie
	denied    bool // it may not be signalled
	late      bool // it came after the killing had begun
	state     byte // as last seen
}

// end looks at the storm again, ends it, and fills the row.
func (o Options) end(record *rows.Record, uid uint32, comm string, limit rows.Limit) error {
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

	recent, err := s.sweep()
	if err != nil {
		return err
	}
	if count := int64(len(s.found)); !limit.Reached(count, recent) {
		if !o.DryRun {
			record.Set(rows.Killed, "0")
		}
		return filter.Note(fmt.Sprintf("subsided to %d", count))
	}
	if o.DryRun {
		return filter.Note(s.wouldKill())
	}

	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(ended)
	err = s.fight(o, ended)

	killed, remaining := 0, s.missed
	for who, v := range s.victims {
		switch {
		case v.gone && v.signalled:
			killed++
		case !v.gone && s.refused[who] == "":
			remaining++
		}
	}
	record.Set(rows.Killed, fmt.Sprint(killed))
	record.Set(rows.Remaining, fmt.Sprint(remaining))
	if len(s.refused) > 0 {
		err = errors.Join(filter.Note("refused: "+s.refusals()), err)
	}
	if remaining > 0 {
		err = errors.Join(fmt.Errorf("%d remaining: %s", remaining, s.resistance()), err)
	}
	return err
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

// sweep reads the table and fills found. It returns how many of those found were
// started in the last 60 s.
func (s *storm) sweep() (recent int64, err error) {
	s.found = s.found[:0]
	now := proc.Now()
	err = s.table.Scan(func(_ int, p *proc.Process) {
		if p.UID != s.uid || string(p.Comm) != s.comm || p.Zombie || p.Kernel || p.PID <= 1 {
			return
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.found = append(s.found, match{id{p.PID, p.Start}, s.own[p.PID] || p.PGID == s.group})
		if p.Recent(now) {
			recent++
		}
	})
	return recent, err
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

// hold stops those of the last sweep that haven't been stopped yet, and returns
// how many there were.
func (s *storm) hold(late bool) (fresh int) {
	s.missed = 0
	for _, m := range s.found {
		v := s.victims[m.id]
		if v != nil && (v.stopped || v.denied) || s.refused[m.id] != "" {
			continue
		}
		h, who, err := s.open(m.id)
		if err != nil {
			if err != proc.ErrGone {
				s.missed++
			}
			continue
		}
		switch why := s.refusal(m, who); {
		case why != "":
			s.refused[m.id] = why
		case who.Kernel || !who.Leader || string(who.Comm) != s.comm: // it isn't what the sweep saw
		default:
			if v == nil {
				v = &victim{late: late}
				s.victims[m.id] = v
			}
			err := h.Signal(syscall.SIGSTOP)
			v.stopped, v.denied = err == nil, err == syscall.EPERM
			fresh++
		}
		h.Close()
	}
	return fresh
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
		} else if err := h.Signal(sig); err == nil {
			v.stopped = v.stopped && sig != syscall.SIGCONT
			v.signalled = v.signalled || sig != 0 && sig != syscall.SIGCONT
		} else {
			v.denied = err == syscall.EPERM
		}
		h.Close()
	}
	return left
}

// freeze stops everybody, until a sweep finds nobody new.
func (s *storm) freeze(over func() bool) error {
	for s.hold(false) > 0 && !over() {
		if _, err := s.sweep(); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until all victims are gone, for as long as d.
func (s *storm) settle(d time.Duration, over func() bool) {
	for end := time.Now().Add(d); s.signal(0) > 0 && time.Now().Before(end) && !over(); {
		time.Sleep(pause)
	}
}

// fight ends the storm, or gives up at the deadline or when this process is told
// to end. However it comes out nobody stays frozen: all were due for the kill.
func (s *storm) fight(o Options, ended <-chan os.Signal) error {
	deadline := time.Now().Add(o.Timeout)
	var told error
	over := func() bool {
		select {
		case sig := <-ended:
			told = fmt.Errorf("ended early by a signal: %s", sig)
		default:
		}
		return told != nil || time.Now().After(deadline)
	}
	if err := s.freeze(over); o.Signal != syscall.SIGKILL && err == nil && !over() {
		s.signal(o.Signal)
		s.signal(syscall.SIGCONT)
		s.settle(o.Grace, over)
		if _, err := s.sweep(); err == nil {
			_ = s.freeze(over) // what it couldn't see, the sweeps below must
		}
	}
	for {
		left := s.signal(syscall.SIGKILL)
		_, err := s.sweep()
		if err == nil && s.hold(true) == 0 && s.missed == 0 && left == 0 {
			return told
		}
		if over() {
			s.signal(syscall.SIGKILL)
			s.settle(lastLook, func() bool { return false })
			return errors.Join(told, err)
		}
		time.Sleep(pause)
	}
}

// wouldKill says how many processes a run would signal, and which, the oldest first.
func (s *storm) wouldKill() string {
	const most = 20
	slices.SortFunc(s.found, func(a, b match) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid)) })
	n, pids := 0, ""
	for _, m := range s.found {
		h, who, err := s.open(m.id)
		if err != nil {
			continue
		}
		h.Close()
		if why := s.refusal(m, who); why != "" {
			s.refused[m.id] = why
			continue
		}
		if n++; n <= most {
			pids += fmt.Sprintf(" %d", m.pid)
		}
	}
	text := fmt.Sprintf("would kill %d (dry run)", n)
	if n > 0 {
		text += ": pids" + pids
	}
	if n > most {
		text += fmt.Sprintf(" and %d more", n-most)
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

// resistance says why how many victims are still there.
func (s *storm) resistance() string {
	counts := map[string]int{}
	for want, v := range s.victims {
		switch {
		case v.gone || s.refused[want] != "":
		case v.denied:
			counts["not permitted"]++
		case v.state == 'D':
			counts["in D state"]++
		case v.late:
			counts["respawned"]++
		default:
			counts["not yet gone"]++
		}
	}
	if s.missed > 0 {
		counts["that could not be looked at"] = s.missed
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
