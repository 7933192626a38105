package testproc

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Unshare has the arguments by which unshare(1) makes a PID and a mount namespace, for
// an ordinary user within a user namespace of its own.
func Unshare() []string {
	args := []string{"--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-current-user")
	}
	return args
}

// CanUnshare reports whether namespaces can be made here.
func CanUnshare() bool { return exec.Command("unshare", append(Unshare(), "true")...).Run() == nil }

// Main runs all tests in a PID namespace of their own where it can, so that no mistake
// ends another's process, and exits.
func Main(m *testing.M) {
	if os.Getpid() == 1 {
		_, _ = syscall.Setsid() // else its group would be outside of the namespace
	}
	if os.Getpid() == 1 || !CanUnshare() {
		os.Exit(m.Run())
	}
	args := append(Unshare(), "/proc/self/exe")
	cmd := exec.Command("unshare", append(args, os.Args[1:]...)...)
	cmd.Args[len(args)] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(max(1, cmd.ProcessState.ExitCode()))
	}
	os.Exit(0)
}
