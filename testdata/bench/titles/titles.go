// Package titles times what reading process titles costs procstat:
//
//	go run ./testdata/bench titles [COUNT...]
//
// As root it makes COUNT idle processes (4000) of one account in a PID namespace of its
// own, all with titles, runs procstat without and with --titles and ps in turn, 41 rounds,
// and prints medians and ratios.
package titles

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"stormcheck/testdata/bench/timing"
)

const rounds = 41

// Main runs the benchmark.
func Main() {
	run := outside
	if os.Getenv("BENCH_DIR") != "" {
		run = bench
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
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
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := timing.Build(dir, "crowd", "procstat"); err != nil {
		return err
	}
	table := "account,proc,title\nnobody,*,^\\./crowd (?P<user>[^ ]+) 600$\n"
	if err := os.WriteFile(dir+"/titles.csv", []byte(table), 0o644); err != nil {
		return err
	}
	counts := os.Args[1:]
	if len(counts) == 0 {
		counts = []string{"4000"}
	}
	cmd := exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", self, os.Args[0]}, counts...)...)
	cmd.Env = append(os.Environ(), "BENCH_DIR="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func bench() error {
	for _, count := range os.Args[1:] {
		if err := among(os.Getenv("BENCH_DIR"), count); err != nil {
			return err
		}
	}
	return nil
}

// among times all programs while a crowd is there.
func among(dir, count string) error {
	crowd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./crowd", count, "600")
	crowd.Dir = dir
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
	programs := [][]string{
		{dir + "/procstat"},
		{dir + "/procstat", "--titles", dir + "/titles.csv"},
		{"sh", "-c", "ps -eo user,args | sort | uniq -c"},
	}
	took := make([][]time.Duration, len(programs))
	for range rounds {
		for i, args := range programs {
			start := time.Now()
			text, err := exec.Command(args[0], args[1:]...).Output()
			if err != nil {
				return fmt.Errorf("%v: %w", args, err)
			}
			took[i] = append(took[i], time.Since(start))
			if i == 1 && strings.Count(string(text), ","+count+",65534,") != 9 {
				return fmt.Errorf("no titles in %s", text)
			}
		}
	}
	fmt.Printf("%s processes with titles, medians of %d rounds:\n", count, rounds)
	for i, args := range programs {
		fmt.Printf("%-52s %7.1f ms  %5.2f times the first\n", strings.ReplaceAll(strings.Join(args, " "), dir+"/", ""),
			float64(timing.Median(took[i]).Microseconds())/1000, float64(timing.Median(took[i]))/float64(timing.Median(took[0])))
	}
	return nil
}
