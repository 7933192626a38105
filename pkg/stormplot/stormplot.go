// Package stormplot draws rows: the worst storms on one time axis, or the hours of
// the week in which storms come, as text for a terminal or as an SVG. It draws by
// itself: a bar is the maximum of its time, where plotting libraries average.
package stormplot

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
)

// Options are what Run works with.
type Options struct {
	Since time.Time      // draw from here to Now; zero: from the first row to the last
	Now   time.Time      // rows of later times are refused
	Zone  *time.Location // of all times in the drawing
	User  table.Pattern  // draw these accounts; nil: all
	Proc  table.Pattern  // draw these process names; nil: all
	Top   int            // draw at most so many pairs
	Heat  bool           // draw hours and weekdays, not pairs
	SVG   bool           // draw an SVG, not text
	Runs  string         // file of runs; "" for none
	Width int            // columns of text
	ASCII bool           // text without any other character
}

// needed are the columns without which nothing can be drawn.
var needed = []rows.Column{rows.Time, rows.User, rows.Proc, rows.Count}

// maxAhead is how far in the future a row's time may lie: clocks differ a little.
const maxAhead = time.Minute

// Run reads a stream to its end and draws it. What could be read is drawn even if
// reading fails later.
func Run(o Options, env filter.Env) error {
	var watched *periods
	if o.Runs != "" {
		var err error
		if watched, err = readRuns(o.Runs, env.Report); err != nil {
			return err
		}
	}
	in := &input{Options: o, history: newHistory(o.Zone, o.Top)}
	err := filter.Stream{
		Need:   needed,
		Borrow: true,
		Idle:   func() error { return nil },
		Header: func(r *rows.Record) error { in.header(r); return nil },
		Row:    func(r *rows.Record) error { in.row(r); return nil },
	}.Run(env.In, env.Report)
	for _, fault := range in.faults() {
		env.Report(fault)
	}
	if !in.begun {
		if err == nil {
			err = filter.ErrFailed // the header was unfit, which has been reported
		}
		return err
	}
	if _, writing := io.WriteString(env.Out, in.draw(watched)); err == nil {
		err = writing
	}
	return err
}

// An input takes rows into the history, or into the hours of the week.
type input struct {
	Options
	history *history
	week    week
	begun   bool // a fit header was read

	lastCell string // the time of the row before, and
	lastTime int64  // what it says in seconds, for all rows of a snapshot share it

	timeless, ahead, early refusals
}

// refusals counts the rows that are passed over for one reason.
type refusals struct {
	rows int
	line int // of the first
}

func (r *refusals) add(line int) {
	if r.rows++; r.rows == 1 {
		r.line = line
	}
}

// faults returns what was wrong with times, one error for each reason: a clock that
// was wrong for a day is one problem, not a thousand.
func (in *input) faults() (faults []error) {
	for _, f := range []struct {
		refusals
		what string
	}{
		{in.timeless, "have no time that can be read"},
		{in.ahead, "are in the future"},
		{in.early, "are older than 1970"},
	} {
		if f.rows > 0 {
			faults = append(faults, fmt.Errorf("<stdin>:%d: rows from here on that %s: %d", f.line, f.what, f.rows))
		}
	}
	return faults
}

// header takes a header, which may be unfit: it has been reported then.
func (in *input) header(r *rows.Record) {
	fit := true
	for _, c := range needed {
		fit = fit && r.Has(c)
	}
	in.begun = in.begun || fit
}

// row takes one row, unless it isn't wanted or has no usable time.
func (in *input) row(r *rows.Record) {
	user, proc := r.Get(rows.User), r.Get(rows.Proc)
	_, gap := r.Gap()
	if !gap && (in.User != nil && !in.User.Match(user) || in.Proc != nil && !in.Proc.Match(proc)) {
		return
	}
	at, err := in.time(r.Get(rows.Time))
	switch {
	case gap && r.Get(rows.Time) == "":
		return // it has no place on the axis
	case err != nil:
		in.timeless.add(r.Line)
		return
	case at > in.Now.Add(maxAhead).Unix():
		in.ahead.add(r.Line)
		return
	case at < 0:
		in.early.add(r.Line)
		return
	case !in.Since.IsZero() && at < in.Since.Unix():
		return
	}
	what := observation{at: at, count: number(r, rows.Count), killed: number(r, rows.Killed)}
	switch {
	case gap && !in.Heat:
		in.history.gap(r.Get(rows.Host), at)
	case gap:
	case in.Heat:
		what.marks = in.history.actions(r.Get(rows.Actions)).marks
		in.week.add(time.Unix(at, 0).In(in.Zone), what)
	default:
		due := in.history.actions(r.Get(rows.Actions))
		what.marks, what.limits = due.marks, due.limits
		of := pair{host: r.Get(rows.Host), user: user, proc: proc}
		in.history.add(of, what)
		if due.starts != (limits{}) {
			of.starts = true
			in.history.add(of, observation{at: at, count: number(r, rows.Started), marks: due.marks, limits: due.starts})
		}
	}
}

var errNoTime = errors.New("no time")

// time returns the seconds since 1970 that a time cell says.
func (in *input) time(cell string) (int64, error) {
	if cell == in.lastCell && cell != "" {
		return in.lastTime, nil
	}
	var t rows.Timestamp
	if err := t.UnmarshalCSV(cell); err != nil || t.IsZero() {
		return 0, errNoTime
	}
	in.lastCell, in.lastTime = strings.Clone(cell), t.Unix()
	return in.lastTime, nil
}

// number returns a cell that the reader has checked; an empty one is 0.
func number(r *rows.Record, c rows.Column) uint32 {
	cell := r.Get(c)
	if cell == "" {
		return 0
	}
	n, _ := rows.ParseNumber(cell)
	return uint32(n) // ParseNumber takes no larger one
}

// draw returns the drawing.
func (in *input) draw(watched *periods) string {
	switch {
	case in.Heat && in.SVG:
		return in.week.svg(in.Options, watched)
	case in.Heat:
		return in.week.text(in.Options, watched)
	case in.SVG:
		return newChart(in.Options, in.history, watched, svgBars).svg()
	}
	return newSheet(in.Options, in.history, watched).text()
}
