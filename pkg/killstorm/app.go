package killstorm

import (
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
)

// App returns the killstorm command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:     "killstorm",
		Usage:    "end process storms, and nobody else's processes",
		Synopsis: "killstorm [--signal SIG] [--timeout DUR] [--host NAME] [-n]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Usage: "send `SIG` first, and KILL to what is left 5 s later (default KILL)"},
			&cli.StringFlag{Name: "timeout", Usage: "give a row up after `DUR` (default 30s)"},
			&cli.StringFlag{Name: "host", Usage: "act on the rows of host `NAME` (default: this machine's node name)"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "signal nobody, note who would be"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) (err error) {
	o := Options{Grace: 5 * time.Second, DryRun: c.Bool("dry-run"), Now: time.Now}
	if o.Signal, err = parseSignal(c.String("signal"), c.IsSet("signal")); err != nil {
		return err
	}
	if o.Timeout, err = filter.Duration(c, "timeout", 30*time.Second); err != nil {
		return err
	}
	if o.Host, err = filter.Host(c); err != nil {
		return err
	}
	return Run(o, env)
}
