package filter

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/rows"
)

// An Acting filter does something about the rows that have its action, notes in
// the row what it did, and passes every row on.
type Acting struct {
	Tool   string
	Action string
	Lesser string           // another action, "" for none: a row that has it is due as well
	Host   func() string    // rows of this host are acted on, escaped
	Now    func() time.Time // the clock that rows' times are held against
	Needs  []rows.Column    // besides time, host, user and actions
	Fills  []rows.Column    // besides notes and errors
	// Act does what is due from limit on. Of what it returns, one error or several
	// joined, a Note goes into the row's notes, and anything else is a failure.
	Act func(record *rows.Record, row rows.Row, limit rows.Limit) error
	// Together, where set, is called instead of Act, with all rows that are due and
	// have been read without waiting, in their order. They are of one snapshot, and
	// as many as a Reader's buffer holds at most.
	Together func(due []*Due)
	// Start, where set, is called instead of Act for each row that is due, and returns at
	// once. It calls done once, from any goroutine, when it has filled the row. A row is
	// written when it is done, and waits for no other row of its snapshot.
	Start func(due *Due, done func())
	// Stop ends the run early; nil: one for SIGTERM. When it is asked for, Act, Together
	// and what Start has begun finish or give up their rows. No other row is acted on
	// then: the rest of the snapshot is passed on with an error in each row that is due.
	Stop *Stop
}

// mostStarted is how many rows are in hand at once at most. A variable for tests.
var mostStarted = 4096

// A Due is a row that has the action, or the lesser one.
type Due struct {
	Record *rows.Record // to be filled
	Row    rows.Row
	Limit  rows.Limit // of the action, zero if the row doesn't have it
	Lesser rows.Limit // of the lesser action
	Err    error      // to be set: what Act would return
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

// Run takes a stream through the filter. If its reader has gone it still acts on all
// rows of the snapshot, and ends before the next one. A run that is ended early fails.
func (a Acting) Run(env Env) error {
	OutliveReader()
	if a.Stop == nil {
		a.Stop = NewStop(nil)
	}
	defer a.Stop.release()
	q := queue{Acting: a, env: env, out: rows.NewWriter(env.Out), hands: make(chan struct{}, mostStarted)}
	in := env.In
	if file, ok := in.(*os.File); ok {
		in = interruptible{file, a.Stop, func() bool { return len(q.hands) > 0 }, q.watched}
	}
	err := Stream{
		Need:   append([]rows.Column{rows.Time, rows.Host, rows.User, rows.Actions}, a.Needs...),
		Adds:   append(a.Fills, rows.Notes, rows.Errors),
		Idle:   q.idle,
		Header: q.header,
		Row:    func(record *rows.Record) error { q.row(record); return a.Stop.now() },
	}.Run(in, q.report)
	q.act()
	q.started.Wait()
	q.flush()
	if err == nil && a.Stop.Err() != nil {
		err = ErrFailed
	}
	return err
}

// header begins a snapshot, unless the run is to end early or nobody reads its rows.
func (q *queue) header(record *rows.Record) error {
	q.act()
	q.started.Wait()
	if q.Stop.Err() != nil || q.failed() {
		return ErrFailed
	}
	q.write(record)
	q.headers++
	q.rows = 0
	return nil
}

// idle acts on the rows that have been read and writes them, before a read that may block.
func (q *queue) idle() error {
	q.act()
	q.flush()
	if q.between() && q.failed() {
		return ErrFailed
	}
	return q.Stop.now()
}

// between reports whether all rows of the snapshots so far are known to have been read.
// procstat --every writes the next header as soon as a snapshot is whole. After the first
// header rows may follow, so the filter has to go on even if nobody reads its output.
func (q *queue) between() bool { return q.headers > 1 && q.rows == 0 }

// failed reports whether output could not be written.
func (q *queue) failed() bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	return q.out.Error() != nil
}

// watched returns the output if the run ends as soon as its reader has gone, else nil.
func (q *queue) watched() *checked {
	if out, ok := q.env.Out.(*checked); ok && q.between() {
		return out
	}
	return nil
}

