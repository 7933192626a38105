package killstorm

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// trimmed chooses among processes of a storm that is trimmed to fewer than limit at
// tick 100000, and returns the PIDs of those that end.
func trimmed(limit int64, age time.Duration, all ...process) (pids []int, s *storm) {
	s = &storm{goal: endOldest, due: &filter.Due{Lesser: rows.Limit{Count: limit}}, processes: all, sweep: 1}
	for i := range s.processes {
		if s.processes[i].sweep == 0 {
			s.processes[i].sweep = 1
		}
	}
	s.choose(100000, age)
	for _, p := range oldest(s.remaining()) {
		pids = append(pids, p.pid)
	}
	return pids, s
}

func TestTrimChoosesTheOldestThatMayEnd(t *testing.T) {
	aged := func(pid int, start uint64) process { return process{id: id{pid, start}} }
	with := func(p process, change func(*process)) process { change(&p); return p }
	for what, c := range map[string]struct {
		limit int64
		all   []process
		want  []int
		note  string
	}{
		"the oldest":           {3, []process{aged(10, 300), aged(11, 100), aged(12, 200), aged(13, 400)}, []int{11, 12}, ""},
		"of one start by PID":  {3, []process{aged(12, 7), aged(10, 7), aged(11, 7)}, []int{10}, ""},
		"one at the limit":     {3, []process{aged(10, 1), aged(11, 2), aged(12, 3)}, []int{10}, ""},
		"none under the limit": {4, []process{aged(10, 1), aged(11, 2), aged(12, 3)}, nil, ""},
		"not a parent":         {2, []process{aged(10, 1), with(aged(11, 2), func(p *process) { p.parent = 10 }), aged(12, 3)}, []int{11, 12}, ""},
		"a child that is refused": {1, []process{aged(10, 1), with(aged(11, 2), func(p *process) { p.parent = 10; p.refuse(inContainer) })}, nil,
			"only 0 of 1 may be trimmed: 1 parents"},
		"not at a terminal": {1, []process{with(aged(10, 1), func(p *process) { p.terminal = true }), aged(11, 2)}, []int{11},
			"only 1 of 2 may be trimmed: 1 at a terminal"},
		"not the young": {1, []process{aged(10, 40000), aged(11, 40001), aged(12, 99999)}, []int{10},
			"only 1 of 3 may be trimmed: 2 younger than 10m0s"},
		"not what is gone": {1, []process{with(aged(10, 1), func(p *process) { p.stage = gone }), with(aged(11, 1), func(p *process) { p.sweep = -1 }), aged(12, 2)}, []int{12}, ""},
		"not another's":    {1, []process{with(aged(10, 1), func(p *process) { p.claim = other }), aged(11, 2)}, []int{11}, ""},
	} {
		got, s := trimmed(c.limit, 10*time.Minute, c.all...)
		note := ""
		if len(s.notes) > 0 {
			note = s.notes[0].Error()
		}
		if !slices.Equal(got, c.want) || note != c.note {
			t.Errorf("%s: %v, note %q; want %v, %q", what, got, note, c.want, c.note)
		}
	}
}

// What comes after the choice is left alone.
func TestTrimChoosesOnce(t *testing.T) {
	uid := who(t)
	comm := name("a")
	old := victims(t, 4, uid, "plain", comm, nil)
	b, s := ready(t, uid, comm, func(k *killer) { k.Options.TrimAge = 0 })
	s.goal, s.due.Lesser.Count = endOldest, 3
	b.choose()
	young := victims(t, 3, uid, "plain", comm, nil)
	must(b.sweep())
	b.choose()
	freeze(b)
	for i, cmd := range append(old, young...) {
		until(t, "it has stopped or not", func() bool { return (state(cmd.Process.Pid) == "T") == (i < 2) })
	}
	b.finalKill() // as at the deadline
	for i, cmd := range append(old, young...) {
		if s := state(cmd.Process.Pid); (s == "Z") != (i < 2) || s == "T" {
			t.Errorf("process %d is in state %q", i, s)
		}
	}
	if s.above() != 3 {
		t.Errorf("%d are above the limit; want 3 of 5", s.above())
	}
}

