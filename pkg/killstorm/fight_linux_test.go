package killstorm

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/proc"
)

// ready returns a fight that has looked at the processes of a name.
func ready(t *testing.T, uid uint32, comm string, change func(*killer)) (*fight, *storm) {
	t.Helper()
	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: 20 * time.Second})
	if change != nil {
		change(k)
	}
	s := &storm{target: target{user: mailbox.User{Name: user(uid), UID: uid}, comm: comm}, due: &filter.Due{}}
	s.due.Limit.Count = 1
	b, err := newFight(k, []*storm{s}, time.Now().Add(k.Timeout))
	must(err)
	t.Cleanup(b.table.Close)
	must(b.look())
	if s.due.Err != nil {
		t.Fatal(s.due.Err)
	}
	return b, s
}

func freeze(b *fight) (fresh int) {
	fresh, err := b.freeze()
	must(err)
	return fresh
}

// until polls.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("never: " + what)
		}
	}
}

// Who runs another program between the sweep and the stop is nobody's business: no
// signal at all comes to it.
func TestRunningAnotherProgramMeansNoSignal(t *testing.T) {
	uid := who(t)
	comm := name("3")
	r, w, err := os.Pipe()
	must(err)
	defer r.Close()
	storm := victims(t, 2, uid, "plain", comm, nil)
	leaver := victims(t, 1, uid, "leaver", comm, func(cmd *exec.Cmd) {
		cmd.Path, _ = exec.LookPath("sh")
		cmd.Args = []string{"sh", "-c", `printf %s "$1" >/proc/$$/comm; echo ready; read x <&3; exec sleep 60`, "sh", comm}
		cmd.ExtraFiles = []*os.File{r}
	})
	b, s := ready(t, uid, comm, nil)
	w.Close()
	path := fmt.Sprintf("/proc/%d/comm", leaver[0].Process.Pid)
	until(t, "it runs sleep", func() bool { text, _ := os.ReadFile(path); return string(text) == "sleep\n" })
	if stopped, there := b.stop(); stopped != 2 || there != 3 {
		t.Errorf("stopped %d of %d", stopped, there)
	}
	must(leaver[0].Process.Signal(syscall.SIGSTOP)) // somebody else's doing
	until(t, "it stops", func() bool { return state(leaver[0].Process.Pid) == "T" })
	b.send(syscall.SIGCONT)
	if got := state(leaver[0].Process.Pid); got != "T" {
		t.Errorf("the bystander is in state %s", got)
	}
	b.stop()
	b.send(syscall.SIGKILL)
	must(b.kill(0))
	if living(storm) != 0 || living(leaver) != 1 || len(s.remaining()) != 0 {
		t.Errorf("%d of the storm live, %d of one bystander; remaining %+v", living(storm), living(leaver), s.remaining())
	}
}

// After a termination signal before anything is frozen it kills nothing.
func TestSignalBeforeTheFreezeKillsNobody(t *testing.T) {
	uid := who(t)
	storm := victims(t, 4, uid, "plain", name("4"), nil)
	b, s := ready(t, uid, name("4"), nil)
	b.signals <- syscall.SIGTERM
	b.run()
	if living(storm) != 4 || s.due.Err == nil {
		t.Errorf("%d live, error %v", living(storm), s.due.Err)
	}
	stopped(t, name("4"))
}

// Where there is no time left a lock is tried for all the same, and missed aloud.
func TestLockIsTriedOncePastTheDeadline(t *testing.T) {
	uid := who(t)
	_, hold := lockedBox(t, uid)
	storm := victims(t, 3, uid, "plain", name("5"), nil)
	b, s := ready(t, uid, name("5"), func(k *killer) { k.Hold, k.HoldTimeout = hold, time.Second })
	b.deadline = time.Now().Add(-time.Hour)
	b.run()
	if living(storm) != 0 || !strings.Contains(fmt.Sprint(s.notes), "not locked (held by pid ") {
		t.Errorf("%d live, notes %v", living(storm), s.notes)
	}
}

