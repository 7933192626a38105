// Command stormcheck runs the filters as one pipe; see stormcheck(8).
package main

import (
	"stormcheck/pkg/filter"
	_ "stormcheck/pkg/first"
	"stormcheck/pkg/stormcheck"
)

func main() { filter.Main(stormcheck.App()) }
