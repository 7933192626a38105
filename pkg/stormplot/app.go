package stormplot

import (
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
		Name:     "stormplot",
		Usage:    "draw the storms in the rows read",
		Synopsis: `stormplot [--since WHEN] [--user GLOB] [--proc GLOB] [--top N] [--heat] [--svg] [--runs FILE]`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "since", Usage: "draw from `WHEN` to now, a duration such as 36h or a date such as 2026-11-01 (default: from the first row to the last)"},
			&cli.StringFlag{Name: "user", Usage: "draw accounts that match `GLOB`"},
			&cli.StringFlag{Name: "proc", Usage: "draw process names that match `GLOB`"},
			&cli.StringFlag{Name: "top", Usage: "draw the `N` worst pairs of account and name (default 10)"},
			&cli.BoolFlag{Name: "heat", Usage: "draw the hours of the week in which storms come"},
			&cli.BoolFlag{Name: "svg", Usage: "write an SVG file, not text"},
			&cli.StringFlag{Name: "runs", Usage: "show as unknown when nothing ran, from `FILE` and its rotated files"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) (err error) {
	o := Options{Now: time.Now(), Zone: time.Local, Heat: c.Bool("heat"), SVG: c.Bool("svg"), Width: screenWidth(), ASCII: !isUTF8()}
	if o.Since, err = since(c, o.Now); err != nil {
		return err
	}
	if o.User, err = pattern(c, "user"); err != nil {
		return err
	}
	if o.Proc, err = pattern(c, "proc"); err != nil {
		return err
	}
	top, err := filter.Number(c, "top", defaultTop)
	switch {
	case err != nil:
		return err
	case top == 0 || top > 1000:
		return filter.Usagef("--top: from 1 to 1000")
	case o.Heat && c.IsSet("top"):
		return filter.Usagef("--top: goes without --heat, which draws all rows as one")
	}
	o.Top = int(top)
	if o.Runs, err = filter.Text(c, "runs", ""); err != nil {
		return err
	}
	return Run(o, env)
}

// since returns the beginning that --since names.
func since(c *cli.Context, now time.Time) (time.Time, error) {
	if !c.IsSet("since") {
		return time.Time{}, nil
	}
	text := c.String("since")
	day, err := time.ParseInLocation(time.DateOnly, text, time.Local)
	switch {
	case err == nil && day.After(now):
		return day, filter.Usagef("--since: %s is in the future", text)
	case err == nil && day.Unix() >= 0:
		return day, nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago <= 0 || strings.ContainsAny(text, "+.") || now.Add(-ago).Unix() < 0 {
		return day, filter.Usagef("--since: %q is neither a duration such as 36h nor a date such as 2026-11-01", text)
	}
	return now.Add(-ago), nil
}

// pattern returns the glob of a flag, nil if it isn't given.
func pattern(c *cli.Context, name string) (table.Pattern, error) {
	text, err := filter.Text(c, name, "")
	if err != nil || text == "" {
		return nil, err
	}
	p, err := table.Compile(text)
	if err != nil {
		return nil, filter.Usagef("--%s: %s", name, err)
	}
	return p, nil
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
