package child

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
)

// TestMain makes this test binary a child at a raised priority if that is asked for.
func TestMain(m *testing.M) {
	if how := os.Getenv("CHILD_PRIORITY"); how != "" {
		proc.RaisePriority()
		// proc_pid_stat(5): the 19th is nice, the 41st the policy.
		err := Run(Command{Path: "cut", Args: []string{"-d ", "-f19,41", "/proc/self/stat"}, Stdout: os.Stdout, Stderr: os.Stderr, NormalPriority: how == "normal"})
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func shell(script string) Command { return Command{Path: "sh", Args: []string{"-c", script}} }

// alive returns a named pipe and a reader of it that is at its end when every process
// that has the pipe open for writing is gone. wait returns what they wrote.
func alive(t *testing.T) (path string, wait func() string) {
	t.Helper()
	path = t.TempDir() + "/alive"
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	return path, func() string {
		_ = reader.SetReadDeadline(time.Now().Add(time.Minute))
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Errorf("somebody lives on: %v", err)
		}
		return string(text)
	}
}

// await waits for a file, a minute at most.
func await(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s doesn't come", path)
		}
	}
}

func TestWhatIsRunAndSaid(t *testing.T) {
	in, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteString("file"); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		command     Command
		out, errors string
		want        string
	}{
		{"both outputs", shell("echo out; echo err >&2"), "out\n", "err\n", ""},
		{"no input", shell("cat"), "", "", ""},
		{"input", Command{Path: "cat", Input: []byte("text")}, "text", "", ""},
		{"input that isn't read", Command{Path: "true", Input: make([]byte, 1<<20)}, "", "", ""},
		{"input is a file", Command{Path: "sh", Args: []string{"-c", "test -f /proc/self/fd/0 || head -c1 && cat; tail -c4"}, Input: []byte("text")}, "text", "", ""},
		{"a file", Command{Path: "cat", Stdin: in}, "file", "", ""},
		{"environment", Command{Path: "/bin/sh", Args: []string{"-c", "echo $STORM"}, Env: []string{"STORM=1"}}, "1\n", "", ""},
		{"status", shell("exit 75"), "", "", "exit status 75"},
		{"a signal", shell("kill -KILL $$"), "", "", "signal: killed"},
		{"a group of its own", shell(`test "$(cut -d' ' -f5 /proc/$$/stat)" = $$`), "", "", ""},
		{"no such file", Command{Path: "/no/such"}, "", "", "no such file or directory"},
		{"not in PATH", Command{Path: "no-such-program"}, "", "", "executable file not found in $PATH"},
		{"a directory", Command{Path: "/tmp"}, "", "", "permission denied"},
	} {
		out, problems := &Output{First: 1 << 20}, &Output{First: 1 << 20}
		c.command.Stdout, c.command.Stderr, c.command.Limit = out, problems, time.Minute
		text := ""
		if err := Run(c.command); err != nil {
			text = err.Error()
		}
		if out.String() != c.out || problems.String() != c.errors || text != c.want {
			t.Errorf("%s: %q, %q, %s; want %q, %q, %s", c.name, out, problems, text, c.out, c.errors, c.want)
		}
	}
}

// When the limit is over, the child and everything in its group is gone.
func TestLimitEndsTheGroup(t *testing.T) {
	path, wait := alive(t)
	command := shell("exec 3>" + path + "; echo >&3; sleep 600 & sleep 600")
	command.Limit = time.Second
	err := Run(command)
	if !errors.Is(err, ErrLate) || err.Error() != "killed, not done within 1s" {
		t.Error(err)
	}
	if wait() == "" {
		t.Error("it never ran")
	}
}

// A process that has left the group holds the outputs open: it is left alone and not
// waited for.
func TestWhoLeavesTheGroupIsNotWaitedFor(t *testing.T) {
	command := shell("setsid sh -c 'echo left; sleep 30; echo late' & sleep 0.1; exit 3")
	out := &Output{First: 100}
	command.Stdout = out
	start := time.Now()
	err := Run(command)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if out.String() != "left\n" {
		t.Errorf("%q", out)
	}
}

