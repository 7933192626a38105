package filter

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"stormcheck/pkg/rows"
)

// An Acting filter does something about the rows that have its action, notes in
// the row what it did, and passes every row on.
type Acting struct {
	Tool   string
	Action string
	Host   string           // rows of this host are acted on, escaped
	Now    func() time.Time // the clock that rows' times are held against
	Needs  []rows.Column    // besides time, host, user and actions
	Fills  []rows.Column    // besides notes and errors
	// Act does what is due from limit on. Of what it returns, one error or several
	// joined, a Note goes into the row's notes, and anything else is a failure.
	Act func(record *rows.Record, row rows.Row, limit rows.Limit) error
}

// A Note is a remark on a row that is no failure.
type Note string

func (n Note) Error() string { return string(n) }

// A row is acted on while its time isn't older than maxAge, nor further in the
// future than maxAhead.
const (
	maxAge   = 10 * time.Minute
	maxAhead = time.Minute
)

// Run takes a stream through the filter. A reader that has gone doesn't keep it
// from its work.
func (a Acting) Run(env Env) error {
	OutliveReader()
	out := rows.NewWriter(env.Out)
	write := func(record *rows.Record) error {
		_ = out.Write(record.Cells()) // env.Out remembers a failure
		return nil
	}
	defer out.Flush()
	return Stream{
		Need:   append([]rows.Column{rows.Time, rows.Host, rows.User, rows.Actions}, a.Needs...),
		Adds:   append(a.Fills, rows.Notes, rows.Errors),
		Idle:   func() error { out.Flush(); return nil },
		Header: write,
		Row: func(record *rows.Record) error {
			limit, due, err := rows.FindAction(record.Get(rows.Actions), a.Action)
			if due && err == nil {
				out.Flush() // no row waits for another's action
				err = a.act(record, limit)
			}
			a.tell(env, record, err)
			return write(record)
		},
	}.Run(env.In, env.Report)
}

// act acts on a row of this host and of now.
func (a Acting) act(record *rows.Record, limit rows.Limit) error {
	if record.Get(rows.Host) != a.Host {
		return Note("not this host")
	}
	row, err := record.Row()
	if err != nil { // all else but the time has been read before
		return fmt.Errorf("time: %w", err)
	}
	switch age := a.Now().Sub(row.Time.Time).Round(time.Second); {
	case row.Time.IsZero():
		return errors.New("time: empty")
	case age > maxAge:
		return fmt.Errorf("the row is %s old", age)
	case age < -maxAhead:
		return fmt.Errorf("the row is %s in the future", -age)
	}
	return a.Act(record, row, limit)
}

// tell writes what came of it into the row, and what failed to stderr too.
func (a Acting) tell(env Env, record *rows.Record, err error) {
	var note Note
	switch several, joined := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case joined:
		for _, err := range several.Unwrap() {
			a.tell(env, record, err)
		}
	case errors.As(err, &note):
		record.Note(a.Tool, "%s", note)
	default:
		record.Fail(a.Tool, "%s", err)
		env.Report(fmt.Errorf("<stdin>:%d: %s: %w", record.Line, record.Get(rows.User), err))
	}
}

// OutliveReader makes a write to a pipe that nobody reads any more an error
// where it would be the end of the process. Children still get the default.
func OutliveReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
