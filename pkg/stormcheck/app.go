package stormcheck

import (
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
)

// App returns the stormcheck command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "stormcheck",
		Usage: "find process storms, save the mail, end them, and report",
		Synopsis: `stormcheck [-n] [--delay DUR | --every DUR]
       stormcheck --check | --status | --test-alert
       stormcheck [-n] --end USER/PROC [--yes]
       stormcheck --pause DUR [USER/PROC]
       stormcheck --resume`,
		Operands: 1,
		NoInput:  true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "touch nothing, show what would be done"},
			&cli.StringFlag{Name: "delay", Usage: "begin `DUR` after the start of this process, at most 1m"},
			&cli.StringFlag{Name: "every", Usage: "keep the pipe ready, and look each `DUR`"},
			&cli.BoolFlag{Name: "check", Usage: "check each thing that a run needs"},
			&cli.BoolFlag{Name: "status", Usage: "show whether storms are ended, the last run, and what was done"},
			&cli.BoolFlag{Name: "test-alert", Usage: "send a test alert by mail, page and Alertmanager, and print which accepted it"},
			&cli.StringFlag{Name: "end", Usage: "archive and end the processes `USER/PROC` now, whatever the limits say"},
			&cli.BoolFlag{Name: "yes", Usage: "with --end: don't ask"},
			&cli.StringFlag{Name: "pause", Usage: "end nothing, or nothing of USER/PROC, for `DUR`, at most 24h"},
			&cli.BoolFlag{Name: "resume", Usage: "forget what is paused"},
		},
		Run: run,
	})
}

// longestDelay is the longest time from the start to the run: cron starts one each minute.
const longestDelay = time.Minute

// longestEvery is the longest time between two snapshots of a standing pipe: after
// ten minutes without one it counts as stuck.
const longestEvery = 5 * time.Minute

func run(c *cli.Context, env filter.Env) error {
	if c.Args().Present() && !c.IsSet("pause") {
		return filter.Usagef("operand %q: only --pause takes one", c.Args().First())
	}
	if c.NumFlags() > 1 || c.NumFlags() == 1 && !c.IsSet("delay") && !c.IsSet("every") {
		proc.NormalPriority() // the command is raised from its first instruction, for a run
	}
	for _, task := range []struct {
		flag string
		run  func(io.Writer, func(error)) error
	}{
		{"check", check},
		{"status", status},
		{"test-alert", testAlert},
	} {
		if !c.Bool(task.flag) {
			continue
		}
		if c.NumFlags() > 1 {
			return filter.Usagef("--%s: no other flag goes with it", task.flag)
		}
		return task.run(env.Out, env.Report)
	}
	if c.IsSet("pause") || c.Bool("resume") {
		return runPause(c, env.Out)
	}
	m := mode{dry: c.Bool("dry-run")}
	if c.IsSet("end") {
		for _, other := range []string{"delay", "every"} {
			if c.IsSet(other) {
				return filter.Usagef("--end and --%s can't be used together", other)
			}
		}
		name, err := parseStorm(c.String("end"))
		if err != nil {
			return filter.Usagef("--end: %s", err)
		}
		return runEnd(name, m.dry, c.Bool("yes"), env.Out, c.App.ErrWriter, env.Report)
	}
	if c.IsSet("yes") {
		return filter.Usagef("--yes: needs --end")
	}
	f := filter.Read(c)
	f.Refuse(f.Given("delay") && f.Given("every"), "--delay and --every can't be used together")
	m.delay = f.Duration("delay", 0)
	f.Refuse(m.delay > longestDelay, "--delay: %s is more than %.0fm", c.String("delay"), longestDelay.Minutes())
	every := f.Duration("every", 0)
	f.Refuse(every > longestEvery, "--every: %s is more than %.0fm", c.String("every"), longestEvery.Minutes())
	if f.Err() != nil {
		return f.Err()
	}
	if every > 0 {
		m.every = c.String("every")
	}
	return runPipe(m, c.App.ErrWriter)
}
