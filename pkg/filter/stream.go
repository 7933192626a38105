package filter

import (
	"errors"
	"io"

	"stormcheck/pkg/rows"
)

// A Stream takes a stream of rows through a tool: it reads, reports what is
// refused, and passes each header and row to the tool.
type Stream struct {
	Need   []rows.Column            // a header must have them
	Adds   []rows.Column            // the tool fills them, so they are added to the layout if it lacks them
	Layout func(*rows.Layout)       // changes the layout of a fit header; nil: only Adds does
	Idle   func() error             // called before each read that may block; its error ends the stream
	Skip   func(rows.Numbers) bool  // see rows.Reader
	Borrow bool                     // see rows.Reader
	Header func(*rows.Record) error // an unfit one too: it ends the snapshot before
	Row    func(*rows.Record) error
}

// Run reads in to its end. It returns the error that ended it early, if one did:
// of reading, or the first that one of the functions returned.
func (s Stream) Run(in io.Reader, report func(error)) error {
	reader := rows.NewReader(in, "<stdin>", s.Idle, s.Need...)
	reader.Skip, reader.Borrow = s.Skip, s.Borrow
	for {
		record, err := reader.Read()
		switch {
		case err == io.EOF:
			return nil
		case isRefusal(err):
			report(err)
			if record == nil {
				continue
			}
		case err != nil:
			return err
		case record.Header:
			record.Add(s.Adds...)
			if s.Layout != nil {
				s.Layout(record.Layout)
			}
		}
		handle := s.Row
		if record.Header {
			handle = s.Header
		}
		if err := handle(record); err != nil {
			return err
		}
	}
}

// isRefusal reports whether err refuses a row or a header, after which reading
// goes on.
func isRefusal(err error) bool {
	var fault *rows.Error
	return errors.As(err, &fault) && !fault.Fatal
}
