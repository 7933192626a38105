// Command procstat is a filter of stormcheck; see procstat(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/procstat"
)

func main() { filter.Main(procstat.App()) }