// A queue holds the rows that wait for the action, and those after them.
type queue struct {
	Acting
	env     Env
	out     *rows.Writer
	records []*rows.Record
	due     []*Due
	headers int // that have been read
	rows    int // that have been read since the last header

	mutex   sync.Mutex     // for out and env.Report
	started sync.WaitGroup // rows that Start has in hand
	hands   chan struct{}  // holds as many
}

func (q *queue) write(record *rows.Record) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	_ = q.out.Write(record.Cells()) // env.Out remembers a failure
}

func (q *queue) flush() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.out.Flush()
}

func (q *queue) report(err error) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.env.Report(err)
}

// row queues a row that is due and fit, and every row after such a one. It writes any
// other.
func (q *queue) row(record *rows.Record) {
	q.rows++
	limit, lesser, due, err := q.limits(record)
	var row rows.Row
	if due && err == nil {
		q.flush() // no row waits for another's action
		if row, err = q.fit(record); err == nil {
			err = q.Stop.Err()
		}
	}
	q.conclude(record, err)
	if due = due && err == nil; !due && len(q.due) == 0 {
		q.write(record)
		return
	}
	record = record.Keep()
	if due && q.Start != nil {
		q.start(&Due{Record: record, Row: row, Limit: limit, Lesser: lesser})
		return
	}
	q.records = append(q.records, record)
	if due {
		q.due = append(q.due, &Due{Record: record, Row: row, Limit: limit, Lesser: lesser})
	}
	if q.Together == nil {
		q.act()
	}
}

// limits returns the limits from which on a row is due.
func (a Acting) limits(record *rows.Record) (limit, lesser rows.Limit, due bool, err error) {
	actions := record.Get(rows.Actions)
	if limit, due, err = rows.FindAction(actions, a.Action); err != nil || a.Lesser == "" {
		return limit, lesser, due, err
	}
	lesser, also, err := rows.FindAction(actions, a.Lesser)
	return limit, lesser, due || also, err
}

// start takes a row in hand, which is written when it is done.
func (q *queue) start(d *Due) {
	q.hands <- struct{}{}
	q.started.Add(1)
	q.Start(d, func() {
		q.conclude(d.Record, d.Err)
		q.write(d.Record)
		q.flush()
		<-q.hands
		q.started.Done()
	})
}

// act does what is due, and writes the rows.
func (q *queue) act() {
	switch err := q.Stop.Err(); {
	case err != nil:
		for _, d := range q.due {
			d.Err = err
		}
	case q.Together == nil:
		for _, d := range q.due { // one, or none
			d.Err = q.Act(d.Record, d.Row, d.Limit)
		}
	case len(q.due) > 0:
		q.Together(q.due)
	}
	for _, d := range q.due {
		q.conclude(d.Record, d.Err)
	}
	for _, record := range q.records {
		q.write(record)
	}
	q.due, q.records = q.due[:0], q.records[:0]
}

// fit decodes a row of this host and of now.
func (a Acting) fit(record *rows.Record) (rows.Row, error) {
	if record.Get(rows.Host) != a.Host() {
		return rows.Row{}, Note(rows.NotThisHost)
	}
	row, err := record.Row()
	if err != nil {
		return row, err
	}
	switch age := a.Now().Sub(row.Time.Time).Round(time.Second); {
	case row.Time.IsZero():
		return row, errors.New("time: empty")
	case age > maxAge:
		return row, fmt.Errorf("the row is %s old", age)
	case age < -maxAhead:
		return row, fmt.Errorf("the row is %s in the future", -age)
	}
	return row, nil
}

// conclude writes the outcome of a row into it, and a failure to stderr too.
func (q *queue) conclude(record *rows.Record, err error) {
	var note Note
	switch several, joined := err.(interface{ Unwrap() []error }); {
	case err == nil:
	case joined:
		for _, err := range several.Unwrap() {
			q.conclude(record, err)
		}
	case errors.As(err, &note):
		record.Note(q.Tool, "%s", note)
	default:
		record.Fail(q.Tool, "%s", err)
		q.report(fmt.Errorf("<stdin>:%d: %s: %w", record.Line, record.Get(rows.User), err))
	}
}

// OutliveReader makes a write to a pipe that nobody reads any more an error
// where it would be the end of the process. Children still get the default.
func OutliveReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
