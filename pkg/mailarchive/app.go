package mailarchive

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
)

// What is used where no flag says otherwise.
const (
	defaultDir         = "/var/lib/stormcheck/archive"
	defaultMailbox     = "/var/mail/{user}"
	defaultPop         = "/var/mail/.{user}.pop" // where a POP server keeps the mail during a session
	defaultLockTimeout = 10 * time.Second
	defaultTimeout     = time.Minute
	defaultAgainAfter  = 10 * time.Minute
	defaultKeep        = 10
	defaultMinFree     = "5%"
	defaultFairSize    = "25%"
)

// App returns the mailarchive command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "mailarchive",
		Usage: "copy the mail files of accounts in a storm before anything is killed",
		Synopsis: `mailarchive [--dir DIR] [--mailbox PATH]... [--lock-timeout DUR]
       [--timeout DUR] [--again-after DUR] [--keep N] [--keep-for DUR]
       [--max-size SIZE] [--fair-size SIZE] [--min-free SIZE] [--host NAME] [-n]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Usage: "make copies in `DIR` (default " + defaultDir + ")"},
			&cli.StringSliceFlag{Name: "mailbox", Usage: "a mailbox is `PATH`, with {user}, {user:N}, {name}, {domain} or {home} in it (default " + defaultMailbox + " and " + defaultPop + ")"},
			&cli.StringFlag{Name: "lock-timeout", Usage: "wait for a lock for `DUR` (default " + span(defaultLockTimeout) + ")"},
			&cli.StringFlag{Name: "timeout", Usage: "give up on a row after `DUR` (default " + span(defaultTimeout) + ")"},
			&cli.StringFlag{Name: "again-after", Usage: "don't copy a changed mailbox again within `DUR` (default " + span(defaultAgainAfter) + ")"},
			&cli.StringFlag{Name: "keep", Usage: "keep `N` copies of a mailbox and the first of this storm (default 10; 0: all)"},
			&cli.StringFlag{Name: "keep-for", Usage: "remove copies and evidence older than `DUR` (default 0: never)"},
			&cli.StringFlag{Name: "max-size", Usage: "refuse a mailbox larger than `SIZE` (default 0: as large as fits)"},
			&cli.StringFlag{Name: "fair-size", Usage: "let one account's copies take `SIZE` of the archive's file system (default " + defaultFairSize + "; 0: any)"},
			&cli.StringFlag{Name: "min-free", Usage: "leave `SIZE` of the archive's file system free (default " + defaultMinFree + ")"},
			&cli.StringFlag{Name: "host", Usage: "act on the rows of host `NAME` (default: this machine's node name)"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "copy nothing, note what would be copied"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	f := filter.Read(c)
	o := options(f)
	o.Progress = terminal(c.App.ErrWriter)
	if f.Err() != nil {
		return f.Err()
	}
	return Run(o, env)
}

// options are the flags.
func options(f *filter.Flags) Options {
	// A slash at its end would follow a link there, and rows go to other programs.
	dir, err := filepath.Abs(f.Text("dir", defaultDir))
	f.Fail(err)
	return Options{
		Dir: dir, Mailboxes: mailboxes(f), LockTimeout: f.Duration("lock-timeout", defaultLockTimeout),
		Timeout: f.Duration("timeout", defaultTimeout), AgainAfter: f.Duration("again-after", defaultAgainAfter),
		Keep: f.Number("keep", defaultKeep), KeepFor: f.DurationOrNone("keep-for"),
		MaxSize: filter.Parse(f, "max-size", "0", parseSize), FairSize: filter.Parse(f, "fair-size", defaultFairSize, parseShare),
		MinFree: filter.Parse(f, "min-free", defaultMinFree, parseShare), Host: f.Host(),
		DryRun: f.Switch("dry-run"), Now: time.Now,
	}
}

// mailboxes reads the templates of --mailbox.
func mailboxes(f *filter.Flags) (all []mailbox.Template) {
	paths := f.Texts("mailbox")
	if len(paths) == 0 {
		paths = []string{defaultMailbox, defaultPop}
	}
	for _, path := range paths {
		template, err := mailbox.Parse(path)
		f.Refuse(err != nil, "--mailbox: %v", err)
		f.Refuse(err == nil && isNumbered(template.Suffix()), "--mailbox: %q has a number behind {user}, which a copy's name has for itself", path)
		all = append(all, template)
	}
	return all
}

// isNumbered reports whether a suffix would be taken for a part of the EPOCH before it, or
// for the number after a name that exists already.
func isNumbered(suffix string) bool {
	const digits = "0123456789"
	if suffix == "" {
		return false
	}
	number, dot := strings.CutPrefix(suffix, ".")
	return strings.IndexByte(digits, suffix[0]) >= 0 || dot && number != "" && strings.Trim(number, digits) == ""
}