// After a grace those who have come meanwhile are killed, and so there is a lock.
func TestLockIsTakenAfterTheGrace(t *testing.T) {
	uid := who(t)
	path, hold := lockedBox(t, uid)
	victims(t, 2, uid, "plain", name("6"), nil)
	cells, _ := run1(t, due(uid, name("6"), "2"), func(o *Options) {
		o.Signal, o.Grace, o.Hold, o.HoldTimeout = syscall.SIGTERM, 10*time.Second, hold, time.Millisecond
	})
	if !strings.HasPrefix(cells, "killed=2 remaining=0 notes=killstorm: "+path+": not locked (held by pid ") {
		t.Errorf("row %s", cells)
	}
}

// The mailbox of one who isn't due any more when the lock is there isn't kept locked.
func TestMailboxOfASubsidedStormIsNotKeptLocked(t *testing.T) {
	uid := who(t)
	path, hold := box(t, uid)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	storm := victims(t, 2, uid, "plain", name("B"), nil)
	b, s := ready(t, uid, name("B"), func(k *killer) {
		k.Hold, k.HoldTimeout = hold, 10*time.Second
		k.DryRun = true // or it would fill a row
	})
	go func() {
		for _, cmd := range storm {
			must(cmd.Process.Kill())
		}
		time.Sleep(2 * stale) // the lock is waited for so long that it looks again
		f.Close()
	}()
	b.run()
	if !tryLock(t, path) || s.due.Err == nil || !strings.HasPrefix(s.due.Err.Error(), "subsided to 0 (2 zombies") { // this test doesn't reap them
		t.Errorf("free: %v; %v", tryLock(t, path), s.due.Err)
	}
}

// A group that is outside of this PID namespace is 0, and so are all others there.
func TestGroupZeroProtectsNothing(t *testing.T) {
	l := lookout{group: 7}
	if !l.isOwn(&proc.Process{PID: 9, PGID: 7}) || l.isOwn(&proc.Process{PID: 9, PGID: 8}) {
		t.Error("its own group")
	}
	if l.group = 0; l.isOwn(&proc.Process{PID: 9, PGID: 0}) {
		t.Error("group 0 is taken for its own")
	}
}

// A lock that ended before the storm did is noted, and so is one that came after that.
func TestLockThatEndedEarlyIsNoted(t *testing.T) {
	path, _ := box(t, who(t))
	open := func() *os.File { f, err := os.Open(path); must(err); return f }
	s := &storm{boxes: &boxes{}}
	if !s.boxes.add(open()) {
		t.Error("not taken")
	}
	s.boxes.expire()
	if s.boxes.add(open()) {
		t.Error("taken too late")
	}
	b := fight{locked: []*storm{s, {}}}
	b.unlock()
	b.unlock()
	if got := fmt.Sprint(s.notes, b.locked[1].notes); got != "[mailbox unlocked before the end (after 15s)] []" {
		t.Error(got)
	}
}

// A file system that doesn't answer is waited for once, not for long, and not again in
// the next fight. It takes nothing from other users.
func TestFileSystemThatDoesNotAnswerIsWaitedForOnce(t *testing.T) {
	stuck := make(chan bool)
	defer close(stuck)
	k := newKiller(Options{})
	for range 3 * mostWaiting { // fights
		dead, well := &storm{}, &storm{}
		dead.user.Name, well.user.Name = "groucho", "harpo"
		f := fight{killer: k, storms: []*storm{dead, well}}
		for turn := range 2 {
			f.forAll(time.Now().Add(5*time.Second), "no answer", func(s *storm) []error {
				if s == dead {
					<-stuck
				}
				return []error{filter.Note(fmt.Sprint("done ", turn))}
			})
		}
		if got := fmt.Sprint(well.notes, dead.notes); got != "[done 0 done 1] [no answer]" {
			t.Error(got)
		}
	}
	if n := len(k.answers.slots); n != 1 {
		t.Errorf("%d threads wait", n)
	}
}

