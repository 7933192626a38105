// Package procstat times procstat beside what else counts processes:
//
//	go run ./testdata/bench procstat [COUNT...]
//
// It makes COUNT idle processes (4000, then 20000), as root under several uids and
// in a PID namespace of its own, runs all programs in turn, 21 rounds, and prints
// medians, how often faster procstat is, and the most memory.
package procstat

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"stormcheck/testdata/bench/timing"
)

const rounds = 21

// A program is what is timed.
type program struct {
	name string
	args []string
	took []time.Duration
	peak int64 // KiB
}

// Main runs the benchmark.
func Main() {
	if os.Getenv("BENCH_DIR") == "" {
		timing.Check(outside())
		return
	}
	for _, count := range os.Args[1:] {
		timing.Check(bench(os.Getenv("BENCH_DIR"), count))
	}
}

// outside builds all programs and runs this one again in a PID namespace.
func outside() error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := timing.Build(dir, "crowd", "reader", "gops", "procstat"); err != nil {
		return err
	}
	counts := os.Args[1:]
	if len(counts) == 0 {
		counts = []string{"4000", "20000"}
	}
	args := append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", self, os.Args[0]}, counts...)
	cmd := exec.Command("unshare", args...)
	if os.Geteuid() != 0 {
		cmd = exec.Command(self, append(os.Args[:1:1], counts...)...) // among all other processes
	}
	cmd.Env = append(os.Environ(), "BENCH_DIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// bench times all programs while a crowd is there.
func bench(dir, count string) error {
	crowd := exec.Command(dir+"/crowd", count, "600")
	in, err := crowd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := crowd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := crowd.Start(); err != nil {
		return err
	}
	defer crowd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("no crowd: %v", err)
	}

	programs := []*program{
		{name: "procstat", args: []string{filepath.Join(dir, "procstat")}},
		{name: "ps | sort | uniq -c", args: []string{"sh", "-c", "ps -eo user,comm | sort | uniq -c"}},
		{name: "C reader of stat and owner", args: []string{filepath.Join(dir, "reader")}},
		{name: "go-ps and owner", args: []string{filepath.Join(dir, "gops")}},
	}
	for range rounds {
		for _, p := range programs {
			if err := p.run(); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	fmt.Printf("%s processes, medians of %d rounds:\n", count, rounds)
	first := timing.Median(programs[0].took)
	for _, p := range programs {
		m := timing.Median(p.took)
		fmt.Printf("%-28s %7.1f ms  %5.2f times procstat's  %6s KiB\n", p.name, float64(m.Microseconds())/1000, float64(m)/float64(first), strconv.FormatInt(p.peak, 10))
	}
	return nil
}

func (p *program) run() error {
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	err := cmd.Run()
	p.took = append(p.took, time.Since(start))
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.peak = max(p.peak, usage.Maxrss)
	}
	return err
}
