package killstorm

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/pause"
	"stormcheck/pkg/trusted"
)

// herd starts a shell that forks n-1 others of its name, and returns when all are
// there. They end when the test does, or after two minutes.
func herd(t *testing.T, n int, uid uint32, comm string) {
	t.Helper()
	before := called(comm) // some of which may be about to end
	r, w, err := os.Pipe()
	must(err)
	t.Cleanup(func() { w.Close(); r.Close() })
	time.AfterFunc(2*time.Minute, func() { w.Close() })
	victims(t, 1, uid, "herd", comm, func(cmd *exec.Cmd) {
		cmd.Path, _ = exec.LookPath("sh")
		cmd.Args = []string{"sh", "-c", `printf %s "$1" >/proc/$$/comm
			n=$2; while n=$((n - 1)); [ $n -gt 0 ]; do (read x <&3) & done; echo ready; read x <&3`, "sh", comm, fmt.Sprint(n)}
		cmd.ExtraFiles = []*os.File{r}
	})
	until(t, "all are there", func() bool {
		return len(slices.DeleteFunc(called(comm), func(pid int) bool { return slices.Contains(before, pid) })) == n
	})
}

// settle waits until the kernel's coarse clock gives a change another time.
func settle() { time.Sleep(20 * time.Millisecond) }

// A file changes after the row has left the stage before, while the kill waits for
// the mailbox's lock: nobody dies. Without the change all do.
func TestNobodyDiesAfterASettingHasChanged(t *testing.T) {
	uid := who(t)
	for change, do := range map[string]func(path string){
		"written":  func(path string) { must(os.WriteFile(path, []byte("KILL=no\n"), 0o600)) },
		"replaced": func(path string) { must(os.WriteFile(path+"2", nil, 0o600)); must(os.Rename(path+"2", path)) },
		"removed":  func(path string) { must(os.Remove(path)) },
		"touched":  func(path string) { must(os.Chtimes(path, time.Time{}, time.Now())) },
		"made":     func(path string) { must(os.WriteFile(filepath.Join(filepath.Dir(path), "pause"), nil, 0o600)) },
		"":         func(string) {},
	} {
		t.Run(change, func(t *testing.T) {
			comm, n := name("K"), 100
			if change == "written" || change == "" {
				n = 500
			}
			herd(t, n, uid, comm)
			mbox, _ := box(t, uid)
			lock, err := os.OpenFile(mbox, os.O_RDWR, 0)
			must(err)
			defer lock.Close()
			must(unix.Flock(int(lock.Fd()), unix.LOCK_EX))
			path := filepath.Join(t.TempDir(), "stormcheck.conf")
			must(os.WriteFile(path, []byte("KILL=yes\n"), 0o600))
			noted := trusted.Look(path)
			settle()
			cmd, in, out, problems := start(t, []string{
				"--hold", filepath.Dir(mbox) + "/{user}", "--hold-timeout", "14s", "--timeout", "60s",
				"--unless-changed", path + "@" + noted.String(), "--unless-changed", filepath.Join(filepath.Dir(path), "pause"),
			}, nil)
			io.WriteString(in, header+fresh(due(uid, comm, fmt.Sprint(n-n/10))))
			in.Close()
			until(t, "it waits for the lock", func() bool { return holdsOpen(cmd.Process.Pid, mbox) })
			do(path)
			lock.Close()
			err = cmd.Wait()
			dead := n - len(called(comm))
			if change == "" {
				if !strings.Contains(out.String(), fmt.Sprintf(",%d,0,,\n", n)) || dead != n || err != nil {
					t.Errorf("%v: %d died; %s%s", err, dead, out, problems)
				}
				return
			}
			changed := path
			if change == "made" {
				changed = filepath.Join(filepath.Dir(path), "pause")
			}
			if !strings.HasSuffix(out.String(), ",0,,killstorm: not killed: "+changed+" has changed,\n") || dead != 0 || err != nil {
				t.Errorf("%v: %d died; %s%s", err, dead, out, problems)
			}
			stopped(t, comm)
		})
	}
}

// holdsOpen reports whether a process has a file open.
func holdsOpen(pid int, path string) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if to, _ := os.Readlink(link); to == path {
			return true
		}
	}
	return false
}

// What has been signalled is finished, the next row isn't begun.
func TestAFightThatHasSentASignalIsFinished(t *testing.T) {
	uid := who(t)
	comm, next := name("L"), name("M")
	stubborn := victims(t, 3, uid, "stubborn", comm, nil)
	willing := victims(t, 1, uid, "plain", comm, nil)[0]
	later := victims(t, 2, uid, "plain", next, nil)
	path := filepath.Join(t.TempDir(), "limits.csv")
	cmd, in, out, problems := start(t, []string{"--signal", "TERM", "--grace", "2s", "--unless-changed", path}, nil)
	io.WriteString(in, header+fresh(due(uid, comm, "4"))+header+fresh(due(uid, next, "2")))
	in.Close()
	until(t, "the grace has begun", func() bool { return ended(willing.Process.Pid) })
	must(os.WriteFile(path, nil, 0o600))
	err := cmd.Wait()
	if err != nil || !strings.Contains(out.String(), ",4,0,") || !strings.HasSuffix(out.String(), ",0,,killstorm: not killed: "+path+" has changed,\n") {
		t.Errorf("%v: %s%s", err, out, problems)
	}
	if living(stubborn) != 0 || living(later) != 2 {
		t.Errorf("%d of the storm live, %d of the next", living(stubborn), living(later))
	}
}

func TestUnlessChangedFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a@b")
	must(os.WriteFile(path, nil, 0o600))
	noted := trusted.Look(path)
	for value, want := range map[string]Watched{
		path:                        {path, noted},
		path + "@" + noted.String(): {path, noted},
		path + "@absent":            {path, trusted.Fingerprint{}},
		path + "@1:2":               {path + "@1:2", trusted.Fingerprint{}},
	} {
		if got, err := parseWatched([]string{value}); err != nil || got[0] != want {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	if _, err := parseWatched([]string{""}); err == nil {
		t.Error("an empty path is taken")
	}
	if err := (Options{UnlessChanged: []Watched{{strings.Repeat("x", 300), trusted.Look(strings.Repeat("x", 300))}}}).changed(); err == nil {
		t.Error("a path that can't be looked at is taken as unchanged")
	}
}

func TestPausedStormIsLeftAlone(t *testing.T) {
	uid := who(t)
	path := filepath.Join(t.TempDir(), "pause")
	comm := name("N")
	storm := victims(t, 2, uid, "plain", comm, nil)
	write := func(list ...pause.Entry) func() { return func() { must(pause.Write(path, list)) } }
	until := now.Add(time.Hour)
	const paused = "killed=0 notes=killstorm: paused until 2000-04-25T06:17:02Z"
	for what, c := range map[string]struct {
		do   func()
		want string // cells
	}{
		"1 everything":   {write(pause.Entry{Until: until, User: pause.Any, Proc: pause.Any}), paused},
		"2 this one":     {write(pause.Entry{Until: until, User: user(uid), Proc: comm}), paused},
		"3 its account":  {write(pause.Entry{Until: until, User: user(uid), Proc: pause.Any}), paused},
		"4 unfit":        {func() { must(os.WriteFile(path, []byte("until\n"), 0o600)) }, "killed=0 errors=killstorm: not killed: everything is paused: " + path},
		"5 empty":        {func() { must(os.WriteFile(path, nil, 0o600)) }, "killed=0 errors=killstorm: not killed: everything is paused: " + path},
		"6 another":      {write(pause.Entry{Until: until, User: user(uid), Proc: comm + "x"}), "killed=2 remaining=0"},
		"7 over":         {write(pause.Entry{Until: now, User: user(uid), Proc: comm}), "killed=2 remaining=0"},
		"8 no such file": {func() { os.Remove(path) }, "killed=2 remaining=0"},
		"9 no directory": {func() { must(os.RemoveAll(filepath.Dir(path))) }, "killed=2 remaining=0"},
	} {
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		c.do()
		for _, sig := range []Signal{syscall.SIGKILL, syscall.SIGTERM} {
			if sig != syscall.SIGKILL && what != "1 everything" && what != "4 unfit" {
				continue
			}
			cells, _ := run1(t, due(uid, comm, "2"), func(o *Options) { o.Pause, o.Signal, o.Grace = path, sig, time.Minute })
			if !strings.HasPrefix(cells, c.want) {
				t.Errorf("%s: row %s; want %s", what, cells, c.want)
			}
			left := 2
			if c.want == "killed=2 remaining=0" {
				left = 0
			}
			if living(storm) != left {
				t.Errorf("%s: %d live", what, living(storm))
			}
			if stopped(t, comm); left == 0 {
				storm = victims(t, 2, uid, "plain", comm, nil)
			}
		}
		if cells, _ := run1(t, due(uid, comm, "2"), func(o *Options) { o.Pause, o.DryRun = path, true }); strings.Contains(cells, "would kill") != (c.want == "killed=2 remaining=0") {
			t.Errorf("%s: dry run: %s", what, cells)
		}
	}
}

// The file is read anew for each batch.
func TestPauseHoldsFromTheNextBatchOn(t *testing.T) {
	uid := who(t)
	path := filepath.Join(t.TempDir(), "pause")
	victims(t, 1, uid, "plain", name("O"), nil)
	second := victims(t, 1, uid, "plain", name("P"), nil)
	var out bytes.Buffer
	in := piecemeal{header + due(uid, name("O"), "1"), due(uid, name("P"), "1")}
	written := func(p []byte) (int, error) {
		if strings.Contains(string(p), name("O")) {
			must(pause.Write(path, pause.List{{Until: now.Add(time.Hour), User: pause.Any, Proc: pause.Any}}))
		}
		return out.Write(p)
	}
	runOn(t, &in, writer(written), func(o *Options) { o.Pause = path })
	if !strings.Contains(out.String(), ",1,0,,\n") || !strings.HasSuffix(out.String(), ",0,,killstorm: paused until 2000-04-25T06:17:02Z,\n") || living(second) != 1 {
		t.Errorf("%s; %d live", out.String(), living(second))
	}
}
