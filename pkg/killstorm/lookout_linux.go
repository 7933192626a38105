package killstorm

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
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
	// The group is 0 if its leader is outside this PID namespace. So is the group of every
	// other process started from there.
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
