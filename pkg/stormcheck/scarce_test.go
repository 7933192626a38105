//go:build linux

package stormcheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
)

// TestMain makes this binary stormcheck, with all of its files in a directory, where
// that is asked for: one that can't have another process or thread.
func TestMain(m *testing.M) {
	dir := os.Getenv("STORMCHECK_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	BinDir, Conf, RunDir, StateDir = dir, dir+"/stormcheck.conf", dir+"/run", dir
	var span time.Duration
	if os.Getenv("STORMCHECK_ROOM") == "soon" {
		span = startPatience / 3
	}
	if err := testproc.LeaveNoRoom(span); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	filter.Main(App())
}

// From cron, without a slot for another process: the run ends, and says why. If one comes
// free soon it goes on as if nothing had been.
func TestNoSlotForAProcess(t *testing.T) {
	const header = "time,host,user,uid,proc,count,actions\n"
	const noRoom = "stormcheck: alertmail: not started: resource temporarily unavailable\n" +
		"stormcheck: procstat: not started: resource temporarily unavailable\n"
	for room, want := range map[string]struct{ says, err, run string }{
		"never": {noRoom, "exit status 1", ",1,0,0\n"},
		"soon":  {header, "<nil>", ",0,0,0\n"},
	} {
		dir, err := os.MkdirTemp("", "stormcheck") // whose path another uid may go
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		for _, name := range []string{"procstat", "threshold", "mailarchive", "killstorm", "alertmail"} {
			script := "#!/bin/sh\nexec cat\n"
			if name == "procstat" {
				script = "#!/bin/sh\nprintf '%s\\n' " + header
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "STORMCHECK_DIR="+dir, "STORMCHECK_ROOM="+room, "GORACE=atexit_sleep_ms=0")
		testproc.AsUser(t, cmd, 60416, dir)
		late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		out, err := cmd.CombinedOutput()
		if fmt.Sprint(err) != want.err || string(out) != want.says {
			t.Errorf("room %s: %v: %s", room, err, out)
		}
		if text, _ := os.ReadFile(filepath.Join(dir, "runs.csv")); !strings.HasSuffix(string(text), want.run) {
			t.Errorf("room %s: runs.csv: %q", room, text)
		}
	}
}

// A filter without room for a thread dies with a trace of the Go runtime and the status
// of one that is unfit. That is one line, and no unfit setting.
func TestNoRoomForAThread(t *testing.T) {
	for text, c := range map[string]struct {
		lines []string
		unfit bool
	}{
		`runtime: failed to create new OS thread (have 2 already; errno=11)
			runtime: may need to increase max user processes (ulimit -u)
			fatal error: newosproc
			goroutine 1 [running]:`: {[]string{"threshold: ended early: the system has no room for a thread"}, false},
		`runtime/cgo: pthread_create failed: Resource temporarily unavailable
			SIGABRT: abort`: {[]string{"threshold: ended early: the system has no room for a thread"}, false},
		`panic: oops
			goroutine 1 [running]:`: {[]string{"panic: oops", "goroutine 1 [running]:"}, false},
		`threshold: limits.csv:2: kill: "3x" is not a number`: {[]string{`threshold: limits.csv:2: kill: "3x" is not a number`}, true},
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\ncat >&2 <<'END'\n" + text + "\nEND\nexit 2\n"
		if err := os.WriteFile(dir+"/threshold", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		var lines heldLines
		chain := startChain([]stage{{name: "threshold", tool: "threshold", path: dir + ":/usr/bin:/bin"}}, nil, lines.line)
		<-chain.ended()
		chain.close()
		all := chain.failures("")
		if len(all) != 1 || all[0].unfit != c.unfit || !all[0].lost || !strings.HasSuffix(all[0].cause, c.lines[0]) {
			t.Errorf("%.40s: failures %+v", text, all)
		}
		if fmt.Sprint(lines.lines) != fmt.Sprint(c.lines) {
			t.Errorf("%.40s: reported %q", text, lines.lines)
		}
	}
}
