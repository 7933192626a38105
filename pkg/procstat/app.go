package procstat

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
)

// App returns the procstat command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:     "procstat",
		Usage:    "count processes by account and name",
		Synopsis: "procstat [--min N] [--host NAME] [--input FILE]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "min", Usage: "only rows of `N` processes or more (default 1)"},
			&cli.StringFlag{Name: "host", Usage: "`NAME` in the host column (default: this machine's node name)"},
			&cli.StringFlag{Name: "input", Usage: "take the text of ps from `FILE`, - for standard input; needs --host"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) (err error) {
	o := Options{Report: env.Report, Now: time.Now}
	if o.Min, err = filter.Number(c, "min", 1); err != nil {
		return err
	}
	if o.Host, err = filter.Host(c); err != nil {
		return err
	}
	switch input := c.String("input"); {
	case !c.IsSet("input"):
	case input == "":
		return filter.Usagef("--input: empty")
	case !c.IsSet("host"):
		return filter.Usagef("--input needs --host: the text doesn't say whose it is")
	case input == "-":
		o.Text, o.TextName = env.In, "<stdin>"
	default:
		f, err := os.Open(input)
		if err != nil {
			return err
		}
		defer f.Close()
		o.Text, o.TextName = f, input
	}
	debug.SetGCPercent(-1) // the run is too short for it, and its memory small
	return Run(o, env.Out)
}
