package timing

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// A Program reads a file and is timed.
type Program struct {
	Name string
	Args []string
	took []time.Duration
	peak int64 // KiB, no less than what this benchmark itself has
}

// Compare gives a file to programs in turn, so often, and prints for each the median
// time, how many times the first one's that is, the worst, and the most memory.
func Compare(programs []*Program, file string, rounds int) error {
	for range rounds {
		for _, p := range programs {
			if err := p.run(file); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	first := Median(programs[0].took)
	for _, p := range programs {
		m := Median(p.took)
		fmt.Printf("%-28s %6.2f s  %5.2f times %s's  worst %6.2f s  %7d KiB\n",
			p.Name, m.Seconds(), float64(m)/float64(first), programs[0].Name, slices.Max(p.took).Seconds(), p.peak)
	}
	return nil
}

func (p *Program) run(file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Stdin = in
	start := time.Now()
	err = cmd.Run()
	p.took = append(p.took, time.Since(start))
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.peak = max(p.peak, usage.Maxrss)
	}
	return err
}
