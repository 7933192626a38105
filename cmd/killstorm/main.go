// Command killstorm is a filter of stormcheck; see killstorm(8).
package main

import (
	"os"

	"stormcheck/pkg/filter"
	_ "stormcheck/pkg/first"
	"stormcheck/pkg/killstorm"
)

func main() {
	killstorm.Prepare(os.Args)
	filter.Main(killstorm.App())
}
