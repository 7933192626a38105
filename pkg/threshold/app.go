package threshold

import (
	"errors"
	"io/fs"
	"os"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/trusted"
)

// defaultLimits is used where it exists, before the built-in table.
const defaultLimits = "/etc/stormcheck/limits.csv"

// App returns the threshold command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "threshold",
		Usage: "keep the rows that reach a limit, and say which",
		Synopsis: `threshold [--limits FILE] [--all] [--explain] [--log FILE] [-n]
       threshold --print-limits [--limits FILE]
       threshold --check [--limits FILE]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "limits", Usage: "the table of limits is in `FILE` (default " + defaultLimits + " where it exists, else built in)"},
			&cli.BoolFlag{Name: "all", Usage: "pass rows that reach no limit too, with empty actions"},
			&cli.BoolFlag{Name: "explain", Usage: "say on stderr which limits row decides on each row, and how far the next limit is"},
			&cli.StringFlag{Name: "log", Usage: "append the rows that reach the limit log to `FILE` too"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write no log"},
			&cli.BoolFlag{Name: "print-limits", Usage: "print the table in force, and end"},
			&cli.BoolFlag{Name: "check", Usage: "report every fault of the table, warn of what is hardly meant, and end"},
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
		return filter.Usagef("--check and --print-limits: one of them")
	}
	for _, name := range []string{"all", "explain", "log", "dry-run"} {
		if c.IsSet(name) && (c.Bool("check") || c.Bool("print-limits")) {
			return filter.Usagef("--%s: reads no rows with --check or --print-limits", name)
		}
	}
	if c.Bool("dry-run") {
		o.Log = ""
	}
	table, faults := load(path)
	switch {
	case len(faults) > 0:
		return env.Unfit(faults)
	case c.Bool("check"):
		for _, warning := range table.warnings() {
			env.Warn(warning)
		}
		return nil
	case c.Bool("print-limits"):
		return table.print(env.Out)
	}
	if c.Bool("explain") {
		o.Explain = c.App.ErrWriter
	}
	o.Table = table
	return Run(o, env)
}

// load reads the table in force.
func load(path string) (*Table, []error) {
	if path == "" {
		if _, err := os.Lstat(defaultLimits); errors.Is(err, fs.ErrNotExist) {
			return ParseTable("built-in limits", builtIn)
		}
		path = defaultLimits
	}
	text, err := trusted.Read(path)
	if err != nil {
		return nil, []error{err}
	}
	return ParseTable(path, string(text))
}