// What gives up another real uid after the choice wasn't chosen.
func TestTrimLeavesAloneWhatGivesUpItsUID(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("e")
	late := victims(t, 1, 0, "setuid", comm, nil) // the oldest
	storm := victims(t, 4, uid, "plain", comm, nil)
	b, s := ready(t, uid, comm, func(k *killer) { k.Max = 9 }) // so that it looks at all
	s.goal, s.due.Lesser.Count = endOldest, 4
	b.choose()
	if pids := s.remaining(); len(pids) != 1 || list(s.refusals()) != "1 "+otherUID {
		t.Fatalf("chosen: %v, refused %q", pids, s.refusals())
	}
	must(late[0].Process.Signal(syscall.SIGUSR1))
	until(t, "it gives it up", func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", late[0].Process.Pid))
		return strings.Contains(string(text), "\nUid:\t54321\t54321\t54321\t")
	})
	must(b.sweep())
	freeze(b)
	b.finalKill()
	if living(late) != 1 || state(late[0].Process.Pid) == "T" || living(storm) != 3 {
		t.Errorf("in state %q; %d of the storm live", state(late[0].Process.Pid), living(storm))
	}
}

// A title that says after the choice that the row is about its process chooses it no
// more, be the process old or new.
func TestTrimLeavesAloneWhatChangesItsTitle(t *testing.T) {
	uid, owner, table := imapTitles(t)
	comm := name("f")
	all := []*testproc.Process{speaks(t, uid, comm, "imap harpo")}
	for range 3 {
		all = append(all, speaks(t, uid, comm, "imap groucho"))
	}
	b, err := newFight(newKiller(Options{Now: time.Now, Timeout: time.Minute}), []*storm{{
		target: target{user: mailbox.User{UID: uid}, owner: owner, comm: comm, people: true, table: table, named: "groucho"},
		goal:   endOldest, due: &filter.Due{Lesser: rows.Limit{Count: 3}},
	}}, time.Now().Add(time.Minute))
	must(err)
	defer b.table.Close()
	s := b.storms[0]
	must(b.sweep())
	b.choose()
	if got := s.remaining(); len(got) != 1 || got[0].pid != all[1].Process.Pid {
		t.Fatalf("chosen: %+v", got)
	}
	all = append(all, speaks(t, uid, comm, "imap harpo"))
	must(b.sweep())
	if s.live() != 3 {
		t.Errorf("the row is about %d; want 3", s.live())
	}
	all[0].Write(t, "imap groucho")
	all[4].Write(t, "imap groucho")
	must(b.sweep())
	freeze(b)
	for i, one := range all {
		until(t, "it has stopped or not", func() bool { return (state(one.Process.Pid) == "T") == (i == 1) })
	}
	b.finalKill()
	for i, one := range all {
		if s := state(one.Process.Pid); (s == "Z") != (i == 1) || s == "T" {
			t.Errorf("process %d is in state %q", i, s)
		}
	}
	if s.live() != 4 {
		t.Errorf("the row is about %d; want 4", s.live())
	}
}

func trimRow(uid uint32, comm, actions string) string {
	return strings.Replace(due(uid, comm, "1"), "kill=1", actions, 1)
}

func TestTrimEndsTheOldestOnly(t *testing.T) {
	uid := who(t)
	for _, sig := range []Signal{syscall.SIGKILL, syscall.SIGTERM} {
		comm := name("b" + fmt.Sprint(int(sig)))
		storm := victims(t, 9, uid, "plain", comm, nil)
		change := func(o *Options) { o.Signal, o.Grace = sig, time.Minute }
		dry, _ := run1(t, trimRow(uid, comm, "trim=6"), func(o *Options) { change(o); o.DryRun = true })
		if want := fmt.Sprintf("notes=killstorm: would kill 4 (dry run): pids %d %d ", storm[0].Process.Pid, storm[1].Process.Pid); !strings.HasPrefix(dry, want) || living(storm) != 9 {
			t.Errorf("row %s; want %s", dry, want)
		}
		cells, reported := run1(t, trimRow(uid, comm, "trim=6 kill=10"), change)
		if want := "killed=4 remaining=0 notes=killstorm: ended the 4 oldest of 9: 5 left"; cells != want || reported != "" {
			t.Errorf("%v: row %s, reported %q; want %s", sig, cells, reported, want)
		}
		if living(storm[:4]) != 0 || living(storm[4:]) != 5 {
			t.Errorf("%v: %d of the oldest live, %d of the others", sig, living(storm[:4]), living(storm[4:]))
		}
		stopped(t, comm)
		// Under the limit it has subsided; where kill is reached nothing is trimmed.
		if cells, _ := run1(t, trimRow(uid, comm, "trim=6"), change); !strings.HasPrefix(cells, "killed=0 notes=killstorm: subsided to 5") {
			t.Errorf("row %s", cells)
		}
		if cells, _ := run1(t, trimRow(uid, comm, "trim=2 kill=5"), change); !strings.HasPrefix(cells, "killed=5 remaining=0") || living(storm) != 0 {
			t.Errorf("row %s; %d live", cells, living(storm))
		}
	}
}

