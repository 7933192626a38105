package account

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/proc"
)

// TestMain makes this binary one that asks a getent, where that is asked for: at a raised
// priority, or without room for another process at first.
func TestMain(m *testing.M) {
	Deadline = time.Minute // a busy machine is no silent name service
	dir := os.Getenv("ACCOUNT_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	passwd, getents = dir+"/passwd", []string{dir + "/getent"}
	if os.Getenv("ACCOUNT_ROOM") == "soon" {
		if err := testproc.LeaveNoRoom(time.Second / 2); err != nil {
			fmt.Println(err)
		}
	} else {
		proc.RaisePriority()
	}
	got, err := ByUIDs([]uint32{2000})
	fmt.Println(got[2000].Name, err)
	os.Exit(0)
}

// A question to the name service is at normal priority, whatever the tool's is; and
// while no process can be made it waits for one.
func TestQuestionInAStorm(t *testing.T) {
	for room, want := range map[string]string{
		"now":  "nice0-policy0 <nil>\n",
		"soon": "harpo <nil>\n",
	} {
		dir, err := os.MkdirTemp("", "account") // whose path another uid may go
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		answer := "name=harpo"
		if room == "now" { // proc_pid_stat(5): the 19th is nice, the 41st the policy
			answer = `name=nice$(cut -d ' ' -f 19 /proc/self/stat)-policy$(cut -d ' ' -f 41 /proc/self/stat)`
		}
		for name, text := range map[string]string{
			"passwd": "root:x:0:0::/:/bin/sh\n",
			"getent": "#!/bin/sh\n" + answer + "\necho \"$name:x:2000:1::/:\"\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "ACCOUNT_DIR="+dir, "ACCOUNT_ROOM="+room, "GORACE=atexit_sleep_ms=0")
		if room == "soon" {
			testproc.AsUser(t, cmd, 60417, dir)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("room %s: %v: %s", room, err, strings.SplitN(string(out), "goroutine", 2)[0])
		}
	}
}

// TestFailedStartIsNotRemembered: a getent that couldn't be started is tried again as soon
// as there are file handles.
func TestFailedStartIsNotRemembered(t *testing.T) {
	services(t, file, ldap)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	next, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(next.Fd()) + 1 // the file of accounts, but no pipe
	next.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	_, before := ByName("harpo")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(before, unix.EMFILE) {
		t.Errorf("without file handles: %v", before)
	}
	if got, err := ByName("harpo"); got.UID != 2000 || err != nil {
		t.Errorf("with them: %v, %v", got, err)
	}
}
