//go:build linux

package stormcheck

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/pause"
)

// longestPause is the longest time for which killing can be paused.
const longestPause = 24 * time.Hour

func pausePath() string { return filepath.Join(StateDir, "pause") }

// runPause adds to what is paused, or forgets all of it. killstorm reads the file
// before it signals anything, so it holds at once for a run that is under way.
func runPause(c *cli.Context, out io.Writer) error {
	if c.NumFlags() > 1 {
		return filter.Usagef("--pause and --resume: no other flag goes with either")
	}
	if c.Bool("resume") {
		return pause.Write(pausePath(), nil)
	}
	f := filter.Read(c)
	d := f.Duration("pause", 0)
	f.Refuse(d > longestPause, "--pause: %s is more than %.0fh", c.String("pause"), longestPause.Hours())
	if f.Err() != nil {
		return f.Err()
	}
	entry := pause.Entry{User: pause.Any, Proc: pause.Any}
	if text := c.Args().First(); text != "" {
		s, err := parseStorm(text)
		if err != nil {
			return filter.Usagef("--pause: %s", err)
		}
		entry.User, entry.Proc = s.user, s.proc
	}
	now := time.Now()
	list, err := pause.Read(pausePath())
	if err != nil {
		return fmt.Errorf("%w: everything is paused: --resume forgets it", err)
	}
	list = slices.DeleteFunc(list, func(e pause.Entry) bool {
		return !e.Until.After(now) || e.User == entry.User && e.Proc == entry.Proc
	})
	entry.Until = now.Add(d).Truncate(time.Second)
	if err := pause.Write(pausePath(), append(list, entry)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s/%s: paused until %s\n", entry.User, entry.Proc, entry.Until.Format("15:04:05"))
	return err
}
