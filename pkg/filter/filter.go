// Package filter is what all stormcheck tools share around urfave/cli: one way to take
// flags, to report problems, to check that output was written, and to end. Its messages
// follow these rules:
//
//   - stdout is for rows (of alertmail, the message), --help and --version; all
//     else goes to stderr.
//   - A line a problem: "tool: where: what", lower case, no full stop, no
//     wrapping words such as "error" or "failed to".
//   - Text from outside is quoted, and no control character gets through.
//   - Success is silent: cron mails whatever is printed.
package filter

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// Version is set by install.sh, from git describe.
var Version = "devel"

// Exit statuses other than 0, which is: all was read, done and written.
const (
	failed = 1 // something went wrong, named on stderr
	unfit  = 2 // a usage error, or a configuration file that is unfit
)

// An Env is what a tool works with besides its flags.
type Env struct {
	In     io.Reader
	Out    io.Writer
	Report func(error) // prints a problem; the tool goes on, and ends with status 1
	Warn   func(error) // prints what is no failure
}

// Unfit reports the faults of a configuration file and returns ErrUnfit.
func (e Env) Unfit(faults []error) error {
	for _, fault := range faults {
		e.Report(fault)
	}
	return ErrUnfit
}

// A Tool describes one tool of the suite to New.
type Tool struct {
	Name     string
	Usage    string // what it does, in one line: the man page's .Nd
	Synopsis string // its usage line or lines, as in the man page
	Flags    []cli.Flag
	Operands int  // how many it takes at most
	NoInput  bool // rows don't come on standard input
	Run      func(*cli.Context, Env) error
}

// New returns the tool as a cli.App, for Main or Status to run.
func New(t Tool) *cli.App {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this help"},
		&cli.BoolFlag{Name: "version", Usage: "print the version"},
	}
	app := &cli.App{
		Name: t.Name, HelpName: t.Name, Usage: t.Usage, UsageText: t.Synopsis, Version: Version,
		Flags:                     own(append(slices.Clip(t.Flags), flags...)),
		HideHelp:                  true, // cli's own flags are shared variables, which parallel tests race for
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		UseShortOptionHandling:    true,
		CustomAppHelpTemplate:     helpTemplate,
		ExitErrHandler:            func(*cli.Context, error) {}, // cli's own handler would end the process
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return Usagef("%s", flagText(err)) },
	}
	app.Action = func(c *cli.Context) error { return t.run(c) }
	return app
}

const helpTemplate = `{{.Name}} - {{.Usage}}

usage: {{.UsageText}}

{{range .VisibleFlags}}  {{.}}
{{end}}`

// In help cli shows a flag that can be repeated as "--to ADDR [ --to ADDR ]". As in a
// synopsis it is "--to ADDR ...".
func init() {
	text := cli.FlagStringer
	cli.FlagStringer = func(f cli.Flag) string {
		names, usage, _ := strings.Cut(text(f), "\t")
		if name, _, repeatable := strings.Cut(names, " [ "); repeatable {
			names = name + " ..."
		}
		return names + "\t" + usage
	}
}

// run is called when cli has taken the flags, and hasn't printed help.
func (t Tool) run(c *cli.Context) error {
	if c.Bool("version") {
		_, err := fmt.Fprintln(c.App.Writer, t.Name, c.App.Version)
		return err
	}
	if c.NArg() > t.Operands {
		operand := c.Args().Get(t.Operands)
		if t.NoInput {
			return Usagef("operand %q: one too many", operand)
		}
		return Usagef("operand %q: rows come on standard input", operand)
	}
	status := 0
	report := func(err error) {
		say(c.App, err)
		status = failed
	}
	warn := func(err error) { say(c.App, err) }
	if err := t.Run(c, Env{In: c.App.Reader, Out: c.App.Writer, Report: report, Warn: warn}); err != nil || status == 0 {
		return err
	}
	return exit(status)
}

// checked remembers the first failure to write, even if the writer ignores it.
type checked struct {
	w   io.Writer
	err error
}

func (c *checked) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// readerGone reports whether w is a pipe that nobody has open for reading any more,
// and remembers that as a failure to write. See POLLERR in poll(2).
func (c *checked) readerGone(revents int16) bool {
	if revents&unix.POLLERR == 0 {
		return false
	}
	if c.err == nil {
		c.err = unix.EPIPE
	}
	return true
}

