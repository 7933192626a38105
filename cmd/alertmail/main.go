// Command alertmail is a filter of stormcheck; see alertmail(8).
package main

import (
	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/filter"
)

func main() { filter.Main(alertmail.App()) }
