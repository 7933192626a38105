// Package table reads the tables that steer a tool, storm.limits(5) and
// storm.titles(5): CSV with comments, from a file and its drop-ins, with globs in the
// manner of the shell's case.
package table

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Read reads the text of a table, called name in messages: CSV as in RFC 4180, with or
// without a byte order mark, in which lines that begin with # are comments. It passes
// the header and then each row to the functions, with their lines. It returns every
// fault of the text, including those that the functions return. If the header has a
// fault no row is passed.
func Read(name, text string, header, row func(line int, cells []string) []error) (faults []error) {
	fault := func(line int, errs ...error) {
		for _, err := range errs {
			faults = append(faults, fmt.Errorf("%s:%d: %w", name, line, err))
		}
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if line, err := encodingFault(text); err != nil {
		fault(line, err)
		return faults
	}
	in := csv.NewReader(strings.NewReader(text))
	in.Comment = '#'
	in.FieldsPerRecord = -1
	for columns := 0; ; {
		cells, err := in.Read()
		if err == io.EOF {
			return faults
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			fault(syntax.Line, syntax.Err)
			if columns == 0 {
				return faults // the next line is no header
			}
			continue
		}
		line, _ := in.FieldPos(0)
		switch {
		case columns == 0:
			if err := headerFault(cells); err != nil {
				fault(line, err)
			} else {
				fault(line, header(line, cells)...)
			}
			if len(faults) > 0 {
				return faults
			}
			columns = len(cells)
		case len(cells) != columns:
			fault(line, cmp.Or(separatorFault(cells), fmt.Errorf("%d cells where the header has %d", len(cells), columns)))
		default:
			fault(line, row(line, cells)...)
		}
	}
}

// encodingFault returns the first line that isn't UTF-8. Comments may be anything.
func encodingFault(text string) (line int, err error) {
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") || strings.Contains(text, "\x00") {
		return 1, errors.New("UTF-16, or no text: save the table as UTF-8")
	}
	if utf8.ValidString(text) {
		return 0, nil
	}
	for record := range strings.Lines(text) {
		line++
		if !strings.HasPrefix(record, "#") && !utf8.ValidString(record) {
			return line, errors.New("not UTF-8: save the table as UTF-8")
		}
	}
	return 0, nil
}

// headerFault returns what is likely wrong with a header as a whole.
func headerFault(cells []string) error {
	if err := separatorFault(cells); err != nil {
		return err
	}
	meant := make([]string, len(cells))
	for i, name := range cells {
		meant[i] = strings.ToLower(strings.TrimSpace(name))
		switch j := slices.Index(cells, name); {
		case strings.ContainsAny(name, "\r\n"):
			return errors.New("a line end within the header: lines end with \\n or \\r\\n")
		case j < i:
			return fmt.Errorf("column %q twice", name)
		}
	}
	if !slices.Equal(meant, cells) {
		return fmt.Errorf("the header is in small letters without spaces: %s", strings.Join(meant, ","))
	}
	return nil
}

// separatorFault returns an error if a record has one cell because something else than
// commas separates its cells.
func separatorFault(cells []string) error {
	if len(cells) != 1 {
		return nil
	}
	for _, s := range []struct{ separator, name string }{{";", "semicolons"}, {"\t", "tabs"}, {" ", "spaces"}} {
		if strings.Contains(strings.Trim(cells[0], s.separator), s.separator) {
			return fmt.Errorf("%s between the cells: write commas", s.name)
		}
	}
	return nil
}
