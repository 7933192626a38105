// Command alertmail is a filter of stormcheck; see alertmail(8).
package main

import (
	"stormcheck/pkg/filter"
	"stormcheck/pkg/alertmail"
)

func main() { filter.Main(alertmail.App()) }