// Main runs a tool with the process's own arguments, streams and exit status.
func Main(app *cli.App) { os.Exit(Status(app, os.Args)) }

// Status runs a tool, prints what ended it, and returns the exit status.
func Status(app *cli.App, args []string) int {
	app.Setup()
	out := &checked{w: app.Writer}
	app.Writer = out
	err := openPoller()
	if err == nil {
		err = app.Run(args)
	}
	status := 0
	var (
		exit  exit
		usage usageError
	)
	switch {
	case err == nil || out.err != nil && errors.Is(err, out.err):
	case errors.As(err, &exit):
		status = int(exit)
	case errors.As(err, &usage):
		say(app, err)
		fmt.Fprintln(app.ErrWriter, "usage:", app.UsageText)
		status = unfit
	default:
		say(app, err)
		status = failed
	}
	if out.err != nil {
		say(app, fmt.Errorf("<stdout>: %w", trusted.Cause(out.err)))
		status = max(status, failed)
	}
	return status
}

// openPoller lets the Go runtime open its poller, for which it takes two descriptors, or
// returns why it can't. Without them it would end the program later, with a trace.
func openPoller() error {
	var room [2]int
	if err := unix.Pipe(room[:]); err != nil {
		return err
	}
	var more [2]int
	err := unix.Pipe(more[:])
	if err == nil {
		unix.Close(more[0])
		unix.Close(more[1])
	}
	unix.Close(room[0])
	unix.Close(room[1])
	if err != nil {
		return err
	}
	r, w, err := os.Pipe() // whatever is waited for opens the poller
	if err != nil {
		return err
	}
	r.Close()
	w.Close()
	return nil
}

// say prints a problem, in one line without control characters.
func say(app *cli.App, err error) {
	fmt.Fprintf(app.ErrWriter, "%s: %s\n", app.Name, rows.Printable(err.Error()))
}

// exit is an error that only has the status: the problem has been printed.
type exit int

func (e exit) Error() string { return fmt.Sprintf("status %d", int(e)) }

// ErrUnfit ends a tool with status 2 after it has reported what is wrong with
// its configuration.
var ErrUnfit error = exit(unfit)

// ErrFailed ends a tool with status 1 and without a message: the problem has been reported
// before, by this run or an earlier one.
var ErrFailed error = exit(failed)

type usageError string

func (u usageError) Error() string { return string(u) }

// Usagef returns an error that is printed with the synopsis; status 2.
func Usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// flagText makes cli's and package flag's words for a usage error ours.
func flagText(err error) string {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return "no flag " + dashed(name)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return dashed(name) + ": needs a value"
	}
	for _, before := range []string{"for flag -", "boolean flag "} {
		if _, rest, ok := strings.Cut(text, before); ok {
			name, what, _ := strings.Cut(rest, ": ")
			return dashed(name) + ": " + what
		}
	}
	return text
}

// dashed returns a flag's name with its hyphens.
func dashed(name string) string {
	if name = strings.TrimPrefix(name, "-"); len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// own wraps cli's flags. One that isn't repeatable is refused if it is given twice, where
// cli would silently take the last. Help doesn't say that a switch is off by default.
func own(flags []cli.Flag) []cli.Flag {
	for i, f := range flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
		if _, repeatable := f.(*cli.StringSliceFlag); !repeatable {
			flags[i] = onceFlag{f.(documentedFlag)}
		}
	}
	return flags
}

// documentedFlag is all that cli asks of a flag when it prints help.
type documentedFlag interface {
	cli.DocGenerationFlag
	cli.VisibleFlag
}

type onceFlag struct{ documentedFlag }

func (f onceFlag) Apply(set *flag.FlagSet) error {
	if err := f.documentedFlag.Apply(set); err != nil {
		return err
	}
	value := &onceValue{Value: set.Lookup(f.Names()[0]).Value}
	for _, name := range f.Names() {
		set.Lookup(name).Value = value
	}
	return nil
}

// onceValue is a flag's value that can be set only once.
type onceValue struct {
	flag.Value
	set bool
}

func (o *onceValue) Set(text string) error {
	if o.set {
		return errors.New("given twice")
	}
	o.set = true
	return o.Value.Set(text)
}

// IsBoolFlag reports to package flag whether the flag has no value.
func (o *onceValue) IsBoolFlag() bool {
	b, ok := o.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
