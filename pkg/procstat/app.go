package procstat

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
	"stormcheck/pkg/trusted"
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
			&cli.StringFlag{Name: "titles", Usage: "read process titles as the table in `FILE` says (default " + titles.Default + " if it exists)"},
			&cli.StringFlag{Name: "every", Usage: "a snapshot each `DUR`, until a signal ends it"},
			&cli.BoolFlag{Name: "churn", Usage: "with --every, count the processes started in the last minute, dead or alive"},
			&cli.StringFlag{Name: "metrics", Usage: "write counts for node_exporter's textfile collector to `FILE`"},
			&cli.BoolFlag{Name: "no-realtime", Usage: "with --every, run at the priority that it was started with"},
		},
		NoInput: true,
		Run:     run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	f := filter.Read(c)
	o := Options{
		Total: f.Switch("total"), Churn: f.Switch("churn"), Min: f.Number("min", 1), NodeName: f.Host(), Metrics: f.Text("metrics", ""),
		Report: env.Report, Warn: env.Warn, Now: time.Now,
	}
	o.Host = o.NodeName()
	every, input, table := f.Duration("every", 0), f.Text("input", ""), f.Text("titles", "")
	isText, stands := input != "", every > 0
	f.Refuse(table != "" && isText, "--titles: text of ps has none")
	f.Refuse(stands && isText, "--every and --input can't be used together: text of ps is read only once")
	f.Refuse(o.Churn && !stands, "--churn: needs --every")
	f.Refuse(f.Switch("no-realtime") && !stands, "--no-realtime: needs --every")
	f.Refuse(isText && !f.Given("host"), "--input needs --host, for the text doesn't name its machine: ps -eo user:64,stat,comm | procstat --host mail2 --input -")
	if f.Err() != nil {
		return f.Err()
	}
	if !isText {
		var faults []error
		if o.Titles, faults = titles.Load(table); len(faults) > 0 {
			return env.Unfit(faults)
		}
	}
	switch {
	case stands:
		return stand(o, every, f.Switch("no-realtime"), env)
	case input == "-":
		o.Text, o.TextName = env.In, "<stdin>"
	case isText:
		file, err := os.Open(input)
		if err != nil {
			return fmt.Errorf("%s: %w", input, trusted.Cause(err))
		}
		defer file.Close()
		o.Text, o.TextName = file, input
	}
	debug.SetGCPercent(-1) // the run is too short for it, and its memory small
	return Run(o, env.Out)
}

// stand prepares for a storm in which nothing new can be started and nobody else
// gets the processor.
func stand(o Options, every time.Duration, normalPriority bool, env filter.Env) error {
	proc.MakeThreads()
	if !normalPriority {
		proc.RaisePriority()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Stand(ctx, o, every, env.Out)
}
