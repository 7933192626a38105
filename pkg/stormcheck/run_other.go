//go:build !linux

package stormcheck

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"
)

type storm struct{}

var errSystem = errors.New("the pipe needs Linux")

func runPipe(mode, io.Writer) error { return errSystem }

func runPause(*cli.Context, io.Writer) error { return errSystem }
func check(io.Writer, func(error)) error     { return errSystem }
func status(io.Writer, func(error)) error    { return errSystem }
func testAlert(io.Writer, func(error)) error { return errSystem }

func parseStorm(string) (storm, error)                                  { return storm{}, errSystem }
func runEnd(storm, bool, bool, io.Writer, io.Writer, func(error)) error { return errSystem }
