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
	text, err := Text(f.c, name, byDefault)
	f.Fail(err)
	return text
}

// Number returns the plain decimal of a flag, or byDefault.
func (f *Flags) Number(name string, byDefault int64) int64 {
	n, err := Number(f.c, name, byDefault)
	f.Fail(err)
	return n
}

// Duration returns the positive duration of a flag (90s, 10m, 1h: Go's
// time.ParseDuration without fractions and signs), or byDefault.
func (f *Flags) Duration(name string, byDefault time.Duration) time.Duration {
	d, err := Duration(f.c, name, byDefault)
	f.Fail(err)
	return d
}

// Host returns the flag --host, or uname's node name, as the stream shows it.
func (f *Flags) Host() string {
	name, err := Host(f.c)
	f.Fail(err)
	return name
}

// Number returns the plain decimal of flag name, or byDefault when it isn't given.
func Number(c *cli.Context, name string, byDefault int64) (int64, error) {
	if !c.IsSet(name) {
		return byDefault, nil
	}
	n, err := rows.ParseNumber(c.String(name))
	if err != nil {
		return 0, Usagef("--%s: %s", name, err)
	}
	return n, nil
}

// Duration returns the positive duration of flag name (90s, 10m, 1h: Go's
// time.ParseDuration without fractions and signs), or byDefault.
func Duration(c *cli.Context, name string, byDefault time.Duration) (time.Duration, error) {
	if !c.IsSet(name) {
		return byDefault, nil
	}
	text := c.String(name)
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || strings.ContainsAny(text, "+.") {
		return 0, Usagef("--%s: %q is not a duration such as 90s or 10m", name, text)
	}
	return d, nil
}

// Text returns the value of flag name, which must not be empty when given.
func Text(c *cli.Context, name, byDefault string) (string, error) {
	if !c.IsSet(name) {
		return byDefault, nil
	}
	if c.String(name) == "" {
		return "", Usagef("--%s: empty", name)
	}
	return c.String(name), nil
}

// Host returns the flag --host, or uname's node name, as the stream shows it.
func Host(c *cli.Context) (string, error) {
	name, err := os.Hostname()
	if err != nil && !c.IsSet("host") {
		return "", fmt.Errorf("node name: %w", err)
	}
	name, err = Text(c, "host", name)
	return rows.Escape(name), err
}
