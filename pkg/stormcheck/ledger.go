//go:build linux

package stormcheck

import (
	"errors"
	"io"

	"stormcheck/pkg/rows"
)

// A ledger reads the stream that is written to it, and passes each row on to a
// function.
type ledger struct {
	*io.PipeWriter
	done chan struct{}
}

func newLedger(row func(*rows.Record)) *ledger {
	in, out := io.Pipe()
	l := &ledger{out, make(chan struct{})}
	go func() {
		defer close(l.done)
		reader := rows.NewReader(in, "rows", func() error { return nil })
		for {
			record, err := reader.Read()
			var fault *rows.Error
			switch {
			case errors.As(err, &fault) && !fault.Fatal:
			case err != nil:
				_, _ = io.Copy(io.Discard, in) // a writer never waits
				return
			case !record.Header:
				row(record)
			}
		}
	}()
	return l
}

// Close ends the stream, and returns when its last row has been passed on.
func (l *ledger) Close() error {
	err := l.PipeWriter.Close()
	<-l.done
	return err
}
