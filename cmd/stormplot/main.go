// Command stormplot is a filter of stormcheck; see stormplot(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/stormplot"
)

func main() { filter.Main(stormplot.App()) }
