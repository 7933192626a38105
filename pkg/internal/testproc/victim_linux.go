// Package testproc makes what tests of processes need: victims, namespaces, full
// process tables, and a kernel that refuses a system call.
package testproc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// asked is the variable of the environment that makes a test binary a victim, and has
// its name.
const asked = "TESTPROC_NAME"

// Play makes the test binary a victim if Victim has started it. A TestMain calls it
// first.
func Play() {
	if name, is := os.LookupEnv(asked); is {
		Rename(name)
		Serve()
		os.Exit(0)
	}
}

// Rename gives the process a name of at most 15 bytes, proc_pid_comm(5).
func Rename(name string) {
	// The NUL makes an empty name one that is written too.
	if err := os.WriteFile("/proc/self/comm", []byte(name+"\x00"), 0); err != nil {
		panic(err)
	}
}

// Serve says that the process is ready, and returns when its input ends.
func Serve() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// Self is the test binary as a command with more variables of the environment, in a
// process group of its own, and under uid if root runs the tests.
func Self(uid uint32, variables ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe") // whose path need not be open to uid
	cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=10"), variables...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	return cmd
}

// Victim is Self as a process of that name that ends with its input. Its TestMain has
// to call Play.
func Victim(uid uint32, name string) *exec.Cmd { return Self(uid, asked+"="+name) }

// A Process is one that says when it is ready.
type Process struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts a command and waits until it has said "ready". It is killed and reaped
// when the test ends.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := &Process{cmd, in, bufio.NewReader(out)}
	p.ready(t)
	return p
}

func (p *Process) ready(t testing.TB) {
	t.Helper()
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%s: %q, %v", p.Path, line, err)
	}
}

// Write writes a line to the process, and waits until it is ready again.
func (p *Process) Write(t testing.TB, line string) {
	t.Helper()
	fmt.Fprintln(p.in, line)
	p.ready(t)
}

// End ends the input of the process. It doesn't wait for it.
func (p *Process) End() { p.in.Close() }
