// Command killstorm is a filter of stormcheck; see killstorm(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/killstorm"
)

func main() { filter.Main(killstorm.App()) }
