//go:build !linux

package mailarchive

import (
	"errors"
	"io"

	"stormcheck/pkg/filter"
)

// Run needs system calls that no other system has.
func Run(Options, filter.Env) error { return errors.New("works on Linux only") }

func terminal(io.Writer) io.Writer { return nil }
