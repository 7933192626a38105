// Command threshold is a filter of stormcheck; see threshold(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/threshold"
)

func main() { filter.Main(threshold.App()) }
