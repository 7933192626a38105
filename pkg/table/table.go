// Package table reads the tables that an administrator writes, storm.limits(5) and
// storm.titles(5): CSV with comments, and globs as in the shell's case. A broken table
// or pattern is a fault with its line, never taken for something else.
package table

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Read reads a table that steers a tool, called name in messages: CSV in which
// lines that begin with # are comments. It passes the header and then each row to the
// functions, with their lines, and returns every fault that the text has, what they
// return among them. Where the header has a fault no row is passed.
func Read(name, text string, header, row func(line int, cells []string) []error) (faults []error) {
	in := csv.NewReader(strings.NewReader(text))
	in.Comment = '#'
	in.FieldsPerRecord = -1
	fault := func(line int, errs ...error) {
		for _, err := range errs {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, line, err))
		}
	}
	for columns := 0; ; {
		cells, err := in.Read()
		if err == io.EOF {
			return faults
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			fault(syntax.Line, syntax.Err)
			if columns == 0 {
				return faults // the next line is none
			}
			continue
		}
		line, _ := in.FieldPos(0)
		switch {
		case columns == 0:
			fault(line, repeated(cells)...)
			fault(line, header(line, cells)...)
			if len(faults) > 0 {
				return faults
			}
			columns = len(cells)
		case len(cells) != columns:
			fault(line, fmt.Errorf("%d cells where the header has %d", len(cells), columns))
		default:
			fault(line, row(line, cells)...)
		}
	}
}

// repeated returns a fault for each column that stands in a header again.
func repeated(cells []string) (faults []error) {
	for i, name := range cells {
		if slices.Index(cells, name) < i {
			faults = append(faults, fmt.Errorf("column %q twice", name))
		}
	}
	return faults
}
