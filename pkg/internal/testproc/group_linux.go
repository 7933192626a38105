package testproc

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A Group is the directory of a control group with a limit of processes.
type Group string

// Controller returns the directory in which groups with a limit of processes can be
// made, of version 1 or 2 of cgroups(7), or "".
func Controller() string {
	for _, top := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		dir, err := os.MkdirTemp(top, "stormcheck-test-")
		if err != nil {
			continue
		}
		_, err = os.Stat(dir + "/pids.max")
		if os.Remove(dir); err == nil {
			return top
		}
	}
	return ""
}

// NewGroup makes a group that lasts as long as the test, and skips the test where none
// can be made.
func NewGroup(t testing.TB) Group {
	top := Controller()
	if top == "" {
		t.Skip("no control group with a limit of processes can be made here")
	}
	dir, err := os.MkdirTemp(top, "stormcheck-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			err := os.Remove(dir)
			if err == nil {
				return
			}
			if time.Now().After(end) { // its processes are still not reaped
				t.Error(err)
				return
			}
		}
	})
	return Group(dir)
}

// Full moves a process into the group, and lets no other start.
func (g Group) Full(t testing.TB, pid int) {
	t.Helper()
	g.write(t, "cgroup.procs", strconv.Itoa(pid))
	current, err := os.ReadFile(string(g) + "/pids.current") // its threads count too
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, "pids.max", strings.TrimSpace(string(current)))
}

func (g Group) write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(string(g)+"/"+file, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}
