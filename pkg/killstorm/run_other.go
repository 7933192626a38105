//go:build !linux

package killstorm

import (
	"errors"

	"stormcheck/pkg/filter"
)

// Run needs handles of processes that no other system has.
func Run(Options, filter.Env) error { return errors.New("works on Linux only") }
