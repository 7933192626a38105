package killstorm

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// fought ends the storm of a uid and name, of at least one process, all but the last
// look and the report.
func fought(t *testing.T, k *killer, uid uint32, comm string) *storm {
	t.Helper()
	s := &storm{target: target{user: mailbox.User{Name: user(uid), UID: uid}, comm: comm}, due: &filter.Due{}}
	s.due.Limit.Count = 1
	if left := k.turn([]*storm{s}); len(left) != 1 || s.due.Err != nil {
		t.Fatalf("%d storms, %v", len(left), s.due.Err)
	}
	return s
}

// cells are what the storm's row says: killed, remaining, notes and errors.
func cells(t *testing.T, s *storm) (text string) {
	t.Helper()
	var out strings.Builder
	must(filter.Acting{
		Tool: "killstorm", Action: rows.ActionKill, Host: func() string { return "moscow" }, Now: func() time.Time { return now },
		Fills: []rows.Column{rows.Killed, rows.Remaining},
		Together: func(due []*filter.Due) {
			s.due = due[0]
			s.report(syslog.Open("/nowhere/log", "killstorm"))
		},
	}.Run(filter.Env{In: strings.NewReader(header + due(s.user.UID, "x", "1")), Out: &out, Report: func(error) {}}))
	return filled(strings.Split(strings.TrimSpace(out.String()), ","))
}

// What comes after the last kill, under the storm's name or under one other, remains.
func TestLastLookFindsWhatHasRespawned(t *testing.T) {
	uid := who(t)
	for what, c := range map[string]struct {
		ended, before int // processes of the storm, and of another name before it ends
		after         map[string]int
		want          string
	}{
		"nothing comes":             {3, 0, nil, "killed=3 remaining=0"},
		"the same name":             {3, 0, map[string]int{"Q": 2}, "killed=3 remaining=2 errors=killstorm: 2 remaining: 2 respawned"},
		"another name":              {3, 0, map[string]int{"R": 5}, "killed=3 remaining=5 errors=killstorm: 5 remaining: 5 respawned as " + name("R")},
		"a name like a message":     {3, 0, map[string]int{"R; x": 5}, "killed=3 remaining=5 errors=killstorm: 5 remaining: 5 respawned as " + name("R") + `\x3b\x20x`},
		"too few of another name":   {3, 0, map[string]int{"R": 4}, "killed=3 remaining=0"},
		"others of two other names": {3, 0, map[string]int{"R": 4, "S": 4}, "killed=3 remaining=0"},
		"both":                      {3, 0, map[string]int{"Q": 1, "R": 6, "S": 5}, "killed=3 remaining=7 errors=killstorm: 7 remaining: 1 respawned and 6 respawned as " + name("R")},
		"another name was there":    {3, 6, nil, "killed=3 remaining=0"},
		"less than a tenth":         {60, 0, map[string]int{"R": 5}, "killed=60 remaining=0"},
	} {
		t.Run(what, func(t *testing.T) {
			victims(t, c.before, uid, "plain", name("R"), nil)
			time.Sleep(50 * time.Millisecond) // two ticks of the clock by which processes start
			herd(t, c.ended, uid, name("Q"))
			k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: time.Minute})
			s := fought(t, k, uid, name("Q"))
			for suffix, n := range c.after {
				victims(t, n, uid, "plain", name(suffix), nil)
			}
			k.lastLook([]*storm{s})
			if got := cells(t, s); got != c.want {
				t.Errorf("row %s; want %s", got, c.want)
			}
			stopped(t, name("Q"))
		})
	}
}

// A process of the storm that took another name before it could be stopped is there.
func TestLastLookFindsWhatHasLeftItsName(t *testing.T) {
	uid := who(t)
	victims(t, 5, uid, "plain", name("T"), nil)
	renamed := called(name("T"))
	time.Sleep(50 * time.Millisecond)
	victims(t, 2, uid, "plain", name("U"), nil)
	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: time.Minute})
	s := fought(t, k, uid, name("U"))
	f, err := newFight(k, []*storm{s}, time.Now())
	must(err)
	defer f.table.Close()
	for _, pid := range renamed {
		must(f.identify(pid, &f.one))
		s.index[id{pid, f.one.Start}] = len(s.processes)
		s.processes = append(s.processes, process{id: id{pid, f.one.Start}})
	}
	k.lastLook([]*storm{s})
	if got, want := cells(t, s), "killed=2 remaining=5 errors=killstorm: 5 remaining: 5 respawned as "+name("T"); got != want {
		t.Errorf("row %s; want %s", got, want)
	}
}

// A process that all the time forks and ends remains, though each that is seen has ended
// soon after.
func TestLastLookFindsWhatForksAndEnds(t *testing.T) {
	uid := who(t)
	comm := name("X")
	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: time.Minute})
	for range 10 {
		victims(t, 1, uid, "plain", comm, nil)
		s := fought(t, k, uid, comm)
		end := comets(t, 1, uid, comm)
		k.lastLook([]*storm{s})
		lives := len(called(comm)) > 0
		if got := cells(t, s); lives && strings.Contains(got, "remaining=0") {
			t.Errorf("row %s, and yet one lives", got)
		}
		end()
	}
}

// It waits before it looks, without a lock; not after a signal.
func TestLastLookWaitsWithoutALock(t *testing.T) {
	uid := who(t)
	path, hold := box(t, uid)
	victims(t, 2, uid, "plain", name("V"), nil)
	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: time.Minute, Hold: hold, HoldTimeout: time.Second})
	s := fought(t, k, uid, name("V"))
	if !tryLock(t, path) {
		t.Error("the mailbox is locked while it waits")
	}
	begin := time.Now()
	k.lastLook([]*storm{s})
	if took := time.Since(begin); took < comeback {
		t.Errorf("the last look comes after %s", took)
	}
	if k.lastLook(nil); s.silent {
		t.Error("silent")
	}
}

// A storm that has subsided is said to be so with what its account has started at the
// same time, and with its zombies.
func TestSubsidedSaysWhatElseRuns(t *testing.T) {
	uid := who(t)
	row := func(n int, suffix string) string {
		return strings.Replace(due(uid, name(suffix), "50"), ",404,", fmt.Sprintf(",%d,", n), 1)
	}
	victims(t, 6, uid, "plain", name(" W"), nil)
	dead := victims(t, 3, uid, "plain", name("X"), nil)
	for _, cmd := range dead {
		must(cmd.Process.Kill())
		until(t, "it ends", func() bool { return ended(cmd.Process.Pid) })
	}
	for _, c := range []struct {
		n            int
		suffix, want string
	}{
		{60, "Y", fmt.Sprintf("subsided to 0 (6 named %s started at the same time)", field(name(" W")))},
		{61, "Y", "subsided to 0"}, // less than a tenth
		{61, "X", fmt.Sprintf("subsided to 0 (3 zombies: no kill ends them - their parent %s (PID %d) has to reap them)", commOf(os.Getpid()), os.Getpid())},
	} {
		cells, reported := run1(t, row(c.n, c.suffix), nil)
		if want := "killed=0 notes=killstorm: " + c.want; cells != want || reported != "" {
			t.Errorf("row %s, reported %q; want %s", cells, reported, want)
		}
	}
}

// commOf is the name of a process.
func commOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	must(err)
	return strings.TrimSuffix(string(text), "\n")
}
