// Package titles times what reading process titles costs procstat:
//
//	go run ./testdata/bench titles [COUNT...]
//
// As root it makes COUNT idle processes (4000) of one account in a PID namespace of its
// own, all with titles, runs procstat without and with --titles and ps in turn, 41 rounds,
// and prints medians and ratios.
package titles

import (
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
	timing.Check(timing.InNamespace([]string{"crowd", "procstat"}, bench, "4000"))
}

// bench times all programs while a crowd is there.
func bench(dir, count string) error {
	table := "account,proc,title\nnobody,*,^\\./crowd (?P<user>[^ ]+) 600$\n"
	if err := os.WriteFile(dir+"/titles.csv", []byte(table), 0o644); err != nil {
		return err
	}
	crowd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "./crowd", count, "600")
	crowd.Dir = dir
	end, err := timing.Crowd(crowd)
	if err != nil {
		return err
	}
	defer end()
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