// A lock file that was made in the grace, by one who was killed after it, is removed.
func TestDotlockMadeInTheGraceIsRemoved(t *testing.T) {
	uid := who(t)
	path, hold := box(t, uid)
	comm := name("8")
	willing := victims(t, 1, uid, "plain", comm, nil)[0]
	stubborn := victims(t, 1, uid, "stubborn", comm, nil)[0]
	made := make(chan error, 1)
	go func() {
		for living([]*exec.Cmd{willing}) > 0 {
			time.Sleep(time.Millisecond)
		}
		err := os.WriteFile(path+".new", []byte(fmt.Sprint(stubborn.Process.Pid)), 0o600)
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path+".new", int(uid), int(uid))
		}
		if err == nil {
			err = os.Rename(path+".new", path+".lock")
		}
		made <- err
	}()
	cells, _ := run1(t, due(uid, comm, "2"), func(o *Options) {
		o.Signal, o.Grace, o.Hold, o.HoldTimeout = syscall.SIGTERM, 2*time.Second, hold, time.Millisecond
	})
	must(<-made)
	want := fmt.Sprintf("removed %s.lock of killed pid %d", path, stubborn.Process.Pid)
	if _, err := os.Stat(path + ".lock"); err == nil || !strings.HasSuffix(cells, want) {
		t.Errorf("row %s; want %s; %v", cells, want, err)
	}
}

// Who gives up another real uid after the first look is the user's then.
func TestProcessThatGivesUpItsUIDIsTheUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("9")
	victims(t, 1, uid, "plain", comm, nil)
	late := victims(t, 1, 0, "setuid", comm, nil)
	b, s := ready(t, uid, comm, func(k *killer) { k.Max = 2 }) // so that it looks at both
	if list(s.refusals()) != "1 "+otherUID {
		t.Fatalf("refused: %q", s.refusals())
	}
	must(late[0].Process.Signal(syscall.SIGUSR1))
	whose := func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", late[0].Process.Pid))
		return strings.Contains(string(text), "\nUid:\t54321\t54321\t54321\t")
	}
	until(t, "it gives it up", whose)
	b.run()
	if living(late) != 0 || len(s.refusals()) > 0 {
		t.Errorf("%d live, refused %q", living(late), s.refusals())
	}
}

// piecemeal gives each text by reads of its own.
type piecemeal []string

