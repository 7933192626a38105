// Package plot times stormplot beside what else reads a log:
//
//	go run ./testdata/bench plot [DAYS [ROUNDS]]
//
// It makes a log of DAYS days (7) with ten rows a minute, as threshold writes it, and
// gives it to all programs in turn, ROUNDS rounds (21). The awks do the least that a
// drawing needs: the maximum of each pair in each ten minutes. They draw nothing.
package plot

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/testdata/bench/timing"
)

const maxima = `NR > 1 { k = $3 FS $5 FS substr($1, 1, 15); if ($6 > most[k]) most[k] = $6 } END { for (k in most) print k, most[k] }`

// Main runs the benchmark.
func Main() {
	timing.Check(bench(timing.Argument(1, 7), timing.Argument(2, 21)))
}

func bench(days, rounds int) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := timing.Build(dir, "stormplot"); err != nil {
		return err
	}
	log := dir + "/log.csv"
	if err := write(log, days); err != nil {
		return err
	}
	fmt.Printf("%d rows in, medians of %d rounds:\n", days*24*60*10, rounds)
	return timing.Compare([]*timing.Program{
		{Name: "stormplot", Args: []string{dir + "/stormplot"}},
		{Name: "mawk, maxima", Args: []string{"mawk", "-F,", maxima}},
		{Name: "gawk, maxima", Args: []string{"gawk", "-F,", maxima}},
		{Name: "mawk, reads lines", Args: []string{"mawk", "{ n++ } END { print n }"}},
	}, log, rounds)
}

// write makes the log, which ends now.
func write(path string, days int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	fmt.Fprintln(out, strings.Join(rows.Header(rows.AllColumns), ","))
	begin := time.Now().UTC().AddDate(0, 0, -days)
	for minute := range days * 24 * 60 {
		now := begin.Add(time.Duration(minute) * time.Minute).Format(time.RFC3339)
		for user := range 10 {
			count, actions := 20+minute%97+user, "log=20"
			if count >= 60 {
				actions = "log=20 alert=60"
			}
			fmt.Fprintf(out, "%s,moscow,user%d,%d,imapd,%d,0,3,*/imapd,20,%s,,,,,user%d,380:1:systemd,%s,\n", now, user, 1000+user, count, actions, user, now)
		}
	}
	return out.Flush()
}
