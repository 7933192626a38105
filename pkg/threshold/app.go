package threshold

import (
	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/table"
)

// App returns the threshold command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "threshold",
		Usage: "keep the rows that reach a limit, and say which",
		Synopsis: `threshold [--limits FILE] [--all] [--explain] [--log FILE] [-n]
       threshold --print-limits [--limits FILE]
       threshold --check [--limits FILE]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "limits", Usage: "the table of limits is in `FILE` (default " + table.Limits.Dir + "/*.csv and " + table.Limits.File + " or the built-in table)"},
			&cli.BoolFlag{Name: "all", Usage: "pass rows that reach no limit too, with empty actions"},
			&cli.BoolFlag{Name: "explain", Usage: "print to stderr which limits row decides on each row, and how far the next limit is"},
			&cli.StringFlag{Name: "log", Usage: "append the rows that reach the limit log to `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write no log"},
			&cli.BoolFlag{Name: "print-limits", Usage: "print the table in force and where each row comes from, and end"},
			&cli.BoolFlag{Name: "check", Usage: "report every fault of the table, warn about what is hardly meant, and end"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	o := Options{All: c.Bool("all")}
	path, err := filter.Text(c, "limits", "")
	if err != nil {
		return err
	}
	if o.Log, err = filter.Text(c, "log", ""); err != nil {
		return err
	}
	if c.Bool("check") && c.Bool("print-limits") {
		return filter.Usagef("--check and --print-limits can't be used together")
	}
	for _, name := range []string{"all", "explain", "log", "dry-run"} {
		if c.IsSet(name) && (c.Bool("check") || c.Bool("print-limits")) {
			return filter.Usagef("--%s: --check and --print-limits read no rows", name)
		}
	}
	if c.Bool("dry-run") {
		o.Log = ""
	}
	limits, faults := load(path, table.Limits)
	switch {
	case len(faults) > 0:
		return env.Unfit(faults)
	case c.Bool("check"):
		for _, warning := range limits.warnings() {
			env.Warn(warning)
		}
		return nil
	case c.Bool("print-limits"):
		return limits.print(env.Out)
	}
	if c.Bool("explain") {
		o.Explain = c.App.ErrWriter
	}
	o.Table = limits
	return Run(o, env)
}
