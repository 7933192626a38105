// Package killstorm ends every process of one account and one name. Before it signals any
// it makes sure that the row is about this machine and of now, that the account is the one
// that the row says, that the account doesn't run a service for everybody, and that the
// storm is still there.
//
// Each file uses only those after it: app, run, lastlook, fight, kill, freeze, look,
// others, report, evidence, mailboxes, titles, trim, audit, refusal, storms, brake,
// killer, storm, target, boxes, options, lookout, process, naming, signal.
package killstorm

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/syslog"
	"stormcheck/pkg/titles"
)

const (
	defaultHold = "/var/mail/{user}"
	noRealtime  = "no-realtime"
)

// Prepare is called first in the program, before flags are read, with the arguments: in a
// storm each moment at the usual priority may take seconds.
func Prepare(args []string) {
	normal := func(arg string) bool {
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		yes, err := strconv.ParseBool(value)
		return name == noRealtime && (!given || yes && err == nil)
	}
	if slices.ContainsFunc(args, normal) {
		proc.NormalPriority() // stormcheck starts it at a raised one
	} else {
		proc.RaisePriority()
	}
	proc.LockMemory()
	proc.SurviveOOM()
}

// App returns the killstorm command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "killstorm",
		Usage: "end process storms, and nobody else's processes",
		Synopsis: `killstorm [--signal SIG] [--grace DUR] [--timeout DUR] [--trim-age DUR]
       [--max N] [--protect USER]... [--allow-root] [--allow-system]
       [--allow-own-containers] [--require-archive] [--hold PATH]...
       [--hold-timeout DUR] [--titles FILE] [--unless-changed PATH]...
       [--pause FILE] [--evidence DIR] [--no-realtime] [--host NAME] [-n]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Usage: "send `SIG` first, and KILL to what is left after the grace (default KILL)"},
			&cli.StringFlag{Name: "grace", Usage: "wait `DUR` for processes to follow --signal (default 5s)"},
			&cli.StringFlag{Name: "timeout", Usage: "give up on a row after `DUR` (default 30s)"},
			&cli.StringFlag{Name: "trim-age", Usage: "trim only processes that are at least `DUR` old (default 10m)"},
			&cli.StringFlag{Name: "max", Usage: "refuse a row of more than `N` live processes"},
			&cli.StringSliceFlag{Name: "protect", Usage: "never touch processes of `USER`, a name or a uid"},
			&cli.BoolFlag{Name: "allow-root", Usage: "end root's processes, too"},
			&cli.BoolFlag{Name: "allow-system", Usage: "end those of system accounts, too, which may serve all users"},
			&cli.BoolFlag{Name: "allow-own-containers", Usage: "end processes in containers that their account made, too"},
			&cli.BoolFlag{Name: "require-archive", Usage: "don't kill if the mailbox copy failed for space or I/O"},
			&cli.StringSliceFlag{Name: "hold", Usage: "lock the mailbox `PATH`, with {user}, {name}, {domain} or {home} in it (default " + defaultHold + ")"},
			&cli.StringFlag{Name: "hold-timeout", Usage: "wait `DUR` for that lock (default 3s)"},
			&cli.StringFlag{Name: "titles", Usage: "read process titles as the table `FILE` says (default " + titles.Default + " if it exists)"},
			&cli.StringSliceFlag{Name: "unless-changed", Usage: "begin no kill if `PATH` has changed since the start, or, as PATH@FINGERPRINT, differs from the fingerprint"},
			&cli.StringFlag{Name: "evidence", Usage: "write to directory `DIR` what is known of a storm before it ends"},
			&cli.StringFlag{Name: "pause", Usage: "leave alone what `FILE` says is paused"},
			&cli.BoolFlag{Name: noRealtime, Usage: "run at normal priority"},
			&cli.StringFlag{Name: "host", Usage: "act on the rows of host `NAME` (default: this machine's node name)"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "signal nothing, note what would end"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	f := filter.Read(c)
	sig, err := parseSignal(c.String("signal"), f.Given("signal"))
	f.Fail(err)
	hold, err := holds(f.Texts("hold"))
	f.Fail(err)
	watched, err := parseWatched(f.Texts("unless-changed"))
	f.Fail(err)
	o := Options{
		Signal: sig, Grace: f.Duration("grace", 5*time.Second), Timeout: f.Duration("timeout", 30*time.Second),
		TrimAge: f.Duration("trim-age", 10*time.Minute), Max: f.Number("max", 0),
		AllowRoot: f.Switch("allow-root"), AllowSystem: f.Switch("allow-system"),
		AllowOwnContainers: f.Switch("allow-own-containers"), RequireArchive: f.Switch("require-archive"),
		Hold: hold, HoldTimeout: f.Duration("hold-timeout", 3*time.Second), Host: f.Host(),
		UnlessChanged: watched, Pause: f.Text("pause", ""), Evidence: f.Text("evidence", ""),
		DryRun: f.Switch("dry-run"), Syslog: syslog.Socket, Now: time.Now,
	}
	table := f.Text("titles", "")
	f.Refuse(f.Given("grace") && sig == syscall.SIGKILL, "--grace: needs a --signal other than KILL")
	f.Refuse(f.Given("max") && o.Max == 0, "--max: 0 would refuse every row")
	f.Refuse(o.HoldTimeout >= holdMost, "--hold-timeout: a lock is kept for %s at most, and has to outlast the wait for others", holdMost)
	if f.Err() != nil {
		return f.Err()
	}
	var faults []error
	if o.Titles, faults = titles.Load(table); len(faults) > 0 {
		return env.Unfit(faults)
	}
	if o.Titles != nil {
		if err := o.Titles.Resolve(); err != nil {
			env.Report(err) // rows of such accounts will be refused
		}
	}
	if o.Protect, err = protect(f.Texts("protect"), o.Titles != nil, env.Report); err != nil {
		return err
	}
	return Run(o, env)
}

// holds reads the templates of --hold.
func holds(paths []string) (all []mailbox.Template, err error) {
	if len(paths) == 0 {
		paths = []string{defaultHold}
	}
	for _, path := range paths {
		template, err := mailbox.Parse(path)
		if err != nil {
			return nil, filter.Usagef("--hold: %s", err)
		}
		all = append(all, template)
	}
	return all, nil
}
