package killstorm

import (
	"fmt"
	"strings"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/pause"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// parseWatched reads the values of --unless-changed: PATH@FINGERPRINT, or a path
// that is noted now.
func parseWatched(values []string) (all []Watched, err error) {
	for _, value := range values {
		if value == "" {
			return nil, filter.Usagef("--unless-changed: empty")
		}
		if at := strings.LastIndexByte(value, '@'); at > 0 {
			if noted, err := trusted.ParseFingerprint(value[at+1:]); err == nil {
				all = append(all, Watched{value[:at], noted})
				continue
			}
		}
		all = append(all, Watched{value, trusted.Look(value)})
	}
	return all, nil
}

// changed returns a note if a path isn't what it was, or can't be looked at.
func (o Options) changed() error {
	for _, w := range o.UnlessChanged {
		if now := trusted.Look(w.Path); now != w.Noted || now.Fault() != nil {
			return filter.Note(rows.FormatPathChanged(w.Path))
		}
	}
	return nil
}

// A pausing says whose processes are paused. It is read anew for each batch.
type pausing struct {
	list  pause.List
	fault error // why the file can't be read: everything is paused
}

// readPause reads the file of --pause.
func (o Options) readPause() (p pausing) {
	if o.Pause != "" {
		if p.list, p.fault = pause.Read(o.Pause); p.fault != nil {
			p.fault = fmt.Errorf("not killed: everything is paused: %w", p.fault)
		}
	}
	return p
}

// holds returns why the row is left alone, nil if it isn't paused. That is a note,
// or a failure of the pause file.
func (p pausing) holds(o Options, row rows.Row) error {
	if p.fault != nil {
		return p.fault
	}
	if until, paused := p.list.Paused(row.User, row.Proc, o.Now()); paused {
		return filter.Note(rows.FormatPaused(until))
	}
	return nil
}
