package stormplot

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/table"
)

const (
	defaultTop   = 10
	defaultWidth = 80
	leastWidth   = 40
)

// App returns the stormplot command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "stormplot",
		Usage: "draw the storms in the rows read",
		Synopsis: `stormplot [--since WHEN] [--user GLOB] [--proc GLOB] [--top N] [--heat] [--svg]
       [--runs FILE]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "since", Usage: "draw from `WHEN` to now, a duration such as 36h or a date such as 2026-11-01 (default: from the first row to the last)"},
			&cli.StringFlag{Name: "user", Usage: "draw accounts that match `GLOB`"},
			&cli.StringFlag{Name: "proc", Usage: "draw process names that match `GLOB`"},
			&cli.StringFlag{Name: "top", Usage: "draw the `N` worst pairs of account and name (default 10)"},
			&cli.BoolFlag{Name: "heat", Usage: "draw the hours of the week in which storms come"},
			&cli.BoolFlag{Name: "svg", Usage: "write an SVG file, not text"},
			&cli.StringFlag{Name: "runs", Usage: "draw as unknown the time without runs in `FILE` and its rotated files"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	f := filter.Read(c)
	o := Options{Now: time.Now(), Zone: time.Local, Heat: f.Switch("heat"), SVG: f.Switch("svg"), Width: screenWidth(), ASCII: !isUTF8()}
	o.Since = filter.Parse(f, "since", "", func(text string) (time.Time, error) { return since(text, f.Given("since"), o.Now) })
	o.User, o.Proc = pattern(f, "user"), pattern(f, "proc")
	top := f.Number("top", defaultTop)
	f.Refuse(top == 0 || top > 1000, "--top: %d is not from 1 to 1000", top)
	f.Refuse(o.Heat && f.Given("top"), "--top and --heat can't be used together: --heat draws all rows as one")
	o.Top, o.Runs = int(top), f.Text("runs", "")
	if f.Err() != nil {
		return f.Err()
	}
	return Run(o, env)
}

// since returns the beginning that --since names, if it is given.
func since(text string, given bool, now time.Time) (time.Time, error) {
	day, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	switch {
	case !given:
		return time.Time{}, nil
	case err == nil && day.After(now):
		return day, fmt.Errorf("%s is in the future", text)
	case err == nil && day.Unix() >= 0:
		return day, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago <= 0 || strings.ContainsAny(text, "+.") || now.Add(-ago).Unix() < 0 {
		return day, fmt.Errorf("%q is neither a duration such as 36h nor a date such as 2026-11-01", text)
	}
	return now.Add(-ago), nil
}

// pattern returns the glob of a flag, nil if it isn't given.
func pattern(f *filter.Flags, name string) table.Pattern {
	text := f.Text(name, "")
	if text == "" {
		return nil
	}
	p, err := table.Compile(text)
	f.Refuse(err != nil, "--%s: %v", name, err)
	return p
}

// screenWidth returns how wide the terminal on standard output is; 80 if it is none.
func screenWidth() int {
	size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return defaultWidth
	}
	return max(int(size.Col), leastWidth)
}

// isUTF8 reports whether the locale's characters are UTF-8, as locale(7) finds it.
func isUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := os.Getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}