// A child that is done isn't late for what it leaves behind.
func TestDoneIsNotLate(t *testing.T) {
	command := shell("sleep 30 & exit 0")
	command.Stdout = &Output{}
	command.Limit = 20 * time.Second
	if err := Run(command); err != nil {
		t.Error(err)
	}
}

func TestEndAsksThenKills(t *testing.T) {
	dir := t.TempDir()
	polite, err := Start(shell("trap 'exit 7' TERM; touch " + dir + "/polite; while :; do sleep 0.1; done"))
	if err != nil {
		t.Fatal(err)
	}
	path, wait := alive(t)
	stubborn, err := Start(shell("trap '' TERM; exec 3>" + path + "; touch " + dir + "/stubborn; while :; do sleep 0.1; done"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, dir+"/polite")
	await(t, dir+"/stubborn")
	polite.End(time.Minute)
	if err := polite.Wait(); err == nil || err.Error() != "exit status 7" {
		t.Error(err)
	}
	stubborn.End(100 * time.Millisecond)
	<-stubborn.Done()
	if err := stubborn.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Error(err)
	}
	wait()
	stubborn.Kill() // both are gone: nobody is signalled
	polite.Signal(syscall.SIGKILL)
	if err := polite.Wait(); err == nil || err.Error() != "exit status 7" {
		t.Errorf("the second time: %v", err)
	}
}

// A child that no signal ends is given up.
func TestStuck(t *testing.T) {
	pids := make(chan int, 1)
	kill = func(pid int, signal syscall.Signal) error { pids <- pid; return nil }
	defer func() { kill = syscall.Kill }()
	out := &Output{First: 10}
	command := shell("while :; do echo; sleep 0.01; done")
	command.Limit, command.Stdout = 100*time.Millisecond, out
	start := time.Now()
	if err := Run(command); err != ErrStuck || time.Since(start) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	_ = out.String() // while it is written
	_ = syscall.Kill(<-pids, syscall.SIGKILL)
}

func TestPriority(t *testing.T) {
	for how, want := range map[string]string{"normal": "0 0\n", "inherited": "0 2\n"} { // SCHED_RR is 2
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CHILD_PRIORITY="+how)
		out, err := cmd.CombinedOutput()
		if text := string(out); err != nil || text != want && !(how == "inherited" && (text == "-20 0\n" || os.Geteuid() != 0)) {
			t.Errorf("%s: %v, %q, want %q", how, err, text, want)
		}
	}
}

func TestOutput(t *testing.T) {
	for _, c := range []struct {
		first, last int
		writes      string // separated by |
		want        string
	}{
		{5, 0, "abc", "abc"},
		{5, 0, "abc|defg", "abcde"},
		{5, 5, "abc|de|fghij", "abcdefghij"},
		{6, 6, "a\nbcd\nefg\nhi\njk\n", "a\nbcd\n[7 bytes left out]\njk\n"},
		{6, 6, "a\n|b|c|d|\n|efg\nhi\n|jk\n", "a\nbcd\n[7 bytes left out]\njk\n"},
		{4, 4, "abcdefghijkl", "abcd\n[4 bytes left out]\nijkl"},
		{4, 4, "abcdefghijkl\n", "abcd\n[5 bytes left out]\njkl\n"},
		{0, 3, "abcdef|g|h", "\n[5 bytes left out]\nfgh"},
		{3, 3, strings.Repeat("x\n|", 10000) + "y\n", "x\n[19998 bytes left out]\ny\n"},
	} {
		o := &Output{First: c.first, Last: c.last}
		for _, write := range strings.Split(c.writes, "|") {
			if n, err := o.Write([]byte(write)); n != len(write) || err != nil {
				t.Errorf("%.60q: %d, %v", write, n, err)
			}
		}
		if o.String() != c.want {
			t.Errorf("%.60q: %.60q, want %q", c.writes, o.String(), c.want)
		}
		if len(o.first)+len(o.last) > c.first+2*c.last {
			t.Errorf("%.60q: it has kept %d bytes", c.writes, len(o.first)+len(o.last))
		}
	}
}
