package stormcheck

import (
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
)

// App returns the stormcheck command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:     "stormcheck",
		Usage:    "find process storms, save the mail, end them, and report",
		Synopsis: `stormcheck [-n] [--every DUR] [--check] [--status]`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "touch nothing, show what would be done"},
			&cli.StringFlag{Name: "every", Usage: "keep the pipe ready, and look each `DUR`"},
			&cli.BoolFlag{Name: "check", Usage: "report for all that a run needs whether it is as it should be"},
			&cli.BoolFlag{Name: "status", Usage: "show the last run and what was done"},
		},
		Run: run,
	})
}

// longestEvery is the longest time between two snapshots of a standing pipe: after
// ten minutes without one it counts as stuck.
const longestEvery = 5 * time.Minute

func run(c *cli.Context, env filter.Env) error {
	for _, task := range []struct {
		flag string
		run  func(io.Writer) (fine bool)
	}{
		{"check", check},
		{"status", status},
	} {
		if !c.Bool(task.flag) {
			continue
		}
		if c.NumFlags() > 1 {
			return filter.Usagef("--%s: goes alone", task.flag)
		}
		if !task.run(env.Out) {
			return filter.ErrFailed
		}
		return nil
	}
	m := mode{dry: c.Bool("dry-run")}
	every, err := filter.Duration(c, "every", 0)
	switch {
	case err != nil:
		return err
	case every > longestEvery:
		return filter.Usagef("--every: %s is over %s", every, longestEvery)
	case every > 0:
		m.every = c.String("every")
	}
	return runPipe(m, c.App.ErrWriter)
}
