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

// lastLook is how long the last to be killed at the deadline have to be gone.
const lastLook = 500 * time.Millisecond

// sweepGap is the least between two sweeps: killstorm runs above everybody else, and
// who is to die needs the processor for it.
const sweepGap = time.Millisecond

// yield is how long others have the processor between two sweeps that freeze. They
// may use it to fork, so it is short; see also rest.
const yield = 100 * time.Microsecond

// freezeFast is how long a storm's freeze has nearly all of the processor, and
// freezeMost after what time it is killed though it goes on; a variable for tests.
const freezeFast = time.Second

var freezeMost = 5 * time.Second

// patience is how long those who were killed have to be gone before the next sweep.
const patience = 500 * time.Millisecond

// longAgo is when a look was that is to be repeated.
const longAgo = 100 * time.Millisecond

// A battle ends some storms together. All are frozen first: a stopped process
// can't fork and keeps its slot, so the number of those that still run only falls,
// while a killed one frees a slot for the next.
//
// From the first STOP to the last KILL it does nothing that could wait for anybody:
// it starts no process and no thread, writes nothing, waits for no lock, and works
// in memory that it has. Only for titles it does, of processes that have stopped.
type battle struct {
	*killer
	storms   []*storm
	locked   []*storm // those whose mailboxes were, also when they aren't due any more
	deadline time.Time

	table   *proc.Table
	own     map[int]bool        // killstorm, its ancestors
	group   int                 // its process group
	byUID   map[uint32][]*storm // for meet, which Scan's workers call
	mutex   sync.Mutex
	visit   func(int, *proc.Process)
	sweeps  int           // done
	took    time.Duration // the last one
	now     uint64        // when it began, for Process.Recent
	began   time.Time     // when it was ready to freeze whom it kills
	killing bool
	stuck   bool             // somebody who was killed hasn't gone in time
	unbound bool             // the kernel keeps nothing for others
	who     [2]proc.Identity // of the processes that are looked at, for each's workers
}

func newBattle(k *killer, storms []*storm, deadline time.Time) (*battle, error) {
	table, err := proc.Open()
	if err != nil {
		return nil, err
	}
	b := &battle{
		killer: k, storms: storms, deadline: deadline,
		table: table, own: map[int]bool{}, group: syscall.Getpgrp(), byUID: map[uint32][]*storm{},
		unbound: unbound(),
	}
	b.visit = b.meet
	for _, s := range storms {
		s.index = map[id]int{}
		b.byUID[s.user.UID] = append(b.byUID[s.user.UID], s)
	}
	err = b.ancestors()
	if err == nil {
		err = b.identify(os.Getpid(), &b.who[1]) // makes its buffers
	}
	if err != nil {
		table.Close()
		return nil, err
	}
	return b, nil
}

// ancestors finds this process and all above it, who started the pipe. When one of
// them ends meanwhile its children have another parent, and it begins again.
func (b *battle) ancestors() (err error) {
	const tries = 10
	for range tries {
		if err = b.climb(); !errors.Is(err, proc.ErrGone) {
			break
		}
	}
	return err
}

func (b *battle) climb() error {
	clear(b.own)
	for pid := os.Getpid(); pid > 0 && !b.own[pid]; pid = b.who[0].PPID {
		b.own[pid] = true
		if err := b.identify(pid, &b.who[0]); err != nil {
			return fmt.Errorf("/proc/%d: %w", pid, err)
		}
	}
	return nil
}

// identify reads who has a PID.
func (b *battle) identify(pid int, who *proc.Identity) error {
	h, err := b.table.Process(pid)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.Identify(who)
}

// each passes all processes of all storms to do, the worst storm's first, from two
// goroutines: it is the kernel's work, which two processors share well.
func (b *battle) each(do func(s *storm, p *process, who *proc.Identity)) {
	for _, s := range b.storms {
		b.eachOf(s, do)
	}
}

// eachOf is each for one storm.
func (b *battle) eachOf(s *storm, do func(s *storm, p *process, who *proc.Identity)) {
	const share = 32
	var (
		wait sync.WaitGroup
		next atomic.Int64
	)
	for w := range b.who {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				end := int(next.Add(share))
				if end-share >= len(s.processes) {
					return
				}
				for i := end - share; i < min(end, len(s.processes)); i++ {
					do(s, &s.processes[i], &b.who[w])
				}
			}
		}()
	}
	wait.Wait()
}

