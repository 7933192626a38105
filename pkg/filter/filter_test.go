package filter

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// full is an output with no space left.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// demo runs a tool whose work is given, and returns what it printed and its status.
func demo(t *testing.T, run func(*cli.Context, Env) error, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, problems bytes.Buffer
	app := New(Tool{
		Name: "demo", Usage: "show how", Synopsis: "demo [--min N] [--to ADDR]... [-n]",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "min", Usage: "at least `N`"},
			&cli.StringFlag{Name: "wait", Usage: "for `DUR`"},
			&cli.StringSliceFlag{Name: "to", Usage: "to `ADDR`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "touch nothing"},
		},
		Run: run,
	})
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(""), &out, &problems
	status = Status(app, append([]string{"demo"}, args...))
	return out.String(), problems.String(), status
}

func nothing(*cli.Context, Env) error { return nil }

func TestUsageErrors(t *testing.T) {
	const synopsis = "usage: demo [--min N] [--to ADDR]... [-n]\n"
	number := func(c *cli.Context, _ Env) error { f := Read(c); f.Number("min", 1); return f.Err() }
	wait := func(c *cli.Context, _ Env) error { f := Read(c); f.Duration("wait", 1); return f.Err() }
	text := func(c *cli.Context, _ Env) error { f := Read(c); f.Text("min", "x"); return f.Err() }
	both := func(c *cli.Context, _ Env) error {
		f := Read(c)
		f.Refuse(f.Given("wait"), "--wait: not today")
		f.Number("min", 1)
		f.Refuse(true, "never said")
		return f.Err()
	}
	for _, c := range []struct {
		run  func(*cli.Context, Env) error
		args string
		want string
	}{
		{nothing, "--bogus", "demo: no flag --bogus\n"},
		{nothing, "-x", "demo: no flag -x\n"},
		{nothing, "-v", "demo: no flag -v\n"},
		{nothing, "--min", "demo: --min: needs a value\n"},
		{nothing, "--min 1 --min 2", "demo: --min: given twice\n"},
		{nothing, "-n -n", "demo: -n: given twice\n"},
		{nothing, "help", "demo: operand \"help\": rows come on standard input\n"},
		{nothing, "h", "demo: operand \"h\": rows come on standard input\n"},
		{nothing, "file --min 1", "demo: operand \"file\": rows come on standard input\n"},
		{nothing, "-n file", "demo: operand \"file\": rows come on standard input\n"},
		{number, "--min 010", "demo: --min: \"010\" is not a number\n"},
		{number, "--min=", "demo: --min: \"\" is not a number\n"},
		{wait, "--wait 1", "demo: --wait: \"1\" is not a positive duration such as 90s or 10m\n"},
		{wait, "--wait 0s", "demo: --wait: \"0s\" is not a positive duration such as 90s or 10m\n"},
		{wait, "--wait -1s", "demo: --wait: \"-1s\" is not a positive duration such as 90s or 10m\n"},
		{wait, "--wait 1.5h", "demo: --wait: \"1.5h\" is not a positive duration such as 90s or 10m\n"},
		{text, "--min=", "demo: --min: empty\n"},
		{both, "--min=x --wait 1s", "demo: --wait: not today\n"}, // the first of several
		{both, "--min=x", "demo: --min: \"x\" is not a number\n"},
	} {
		stdout, stderr, status := demo(t, c.run, strings.Fields(c.args)...)
		if stdout != "" || stderr != c.want+synopsis || status != 2 {
			t.Errorf("%s: stdout %q, stderr %q, status %d; want stderr %q and 2", c.args, stdout, stderr, status, c.want+synopsis)
		}
	}
}

func TestFlags(t *testing.T) {
	_, stderr, status := demo(t, func(c *cli.Context, _ Env) error {
		f := Read(c)
		if n := f.Number("min", 7); n != 7 || f.Given("min") {
			t.Errorf("--min: %d", n)
		}
		if d := f.Duration("wait", time.Hour); d != 90*time.Second {
			t.Errorf("--wait: %s", d)
		}
		if to := f.Texts("to"); len(to) != 2 || to[0] != "a,b" {
			t.Errorf("--to: %q", to)
		}
		if !f.Switch("dry-run") {
			t.Error("-n isn't --dry-run")
		}
		return f.Err()
	}, "--to", "a,b", "--wait", "90s", "--to", "c", "-n")
	if stderr != "" || status != 0 {
		t.Errorf("stderr %q, status %d", stderr, status)
	}
	_, stderr, status = demo(t, nothing, "-n", "--dry-run")
	if stderr == "" || status != 2 {
		t.Errorf("both forms of a flag: stderr %q, status %d", stderr, status)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range []string{"--help", "-h"} {
		stdout, stderr, status := demo(t, nothing, args)
		want := `demo - show how

usage: demo [--min N] [--to ADDR]... [-n]

  --min N        at least N
  --wait DUR     for DUR
  --to ADDR ...  to ADDR
  --dry-run, -n  touch nothing
  --help, -h     print this help
  --version      print the version
`
		if stdout != want || stderr != "" || status != 0 {
			t.Errorf("%s: stdout\n%s\nstderr %q, status %d", args, stdout, stderr, status)
		}
	}
	if stdout, _, status := demo(t, nothing, "--version"); stdout != "demo devel\n" || status != 0 {
		t.Errorf("--version: %q, status %d", stdout, status)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		run    func(*cli.Context, Env) error
		stderr string
		status int
	}{
		{"done", nothing, "", 0},
		{"failed", func(*cli.Context, Env) error { return errors.New("/proc: no such file") }, "demo: /proc: no such file\n", 1},
		{"reported", func(_ *cli.Context, e Env) error {
			e.Report(errors.New("one"))
			e.Report(errors.New("two"))
			return nil
		}, "demo: one\ndemo: two\n", 1},
		{"unfit", func(_ *cli.Context, e Env) error {
			e.Report(errors.New("limits.csv:7: bad"))
			return ErrUnfit
		}, "demo: limits.csv:7: bad\n", 2},
		{"hostile", func(*cli.Context, Env) error { return errors.New("a\n\x1b[2J\u202eb") }, `demo: a\x0a\x1b[2J\xe2\x80\xaeb` + "\n", 1},
	} {
		stdout, stderr, status := demo(t, c.run)
		if stdout != "" || stderr != c.stderr || status != c.status {
			t.Errorf("%s: stdout %q, stderr %q, status %d", c.name, stdout, stderr, status)
		}
	}
}

// Whoever overlooks that stdout is full, or looks: it is said, once, and the
// status is 1.
func TestFullDisk(t *testing.T) {
	for name, run := range map[string]func(*cli.Context, Env) error{
		"overlooked": func(_ *cli.Context, e Env) error { fmt.Fprintln(e.Out, "row"); return nil },
		"returned":   func(_ *cli.Context, e Env) error { _, err := fmt.Fprintln(e.Out, "row"); return err },
		"wrapped": func(_ *cli.Context, e Env) error {
			_, err := fmt.Fprintln(e.Out, "row")
			return fmt.Errorf("reading: %w", err)
		},
		"help":    nil,
		"version": nil,
	} {
		var problems bytes.Buffer
		app := New(Tool{Name: "demo", Run: run})
		app.Writer, app.ErrWriter = full{}, &problems
		args := []string{"demo"}
		if run == nil {
			args = append(args, "--"+name)
		}
		status := Status(app, args)
		if problems.String() != "demo: <stdout>: no space left on device\n" || status != 1 {
			t.Errorf("%s: stderr %q, status %d", name, problems.String(), status)
		}
	}
}
