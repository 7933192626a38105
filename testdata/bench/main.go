// Bench times the tools beside others that do the same:
//
//	go run ./testdata/bench NAME [ARGUMENT...]
//
// Each NAME is a package below this one, which says what it does and prints.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"stormcheck/testdata/bench/archive"
	"stormcheck/testdata/bench/churn"
	"stormcheck/testdata/bench/context"
	"stormcheck/testdata/bench/fleet"
	"stormcheck/testdata/bench/kill"
	"stormcheck/testdata/bench/plot"
	"stormcheck/testdata/bench/procstat"
	"stormcheck/testdata/bench/threshold"
	"stormcheck/testdata/bench/titles"
)

var benchmarks = map[string]func(){
	"procstat":   procstat.Main,
	"threshold":  threshold.Main,
	"kill":       kill.Main,
	"cron":       kill.Cron,
	"many-cores": kill.ManyCores,
	"archive":    archive.Main,
	"churn":      churn.Main,
	"context":    context.Main,
	"fleet":      fleet.Main,
	"plot":       plot.Main,
	"titles":     titles.Main,
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := benchmarks[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			run()
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: bench", strings.Join(slices.Sorted(maps.Keys(benchmarks)), "|"), "[argument...]")
	os.Exit(2)
}
