package timing

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
)

// InNamespace builds programs in a directory that others can read, and runs this
// benchmark again, for root in a PID namespace of its own, with its arguments or these
// counts. There it calls bench with the directory and each count.
func InNamespace(programs []string, bench func(dir, count string) error, counts ...string) error {
	if dir := os.Getenv("BENCH_DIR"); dir != "" {
		for _, count := range os.Args[1:] {
			if err := bench(dir, count); err != nil {
				return err
			}
		}
		return nil
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := Build(dir, programs...); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if len(os.Args) > 1 {
		counts = os.Args[1:]
	}
	cmd := exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", self, os.Args[0]}, counts...)...)
	if os.Geteuid() != 0 {
		cmd = exec.Command(self, append(os.Args[:1:1], counts...)...) // among all other processes
	}
	cmd.Env = append(os.Environ(), "BENCH_DIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// Crowd starts c/crowd.c, and returns when all its processes are there. end ends them.
func Crowd(cmd *exec.Cmd) (end func(), err error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	end = func() {
		in.Close()
		_ = cmd.Wait() // it ends with whatever status
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		end()
		return nil, fmt.Errorf("no crowd: %w", err)
	}
	return end, nil
}
