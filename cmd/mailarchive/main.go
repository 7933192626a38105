// Command mailarchive is a filter of stormcheck; see mailarchive(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailarchive"
)

func main() { filter.Main(mailarchive.App()) }
