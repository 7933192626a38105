// Package procstat times procstat beside what else counts processes:
//
//	go run ./testdata/bench procstat [COUNT...]
//
// It makes COUNT idle processes (4000, then 20000), as root under several uids and
// in a PID namespace of its own, runs all programs in turn, 21 rounds, and prints
// medians, how often faster procstat is, and the most memory.
package procstat

import (
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
	timing.Check(timing.InNamespace([]string{"crowd", "reader", "gops", "procstat"}, bench, "4000", "20000"))
}

// bench times all programs while a crowd is there.
func bench(dir, count string) error {
	end, err := timing.Crowd(exec.Command(dir+"/crowd", count, "600"))
	if err != nil {
		return err
	}
	defer end()
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