// keep drops each storm for which why returns an error, which its row gets: nothing
// of it is ended. It is for storms of which no process was signalled.
func (b *battle) keep(why func(*storm) error) {
	var kept []*storm
	for _, s := range b.storms {
		if err := why(s); err != nil {
			s.due.Err = err
			if !b.DryRun {
				s.due.Record.Set(rows.Killed, "0")
			}
			continue
		}
		kept = append(kept, s)
	}
	b.storms = kept
}

// unpaused drops the storms that the pause file names.
func (b *battle) unpaused() {
	p := b.readPause()
	b.keep(func(s *storm) error { return p.holds(b.Options, s.due.Row) })
}

// begin reports whether processes of a storm may be signalled: they have been, or
// nothing has changed that must not change. Else it drops the storm.
func (b *battle) begin(s *storm) bool {
	if s.begun {
		return true
	}
	why := b.changed()
	if s.begun = why == nil; why != nil {
		b.keep(func(of *storm) error {
			if of == s {
				return why
			}
			return nil
		})
	}
	return s.begun
}

// over reports whether it is time to stop.
func (b *battle) over() bool { return b.toldToEnd() != nil || !time.Now().Before(b.deadline) }

// rest gives the processor to others, for two thirds of the time while sweeps take long.
func (b *battle) rest() { time.Sleep(max(sweepGap, 2*b.took)) }

// sweep reads the table.
func (b *battle) sweep() error {
	start := time.Now()
	b.now = proc.Now()
	b.sweeps++
	err := b.table.Scan(b.visit)
	if err == nil {
		b.readTitles()
	}
	b.took = time.Since(start)
	return err
}

// meet notes a process of the table if it is one of a storm's.
func (b *battle) meet(_ int, p *proc.Process) {
	for _, s := range b.byUID[p.UID] {
		if string(p.Comm) == s.comm && !p.Zombie && !p.Kernel && p.PID > 1 {
			b.mutex.Lock()
			s.meet(p, b.own[p.PID] || p.PGID == b.group, p.Recent(b.now), b.killing, b.sweeps)
			b.mutex.Unlock()
			return
		}
	}
}

// look sweeps, and keeps only those storms that are still due.
func (b *battle) look() error {
	if err := b.sweep(); err != nil {
		return err
	}
	b.examine(b.DryRun || b.Max > 0)
	b.keep(func(s *storm) error { return s.stillDue(b.sweeps, b.Max) })
	return nil
}

// examine looks at those whom the sweep has seen for a reason not to touch them: all
// of them, where their number matters, or until so many have none that the limit is
// reached. Whoever is to be stopped is looked at again then.
func (b *battle) examine(all bool) {
	for _, s := range b.storms {
		s.fit.Store(0)
		s.fitRecent.Store(0)
	}
	b.each(func(s *storm, p *process, who *proc.Identity) {
		if p.seen != b.sweeps || p.refused != "" || p.other {
			return
		}
		if !all && s.due.Limit.Reached(rows.Numbers{Count: s.fit.Load(), Recent: s.fitRecent.Load()}) {
			return
		}
		h, err := b.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		if p.refused = s.refusal(p, who); p.refused == "" {
			s.fit.Add(1)
			if p.recent {
				s.fitRecent.Add(1)
			}
		}
		h.Close()
	})
}

