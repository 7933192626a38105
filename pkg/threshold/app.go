package threshold

import (
	"errors"
	"io"
	"os"

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
			&cli.StringFlag{Name: "limits", Usage: "the table of limits is in `FILE` (default " + table.Limits.Dir + "/*.csv and " + table.Limits.File + ", or else the built-in table)"},
			&cli.BoolFlag{Name: "all", Usage: "pass rows that reach no limit too, with empty actions"},
			&cli.BoolFlag{Name: "explain", Usage: "print to stderr which limits row decides on each row, and how far the next limit is"},
			&cli.StringFlag{Name: "log", Usage: "append the rows that reach the limit log to `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "write no log"},
			&cli.BoolFlag{Name: "print-limits", Usage: "print the table in force and where each row comes from, and end"},
			&cli.BoolFlag{Name: "check", Usage: "report every fault of the table, warn about likely mistakes, and end"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	f := filter.Read(c)
	check, show := f.Switch("check"), f.Switch("print-limits")
	o := Options{All: f.Switch("all"), Log: f.Text("log", "")}
	path := f.Text("limits", "")
	f.Refuse(check && show, "--check and --print-limits can't be used together")
	for _, name := range []string{"all", "explain", "log", "dry-run"} {
		f.Refuse(f.Given(name) && (check || show), "--%s: can't be used with --check or --print-limits, which read no rows", name)
	}
	if err := f.Err(); err != nil {
		return err
	}
	if f.Switch("dry-run") {
		o.Log = ""
	}
	limits, faults := load(path, table.Limits)
	switch {
	case len(faults) > 0:
		return env.Unfit(faults)
	case check:
		for _, warning := range limits.warnings() {
			env.Warn(warning)
		}
		return nil
	case show:
		return limits.print(env.Out)
	}
	if f.Switch("explain") {
		o.Explain = c.App.ErrWriter
	}
	if isTerminal(env.In) {
		env.Warn(errors.New("waits for rows on standard input, as in: procstat | threshold"))
	}
	o.Table = limits
	return Run(o, env)
}

// isTerminal reports whether rows would have to be typed: the input is a device, and
// not /dev/null.
func isTerminal(in io.Reader) bool {
	f, isFile := in.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && info.Mode()&os.ModeCharDevice != 0 && !os.SameFile(info, null)
}
