// Package pause is the file in which an administrator stops killing for a while,
// /var/lib/stormcheck/pause: CSV with the header until,user,proc. stormcheck writes
// it, killstorm reads it before it signals anything.
package pause

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
	"stormcheck/pkg/trusted"
)

// Any stands for every user, or for every process name. A user or process whose
// name is a star is written \x2a.
const Any = "*"

// An Entry pauses one user's processes of one name, or all of them.
type Entry struct {
	Until      time.Time // whole seconds; the pause ends at this moment
	User, Proc string    // escaped, as the stream has them, or Any
}

// A List is what the file holds.
type List []Entry

// Paused reports whether processes of a user and a name, both escaped as the stream
// has them, are paused at a time, and until when: the latest end if several entries
// hold.
func (l List) Paused(user, proc string, now time.Time) (until time.Time, paused bool) {
	for _, e := range l {
		matches := (e.User == Any || e.User == user) && (e.Proc == Any || e.Proc == proc)
		if matches && now.Before(e.Until) && e.Until.After(until) {
			until, paused = e.Until, true
		}
	}
	return until, paused
}

// Read returns what the file at path holds, nothing if there is no such file. After
// an error everything has to be taken as paused: the file is not root's alone, or
// unfit.
func Read(path string) (List, error) {
	text, err := trusted.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parse(path, string(text))
}

var columns = []string{"until", "user", "proc"}

// parse reads the text of the file at path. The error joins all faults.
func parse(path, text string) (list List, err error) {
	var header []string
	faults := table.Read(path, text,
		func(_ int, cells []string) (faults []error) {
			header = cells
			for _, name := range columns {
				if !slices.Contains(cells, name) {
					faults = append(faults, fmt.Errorf("no column %q", name))
				}
			}
			for _, name := range cells {
				if !slices.Contains(columns, name) {
					faults = append(faults, fmt.Errorf("column %q: there are until, user, proc", name))
				}
			}
			return faults
		},
		func(_ int, cells []string) []error {
			e, err := parseEntry(func(name string) string { return cells[slices.Index(header, name)] })
			if err != nil {
				return []error{err}
			}
			list = append(list, e)
			return nil
		})
	if len(faults) == 0 && header == nil {
		faults = append(faults, fmt.Errorf("%s: no header", path))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return list, nil
}

// parseEntry reads one row, whose cells go by name.
func parseEntry(cell func(name string) string) (e Entry, err error) {
	if e.Until, err = time.Parse(time.RFC3339, cell("until")); err != nil {
		return e, fmt.Errorf("until: %q is not an RFC 3339 time", cell("until"))
	}
	e.User, e.Proc = cell("user"), cell("proc")
	if e.User == "" {
		return e, errors.New("user: empty")
	}
	if _, err := rows.Unescape(e.User); err != nil {
		return e, fmt.Errorf("user: %w", err)
	}
	if _, err := rows.Unescape(e.Proc); err != nil {
		return e, fmt.Errorf("proc: %w", err)
	}
	return e, nil
}

// Write makes the list what the file at path holds, on the disk, too, when it
// returns nil. Without entries it removes the file. Only one process at a time may
// do this: the caller holds a lock.
func Write(path string, list List) error {
	if len(list) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	_ = w.Write(columns) // a Buffer takes all
	for _, e := range list {
		_ = w.Write([]string{e.Until.UTC().Format(time.RFC3339), e.User, e.Proc})
	}
	w.Flush()
	if _, err := parse(path, text.String()); err != nil {
		return err // what no reader would take must not be written
	}
	return trusted.Replace(path, text.Bytes(), 0o600)
}