// open opens a process and reads who it is through the handle with which it will
// be signalled. The error is proc.ErrGone also for a zombie, and where another
// process has the PID by now.
func (b *battle) open(p *process, who *proc.Identity) (proc.Handle, error) {
	h, err := b.table.Process(p.pid)
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

// missed notes why a process couldn't be opened. If it is there all the same, the
// next sweep finds it again.
func (p *process) missed(err error) {
	p.gone = err == proc.ErrGone
	if !p.gone {
		p.unseen = err
	}
}

// refusal says why the process that was opened must not be touched, though it
// matches; "" if it may.
func (s *storm) refusal(p *process, who *proc.Identity) string {
	switch uid := s.user.UID; {
	case p.own:
		return "of its own process group or above"
	case who.Inner:
		return "in containers"
	case who.UID != uid || who.Real != uid || who.Saved != uid:
		return otherUID // a setuid program that somebody else runs
	}
	return ""
}

const otherUID = "of another real uid"

// reconsider looks again at one who had another real uid: it may just have been giving
// it up, as a server's child does that becomes the user's.
func (b *battle) reconsider(s *storm, p *process, who *proc.Identity) {
	h, err := b.open(p, who)
	if err != nil {
		p.missed(err)
		return
	}
	p.refused = s.refusal(p, who)
	h.Close()
}

// fight ends the storms, or gives up at the deadline or when this process is told
// to end. However it comes out nobody stays frozen: all were due for the kill.
func (b *battle) fight() {
	for _, s := range b.storms {
		b.keepEvidence(s)
		s.reserve()
	}
	if b.Signal != syscall.SIGKILL {
		b.unpaused()
	}
	if b.Signal != syscall.SIGKILL {
		b.ask() // without locks: they may have to write their last into the mailbox
	}
	begin := time.Now()
	if b.quit() == nil {
		b.lock() // also past the deadline, then it is tried once
		defer b.letGo()
	}
	if b.Signal == syscall.SIGKILL && time.Since(begin) > longAgo {
		b.lookAgain() // much may have happened while the locks were waited for
	}
	if err := b.quit(); err != nil || len(b.storms) == 0 {
		b.examine(true) // to say who remains
		b.fail(err)
		return
	}
	if b.Signal == syscall.SIGKILL {
		b.unpaused()
	}
	b.began = time.Now()
	fresh, err := b.freeze()
	b.fail(errors.Join(err, b.kill(fresh), b.toldToEnd()))
	b.letGo()
	b.removeDotlocks()
}

// quit is toldToEnd where nobody is frozen, so that nobody need be killed.
func (b *battle) quit() error {
	if b.frozen() {
		return nil
	}
	return b.toldToEnd()
}

// lookAgain looks again before anybody was touched.
func (b *battle) lookAgain() {
	if err := b.look(); err != nil {
		b.fail(err)
		b.storms = nil
	}
}

// fail tells all rows of an error.
func (b *battle) fail(err error) {
	for _, s := range b.storms {
		s.due.Err = err
	}
}

// ask sends the signal that isn't KILL to those who are there, and waits until they
// have followed it, or the grace is over.
func (b *battle) ask() {
	if _, err := b.freeze(); err == nil {
		b.send(b.Signal)
	}
	b.send(syscall.SIGCONT) // also when it came to nothing
	for end := time.Now().Add(b.Grace); ; {
		if b.frozen() {
			b.send(syscall.SIGCONT) // one couldn't be opened
		}
		if b.rest(); b.sweep() != nil || b.bury() == 0 || !time.Now().Before(end) || b.over() {
			return
		}
	}
}

// unbound reports whether real-time processes may have all of the processor, sched(7).
// Else the kernel keeps a twentieth for others.
func unbound() bool {
	text, _ := os.ReadFile("/proc/sys/kernel/sched_rt_runtime_us")
	return string(text) == "-1\n"
}

// freeze stops everybody whom the last sweep saw, and sweeps until it finds nobody
// new. A storm that brings new ones for ever is killed while it does: fresh is how many
// it found last.
func (b *battle) freeze() (fresh int, err error) {
	begin := time.Now()
	for again := false; ; again = true {
		fresh, _ = b.stop()
		took := time.Since(begin)
		if fresh == 0 && again && b.settled() || took > freezeMost || b.over() {
			return fresh, nil
		}
		switch {
		case took > freezeFast:
			b.rest()
		case b.unbound:
			time.Sleep(max(yield, b.took/20))
		default:
			time.Sleep(yield)
		}
		if err := b.sweep(); err != nil {
			return fresh, err
		}
	}
}

// kill kills all who are stopped, and whoever comes, until none is left. fresh of
// them came last.
func (b *battle) kill(fresh int) error {
	b.killing = true
	// One process that forks and ends all the time can slip past a sweep, so two
	// in a row have to find nobody.
	for empty := 0; empty < 2; {
		b.send(syscall.SIGKILL)
		if fresh > 0 || !b.await() {
			b.rest()
		}
		err := b.sweep()
		left, seen := b.bury(), 0
		if fresh, seen = b.stop(); left+seen == 0 {
			empty++
		} else {
			empty = 0
		}
		if err != nil || b.over() {
			b.lastKill()
			return err
		}
	}
	return nil
}

// await waits until those who were killed have gone, one after the other, for patience
// at most, for others may come. A sweep meanwhile would take from them the processor
// that they need for it. It reports whether it has waited for anybody: it doesn't any
// more once patience wasn't enough, for who is stuck would delay all others each time.
func (b *battle) await() (waited bool) {
	if b.stuck {
		return false
	}
	end := time.Now().Add(patience)
	for _, s := range b.storms {
		for i := range s.processes {
			for p := &s.processes[i]; p.killed && !b.hasGone(p); time.Sleep(sweepGap) {
				if b.stuck = time.Now().After(end); b.stuck || b.over() {
					return waited
				}
				waited = true
			}
		}
	}
	return waited
}

// hasGone looks whether a process is there any more.
func (b *battle) hasGone(p *process) bool {
	if !p.gone {
		h, err := b.open(p, &b.who[0])
		if p.gone = err == proc.ErrGone; err == nil {
			h.Close()
		}
	}
	return p.gone
}

// lastKill kills all who were stopped, and gives them a moment to be gone. Whom it
// can't open it tries again, and it goes on though the table can't be read: whoever
// hasn't got the signal by the end would stay frozen.
func (b *battle) lastKill() {
	for begin := time.Now(); ; {
		b.send(syscall.SIGKILL)
		b.release(func(p *process) bool { return !p.killed })
		most := lastLook
		if b.frozen() {
			most = 10 * lastLook
		}
		if b.bury() == 0 || time.Since(begin) >= most {
			return
		}
		b.rest()
		_ = b.sweep()
	}
}

// frozen reports whether there is somebody who was stopped, and whom the signal that
// ends it hasn't reached yet though it might.
func (b *battle) frozen() bool {
	return slices.ContainsFunc(b.storms, func(s *storm) bool {
		return slices.ContainsFunc(s.processes, func(p process) bool {
			return p.stopped && !p.killed && !p.gone && p.refused == "" && p.denied == nil
		})
	})
}

// stop stops those whom the last sweep saw and who haven't been stopped yet. It
// returns how many it stopped, and how many of the sweep are there to be dealt with:
// also those that had gone when it came, for their children may be there.
func (b *battle) stop() (stopped, left int) {
	var fresh, there atomic.Int64
	stop := func(s *storm, p *process, who *proc.Identity) {
		if p.seen != b.sweeps || p.gone || p.other {
			return
		}
		if p.refused == otherUID {
			b.reconsider(s, p, who)
		}
		if p.refused != "" {
			return
		}
		there.Add(1)
		if p.stopped || p.killed || p.denied != nil {
			return
		}
		h, err := b.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		switch why := s.refusal(p, who); {
		case why != "":
			p.refused = why
			there.Add(-1)
		case who.Kernel || !who.Leader || string(who.Comm) != s.comm: // it isn't what the sweep saw
		default:
			p.deny(h.Signal(syscall.SIGSTOP))
			if p.stopped = p.denied == nil; p.stopped {
				fresh.Add(1)
			}
		}
		h.Close()
	}
	for _, s := range b.storms {
		if b.begin(s) {
			b.eachOf(s, stop)
		}
	}
	return int(fresh.Load()), int(there.Load())
}

// send sends a signal to all who were stopped, and nobody else: stop has declined
// them. Their name may be another by now, they are the same processes; but one that
// has run a setuid program since is no longer only the user's.
func (b *battle) send(sig Signal) {
	b.each(func(s *storm, p *process, who *proc.Identity) {
		if p.killed || p.denied != nil || !p.touched() || !p.remains(b.sweeps) {
			return
		}
		h, err := b.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		p.refused = s.refusal(p, who)
		switch {
		case p.refused != "":
			_ = h.Signal(syscall.SIGCONT) // it may have got there while it was being stopped
			p.stopped = false
		case sig == syscall.SIGCONT || s.rules == nil || p.sure:
			p.sent(sig, h.Signal(sig))
		}
		h.Close()
	})
}

// sent notes what came of a signal.
func (p *process) sent(sig Signal, err error) {
	p.deny(err)
	switch {
	case err != nil:
	case sig == syscall.SIGCONT:
		p.stopped, p.sure = false, false
	default:
		p.signalled, p.killed = true, sig == syscall.SIGKILL
	}
}

// deny remembers why a signal couldn't be sent, if it couldn't.
func (p *process) deny(err error) {
	if err != proc.ErrGone {
		p.denied = err
	}
}

// bury looks for those who were stopped or signalled and whom the last sweep hasn't
// seen: they have gone, or have another name. It returns how many remain.
func (b *battle) bury() (left int) {
	var alive atomic.Int64
	b.each(func(_ *storm, p *process, who *proc.Identity) {
		if !p.remains(b.sweeps) {
			return
		}
		if p.seen != b.sweeps {
			h, err := b.open(p, who)
			if p.gone = err == proc.ErrGone; p.gone {
				return
			}
			if err == nil {
				p.state = who.State
				h.Close()
			}
		}
		alive.Add(1)
	})
	return int(alive.Load())
}