func (p *piecemeal) Read(into []byte) (n int, err error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n = copy(into, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; (*p)[0] == "" {
		*p = (*p)[1:]
	}
	return n, nil
}

// A signal that comes while a row is written loses nothing: the rest of the snapshot is
// passed on, not acted on. It isn't a good end.
func TestSignalWhileWritingLosesNoRow(t *testing.T) {
	uid := who(t)
	row := due(uid, name("0"), "1")
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	defer signal.Stop(caught)
	var written strings.Builder
	out := writer(func(p []byte) (int, error) {
		if strings.Contains(string(p), "subsided") {
			must(syscall.Kill(os.Getpid(), syscall.SIGTERM))
			<-caught
		}
		return written.Write(p)
	})
	o := Options{Signal: syscall.SIGKILL, Timeout: time.Second, Host: func() string { return "moscow" }, Syslog: "/nowhere/log", Now: func() time.Time { return now }}
	reported := false
	err := Run(o, filter.Env{In: &piecemeal{header + row, row}, Out: out, Report: func(error) { reported = true }})
	if err != filter.ErrFailed && !reported || strings.Count(written.String(), "subsided") != 1 || strings.Count(written.String(), "ended early by a signal: terminated") != 1 {
		t.Errorf("%v: %s", err, written.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Those who came and went aren't remembered for ever, who was signalled is.
func TestProcessesThatCameAndWentAreForgotten(t *testing.T) {
	s := &storm{index: map[id]int{}}
	for sweep := 1; sweep <= 2000; sweep++ {
		for n := range 10 {
			s.see(&proc.Process{PID: sweep*10 + n, Start: 1}, process{sweep: sweep})
		}
		if sweep == 1 {
			s.processes[3].sent = syscall.SIGTERM
		}
	}
	if len(s.processes) > 200 || len(s.index) != len(s.processes) || s.processes[s.index[id{13, 1}]].pid != 13 {
		t.Errorf("%d processes, %d in the index", len(s.processes), len(s.index))
	}
}

// Who was stopped and then couldn't be opened is tried again.
func TestLastKillTriesAgainWhatCouldNotBeOpened(t *testing.T) {
	uid := who(t)
	storm := victims(t, 3, uid, "plain", name("A"), nil)
	b, _ := ready(t, uid, name("A"), nil)
	freeze(b)
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	raised := make(chan bool)
	go func() {
		time.Sleep(10 * time.Millisecond) // it has failed by then, or else this shows nothing
		must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		close(raised)
	}()
	b.finalKill()
	<-raised
	until(t, "they have gone", func() bool { return living(storm) == 0 })
}

// After a second signal nothing is killed any more, and nothing stays stopped.
func TestSecondSignalResumesWhatIsStopped(t *testing.T) {
	uid := who(t)
	comm := name("h")
	storm := victims(t, 3, uid, "plain", comm, nil)
	b, _ := ready(t, uid, comm, nil)
	freeze(b)
	b.abandoned.Store(true)
	b.finalKill()
	until(t, "they run again", func() bool {
		stays := false
		for _, cmd := range storm {
			stays = stays || state(cmd.Process.Pid) == "T"
		}
		return !stays
	})
	if living(storm) != 3 {
		t.Errorf("%d live", living(storm))
	}
}

// It looks no further than to the limit before it stops them, but for --max at all; who
// must not be touched is reported all the same, and isn't touched.
func TestExaminesNoFurtherThanToTheLimit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("C")
	storm := victims(t, 40, uid, "plain", comm, nil)
	foreign := victims(t, 3, 0, "setuid", comm, nil)
	b, s := ready(t, uid, comm, nil)
	if n := s.fit.Load(); n < 1 || n > 2*int64(len(b.workers)) {
		t.Errorf("%d examined where 1 is the limit", n)
	}
	b.Max = 40
	if must(b.look()); s.fit.Load() != 40 || list(s.refusals()) != "3 "+otherUID {
		t.Errorf("%d examined, refused %q", s.fit.Load(), s.refusals())
	}
	cells, _ := run1(t, due(uid, comm, "2"), nil)
	if cells != "killed=40 remaining=0 notes=killstorm: refused: 3 of another real uid" || living(storm) != 0 || living(foreign) != 3 {
		t.Errorf("row %s; %d and %d live", cells, living(storm), living(foreign))
	}
}

// Those who were killed are waited for: until they have gone, not for ever, and not
// after a termination signal.
func TestKilledProcessesAreWaitedFor(t *testing.T) {
	uid := who(t)
	storm := victims(t, 9, uid, "plain", name("D"), nil)
	b, s := ready(t, uid, name("D"), nil)
	s.processes[4].stage = signalled // it wasn't
	begin := time.Now()
	if b.await(); time.Since(begin) < patience || living(storm) != 9 {
		t.Errorf("%s; %d live", time.Since(begin), living(storm))
	}
	if b.await() {
		t.Error("it waits again for who is stuck")
	}
	until(t, "after a termination signal it doesn't wait on", func() bool {
		b.stuck, b.ending, begin = false, nil, time.Now()
		select {
		case b.signals <- syscall.SIGTERM:
		default: // it wasn't heeded
		}
		return !b.await() && b.ending != nil && time.Since(begin) < patience
	})
	b.stuck, b.ending, s.processes[4].stage = false, nil, seen
	freeze(b)
	b.send(syscall.SIGKILL)
	until(t, "they have gone", func() bool {
		b.await()
		return !s.any(func(p *process) bool { return p.stage != gone })
	})
	if living(storm) != 0 {
		t.Errorf("%d live", living(storm))
	}
}

// A storm of which each look finds one more is killed all the same, after a time.
func TestEndlessFreezeEndsInAKill(t *testing.T) {
	uid := who(t)
	storm := victims(t, 20, uid, "plain", name("E"), nil)
	b, s := ready(t, uid, name("E"), nil)
	clear(s.index)
	s.processes = nil
	b.visit = func(_ int, p *proc.Process) {
		if i := slices.IndexFunc(storm, func(cmd *exec.Cmd) bool { return cmd.Process.Pid == p.PID }); i >= 0 && i < b.sweeps {
			b.see(p)
		}
	}
	defer func(most time.Duration) { freezeMost = most }(freezeMost)
	freezeMost = 0
	must(b.sweep())
	fresh := freeze(b)
	if len(s.processes) == len(storm) || fresh == 0 {
		t.Errorf("it has frozen %d, %d at last", len(s.processes), fresh)
	}
	must(b.kill(fresh))
	if last := s.processes[len(s.processes)-1]; living(storm) != 0 || !last.late {
		t.Errorf("%d live; the last to come: %+v", living(storm), last)
	}
}

// Between two looks others have the processor, also where nobody can be waited for.
func TestOthersHaveTheProcessorBetweenLooks(t *testing.T) {
	uid := who(t)
	victims(t, 2, uid, "plain", name("F"), nil)
	b, s := ready(t, uid, name("F"), nil)
	for i := range s.processes {
		s.processes[i].stage, s.processes[i].denied = frozen, unix.EPERM
	}
	before, begin := b.sweeps, time.Now()
	b.deadline = begin.Add(200 * time.Millisecond)
	must(b.kill(0))
	if n, most := b.sweeps-before, int(time.Since(begin)/sweepGap); n < 2 || n > most {
		t.Errorf("%d sweeps where %d are the most", n, most)
	}
}

// After a termination signal before anything is frozen it reports rightly what remains.
func TestSignalBeforeTheFreezeCountsWhatRemains(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("G")
	victims(t, 20, uid, "plain", comm, nil)
	victims(t, 5, 0, "setuid", comm, nil)
	b, s := ready(t, uid, comm, nil)
	b.signals <- syscall.SIGTERM
	b.run()
	if n := len(s.remaining()); n != 20 || list(s.refusals()) != "5 "+otherUID {
		t.Errorf("%d remain, refused %q", n, s.refusals())
	}
}

// What is kept of the first is of the first victims.
func TestAuditIsOfTheFirstVictims(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("H")
	victims(t, auditParents, 0, "setuid", comm, nil)
	victims(t, 2, uid, "plain", comm, nil)
	b, s := ready(t, uid, comm, nil)
	for i := range s.processes {
		s.processes[i].refuse("") // as if it hadn't looked at any
	}
	b.keepAudit(s)
	if len(s.audited) != 2 {
		t.Errorf("of %d", len(s.audited))
	}
	for _, text := range s.audited {
		if !strings.HasPrefix(text, " state=S ppid=") && !strings.HasPrefix(text, " state=R ppid=") || !strings.Contains(text, " parent=") {
			t.Errorf("%q", text)
		}
	}
}

// A dry run counts the processes that are there.
func TestDryRunNamesWhatIsThere(t *testing.T) {
	s := storm{processes: []process{
		{id: id{10, 1}, sweep: 9}, {id: id{11, 1}, sweep: 9, stage: gone}, {id: id{12, 1}, sweep: 8},
		{id: id{13, 1}, sweep: 9, claim: refused, why: inContainer}, {id: id{14, 1}, sweep: 9, claim: other},
	}, sweep: 9}
	if got := s.wouldKill(); got != "would kill 1 (dry run): pids 10 - refused: 1 in containers" {
		t.Error(got)
	}
}
