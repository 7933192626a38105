package procstat

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/titles"
)

// App returns the procstat command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "procstat",
		Usage: "count processes by account and name",
		Synopsis: `procstat [--min N] [--total] [--host NAME] [--titles FILE] [--input FILE]
       [--metrics FILE]
       procstat --every DUR [--churn] [--min N] [--total] [--host NAME]
       [--titles FILE] [--metrics FILE] [--no-realtime]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "min", Usage: "only rows of `N` processes or more (default 1)"},
			&cli.BoolFlag{Name: "total", Usage: "also a row for all processes of each user, with proc *"},
			&cli.StringFlag{Name: "host", Usage: "`NAME` in the host column (default: this machine's node name)"},
			&cli.StringFlag{Name: "input", Usage: "take the text of ps from `FILE`, - for standard input; needs --host"},
			&cli.StringFlag{Name: "titles", Usage: "read process titles as the table in `FILE` says (default " + titles.Default + " where it exists)"},
			&cli.StringFlag{Name: "every", Usage: "a snapshot each `DUR`, until a signal ends it"},
			&cli.BoolFlag{Name: "churn", Usage: "with --every, count the processes started in the last minute, dead or alive"},
			&cli.StringFlag{Name: "metrics", Usage: "write counts for node_exporter's textfile collector to `FILE`"},
			&cli.BoolFlag{Name: "no-realtime", Usage: "with --every, run at the priority that it was started with"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) (err error) {
	o := Options{Total: c.Bool("total"), Churn: c.Bool("churn"), Report: env.Report, Warn: env.Warn, Now: time.Now}
	if o.Min, err = filter.Number(c, "min", 1); err != nil {
		return err
	}
	if o.Host, err = filter.Host(c); err != nil {
		return err
	}
	if o.Metrics, err = filter.Text(c, "metrics", ""); err != nil {
		return err
	}
	every, err := filter.Duration(c, "every", 0)
	if err != nil {
		return err
	}
	input, err := filter.Text(c, "input", "")
	if err != nil {
		return err
	}
	path, err := filter.Text(c, "titles", "")
	switch {
	case err != nil:
		return err
	case path != "" && input != "":
		return filter.Usagef("--titles: text of ps has none")
	case input == "":
		var faults []error
		if o.Titles, faults = titles.Load(path); len(faults) > 0 {
			return env.Unfit(faults)
		}
	}
	switch {
	case every > 0 && input != "":
		return filter.Usagef("--every: text of ps is read only once")
	case every > 0:
		if !c.IsSet("host") { // it may be set while this runs
			o.NodeName = func() string {
				if name, err := os.Hostname(); err == nil {
					o.Host = rows.Escape(name)
				}
				return o.Host
			}
		}
		return stand(c, o, every, env)
	case o.Churn:
		return filter.Usagef("--churn: goes with --every")
	case c.Bool("no-realtime"):
		return filter.Usagef("--no-realtime: goes with --every")
	case input == "":
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

// stand prepares for a storm in which nothing new can be started and nobody else
// gets the processor.
func stand(c *cli.Context, o Options, every time.Duration, env filter.Env) error {
	proc.MakeThreads()
	if !c.Bool("no-realtime") {
		proc.RaisePriority()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Stand(ctx, o, every, env.Out)
}
