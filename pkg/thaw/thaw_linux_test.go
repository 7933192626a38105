package thaw

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/proc"
)

func TestMain(m *testing.M) {
	testproc.Play()
	os.Exit(m.Run())
}

// place makes the directory of the lists one of the test's.
func place(t *testing.T) {
	was := Dir
	Dir = t.TempDir()
	t.Cleanup(func() { Dir = was })
}

// identity returns what /proc says of a process.
func identity(t *testing.T, cmd *exec.Cmd) (who proc.Identity) {
	t.Helper()
	table, err := proc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	h, err := table.Process(cmd.Process.Pid)
	if err == nil {
		defer h.Close()
		err = h.Identify(&who)
	}
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// stop stops a process.
func stop(t *testing.T, p *testproc.Process) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); identity(t, p.Cmd).State != 'T'; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it doesn't stop")
		}
	}
}

// Only what is in a list, was not resumed, and is the same process, is resumed, and only
// after the list's writer has ended.
func TestOnlyWhatADeadWriterHasStoppedIsResumed(t *testing.T) {
	place(t)
	l := New(4)
	if l == nil {
		t.Fatal("no list")
	}
	victims := map[string]*testproc.Process{}
	for _, name := range []string{"listed", "another's", "resumed before", "another with its PID"} {
		p := testproc.Start(t, testproc.Victim(60440, "victim"))
		victims[name] = p
		pid, start := p.Process.Pid, identity(t, p.Cmd).Start
		switch name {
		case "listed":
			l.Stops(pid, start)
		case "resumed before":
			l.Stops(pid, start)
			l.Resumed(pid, start)
		case "another with its PID":
			l.Stops(pid, start-1)
		}
		stop(t, p)
	}
	if n := Resume(); n != 0 {
		t.Errorf("%d resumed while the writer lives", n)
	}
	l.Close()
	if n := Resume(); n != 1 {
		t.Errorf("%d resumed; want 1", n)
	}
	for name, p := range victims {
		if state := identity(t, p.Cmd).State; (state == 'T') == (name == "listed") {
			t.Errorf("%s: state %c", name, state)
		}
	}
	if left, _ := filepath.Glob(Dir + "/*"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if n := Resume(); n != 0 {
		t.Errorf("resumed %d again", n)
	}
}

// A list of a writer that has done its work is gone, and one that can't be made hinders
// nobody.
func TestNothingIsLeft(t *testing.T) {
	place(t)
	l := New(1)
	l.Stops(1, 1)
	l.Remove()
	if left, _ := filepath.Glob(Dir + "/*"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	Dir += "/none"
	l = New(1)
	l.Stops(1, 1)
	l.Resumed(1, 1)
	l.Remove()
	if n := Resume(); l != nil || n != 0 {
		t.Errorf("list %v, %d resumed", l, n)
	}
}

// The last line of a list may be cut: its writer died, or the disk is full.
func TestCutListIsReadUpToTheCut(t *testing.T) {
	all := stopped("+12 345\n+13 7\n-12 345\n+14 8\n+15")
	if len(all) != 2 || !all[process{13, 7}] || !all[process{14, 8}] {
		t.Error(all)
	}
}
