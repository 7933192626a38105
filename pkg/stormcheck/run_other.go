//go:build !linux

package stormcheck

import (
	"errors"
	"io"
)

var errSystem = errors.New("the pipe needs Linux")

func runPipe(mode, io.Writer) error { return errSystem }
func check(io.Writer) bool          { return false }
func status(io.Writer) bool         { return false }
