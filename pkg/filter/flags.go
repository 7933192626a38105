package filter

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/rows"
)

// Flags reads a tool's flags and remembers the first thing that is wrong with them.
// After that the values don't matter: the tool asks Err once, when it has read all.
type Flags struct {
	c   *cli.Context
	err error
}

// Read returns the flags that were given.
func Read(c *cli.Context) *Flags { return &Flags{c: c} }

// Err returns what is wrong, nil if nothing is.
func (f *Flags) Err() error { return f.err }

// Fail makes err what is wrong, unless it is nil or something was wrong before.
func (f *Flags) Fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// Refuse fails with a usage error if a condition holds.
func (f *Flags) Refuse(condition bool, format string, args ...any) {
	if condition {
		f.Fail(Usagef(format, args...))
	}
}

// Given reports whether a flag was given.
func (f *Flags) Given(name string) bool { return f.c.IsSet(name) }

// Switch returns a flag that stands without a value.
func (f *Flags) Switch(name string) bool { return f.c.Bool(name) }

// Texts returns all values of a flag that can be repeated.
func (f *Flags) Texts(name string) []string { return f.c.StringSlice(name) }

// Text returns the value of a flag, which must not be empty, or byDefault.
func (f *Flags) Text(name, byDefault string) string {
	if !f.Given(name) {
		return byDefault
	}
	f.Refuse(f.c.String(name) == "", "--%s: empty", name)
	return f.c.String(name)
}

// Number returns the plain decimal of a flag, or byDefault.
func (f *Flags) Number(name string, byDefault int64) int64 {
	if !f.Given(name) {
		return byDefault
	}
	return Parse(f, name, "", rows.ParseNumber)
}

// Duration returns the positive duration of a flag (90s, 10m, 1h: Go's
// time.ParseDuration without fractions and signs), or byDefault.
func (f *Flags) Duration(name string, byDefault time.Duration) time.Duration {
	if !f.Given(name) {
		return byDefault
	}
	text := f.c.String(name)
	d, err := time.ParseDuration(text)
	f.Refuse(err != nil || d <= 0 || strings.ContainsAny(text, "+."), "--%s: %q is not a positive duration such as 90s or 10m", name, text)
	return d
}

// DurationOrNone returns the positive duration of a flag, or 0 if it is "0" or isn't
// given.
func (f *Flags) DurationOrNone(name string) time.Duration {
	if f.c.String(name) == "0" {
		return 0
	}
	return f.Duration(name, 0)
}

// Host returns what reads this host's name, as the stream shows it: the flag --host, or
// uname's node name, which may be set while the process runs.
func (f *Flags) Host() func() string {
	node, err := os.Hostname()
	if err != nil && !f.Given("host") {
		f.Fail(fmt.Errorf("node name: %w", err))
	}
	if f.Given("host") {
		node = f.Text("host", node)
		return func() string { return rows.Escape(node) }
	}
	return func() string {
		if now, err := os.Hostname(); err == nil {
			return rows.Escape(now)
		}
		return rows.Escape(node)
	}
}

// Parse returns what a function reads from the text of a flag, or from byDefault.
func Parse[T any](f *Flags, name, byDefault string, parse func(string) (T, error)) T {
	text := byDefault
	if f.Given(name) {
		text = f.c.String(name)
	}
	value, err := parse(text)
	f.Refuse(err != nil, "--%s: %v", name, err)
	return value
}
