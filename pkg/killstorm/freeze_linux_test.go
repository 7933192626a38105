package killstorm

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/thaw"
)

// freezeAndWait is a killstorm that stops a storm, "DIR UID NAME", and then waits.
func freezeAndWait(what string) {
	var uid uint32
	var comm string
	if _, err := fmt.Sscan(what, &thaw.Dir, &uid, &comm); err != nil {
		panic(err)
	}
	s := &storm{target: target{user: mailbox.User{UID: uid}, comm: comm}, due: &filter.Due{}}
	s.due.Limit.Count = 1
	f, err := newFight(newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL}), []*storm{s}, time.Now().Add(time.Minute))
	must(err)
	must(f.look())
	freeze(f)
	testproc.Serve()
}

// If killstorm is killed with processes stopped, the next run resumes these, and not the
// one that somebody else has stopped.
func TestStoppedProcessesOutliveKillstormOnlyToTheNextRun(t *testing.T) {
	defer func(was string) { thaw.Dir = was }(thaw.Dir)
	thaw.Dir = t.TempDir()
	uid, comm := who(t), name("w")
	storm := victims(t, 20, uid, "plain", comm, nil)
	suspended := victims(t, 1, uid, "plain", comm, nil)[0].Process
	must(suspended.Signal(syscall.SIGSTOP))
	until(t, "it stops", func() bool { return state(suspended.Pid) == "T" })
	killer := testproc.Start(t, testproc.Self(uint32(os.Geteuid()), fmt.Sprintf("KILLSTORM_ROLE=freezer %s %d %s", thaw.Dir, uid, comm)))
	for _, cmd := range storm {
		until(t, "all stop", func() bool { return state(cmd.Process.Pid) == "T" })
	}
	if n := thaw.Resume(); n != 0 {
		t.Errorf("%d resumed under killstorm's hands", n)
	}
	must(killer.Process.Kill())
	_ = killer.Wait()
	if n := thaw.Resume(); n != len(storm) {
		t.Errorf("%d resumed; want %d", n, len(storm))
	}
	stopped := 0
	for _, cmd := range storm {
		if state(cmd.Process.Pid) == "T" {
			stopped++
		}
	}
	if stopped != 0 || state(suspended.Pid) != "T" {
		t.Errorf("%d are still stopped; the one that another stopped is in state %s", stopped, state(suspended.Pid))
	}
}

// A kill that comes to its end leaves no list, and neither does one that asks first.
func TestNoListIsLeft(t *testing.T) {
	defer func(was string) { thaw.Dir = was }(thaw.Dir)
	thaw.Dir = t.TempDir()
	for _, sig := range []Signal{syscall.SIGKILL, syscall.SIGTERM} {
		comm := name("x")
		storm := victims(t, 5, who(t), "stubborn", comm, nil)
		run1(t, due(who(t), comm, "5"), func(o *Options) { o.Signal, o.Grace = sig, 100*time.Millisecond })
		if left, _ := filepath.Glob(thaw.Dir + "/*"); len(left) != 0 || living(storm) != 0 {
			t.Errorf("%s: left: %q, living %d", sig, left, living(storm))
		}
	}
}