// A polite trim locks the mailbox twice, and says once that it couldn't.
func TestTrimNotesALockOnce(t *testing.T) {
	uid := who(t)
	path, hold := lockedBox(t, uid)
	storm := victims(t, 3, uid, "plain", name("g"), nil)
	cells, reported := run1(t, trimRow(uid, name("g"), "trim=3"), func(o *Options) {
		o.Signal, o.Grace, o.Hold, o.HoldTimeout = syscall.SIGTERM, time.Minute, hold, time.Millisecond
	})
	want := fmt.Sprintf("killed=1 remaining=0 notes=killstorm: ended the 1 oldest of 3: 2 left; killstorm: %s: not locked (held by pid %d)", path, os.Getpid())
	if cells != want || reported != "" || living(storm) != 2 {
		t.Errorf("row %s, reported %q, %d live; want %s", cells, reported, living(storm), want)
	}
}

func TestTrimNeedsAPlainNumber(t *testing.T) {
	uid := who(t)
	storm := victims(t, 2, uid, "plain", name("c"), nil)
	for _, limit := range []string{"+1", "1|+1", "1/m"} {
		cells, _ := run1(t, trimRow(uid, name("c"), "trim="+limit), nil)
		if !strings.HasSuffix(cells, "killstorm: actions: trim needs a plain number of processes") || living(storm) != 2 {
			t.Errorf("trim=%s: row %s, %d live", limit, cells, living(storm))
		}
	}
}

// What has a terminal, a child of its name, or too few minutes is spared, of real
// processes.
func TestTrimSparesParentsAndTerminals(t *testing.T) {
	uid := who(t)
	script, err := exec.LookPath("script") // which makes a terminal
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and script(1)")
	}
	comm := name("d")
	cmd := exec.Command("setpriv", fmt.Sprintf("--reuid=%d", uid), "--clear-groups", script, "-qc",
		fmt.Sprintf("sleep 60 & printf %%s %s >/proc/$$/comm; wait", comm), "/dev/null")
	cmd.Stdin, _ = os.Open("/dev/null")
	must(cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	until(t, "it has its name", func() bool { return len(called(comm)) == 1 })
	atTerminal := called(comm)[0]
	herd(t, 4, uid, comm) // a parent and three children
	cells, reported := run1(t, trimRow(uid, comm, "trim=1"), nil)
	if want := "killed=3 remaining=2 notes=killstorm: only 3 of 5 may be trimmed: 1 at a terminal and 1 parents; killstorm: ended the 3 oldest of 5: 2 left"; !sameNotes(cells, want) || reported != "" {
		t.Errorf("row %s, reported %q; want %s", cells, reported, want)
	}
	if left := called(comm); len(left) != 2 || !slices.Contains(left, atTerminal) {
		t.Errorf("%v are left; the one at a terminal is %d", left, atTerminal)
	}
}

// sameNotes compares cells whose notes may be in any order.
func sameNotes(a, b string) bool {
	sorted := func(cells string) string {
		counts, notes, _ := strings.Cut(cells, " notes=")
		all := strings.Split(notes, "; ")
		slices.Sort(all)
		return counts + " notes=" + strings.Join(all, "; ")
	}
	return sorted(a) == sorted(b)
}
