package mailarchive

import (
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/proc"
)

// What is used where no flag says otherwise.
const (
	defaultDir     = "/var/lib/stormcheck/archive"
	defaultMailbox = "/var/mail/{user}"
	defaultPop     = "/var/mail/.{user}.pop" // where a POP server keeps the mail during a session
)

// App returns the mailarchive command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:     "mailarchive",
		Usage:    "copy the mail files of accounts in a storm before anything is killed",
		Synopsis: "mailarchive [--dir DIR] [--mailbox PATH]... [--host NAME] [-n]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "make copies in `DIR` (default " + defaultDir + ")"},
			&cli.StringSliceFlag{Name: "mailbox", Usage: "a mailbox is `PATH`, with {user} or {home} in it (default " + defaultMailbox + " and " + defaultPop + ")"},
			&cli.StringFlag{Name: "host", Usage: "act on the rows of host `NAME` (default: this machine's node name)"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "copy nothing, note what would be"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) (err error) {
	o := Options{DryRun: c.Bool("dry-run"), Now: time.Now}
	if o.Dir, err = filter.Text(c, "dir", defaultDir); err != nil {
		return err
	}
	// A slash at its end would follow a link there, and rows go to other programs.
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	paths := c.StringSlice("mailbox")
	if len(paths) == 0 {
		paths = []string{defaultMailbox, defaultPop}
	}
	for _, path := range paths {
		template, err := mailbox.Parse(path)
		if err != nil {
			return filter.Usagef("--mailbox: %s", err)
		}
		o.Mailboxes = append(o.Mailboxes, template)
	}
	if o.Host, err = filter.Host(c); err != nil {
		return err
	}
	proc.MakeThreads() // in a storm there may be no more
	return Run(o, env)
}
