package rows

import (
	"bufio"
	"io"
	"strings"
)

// A Writer writes records. After a failure it writes nothing more, and every call
// returns that first error. So an acting filter can finish its work without a reader.
type Writer struct {
	out *bufio.Writer
}

// NewWriter returns a Writer to out.
func NewWriter(out io.Writer) *Writer { return &Writer{bufio.NewWriterSize(out, bufferSize)} }

// Write writes one record. It quotes a cell only if it must: the cells of the suite
// never need it, a column of a user's own may.
func (w *Writer) Write(record []string) error {
	line := w.out.AvailableBuffer()
	for i, cell := range record {
		if i > 0 {
			line = append(line, ',')
		}
		// A line that begins with # is a comment in a table of limits.
		if needsQuotes(cell) || i == 0 && strings.HasPrefix(cell, "#") {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		line = append(line, cell...)
	}
	_, err := w.out.Write(append(line, '\n'))
	return err
}

func needsQuotes(cell string) bool {
	for i := range len(cell) {
		if c := cell[i]; c == ',' || c == '"' || c == '\n' || c == '\r' {
			return true
		}
	}
	return false
}

// Flush writes what is buffered.
func (w *Writer) Flush() { _ = w.out.Flush() }

// Error returns the first failure to write.
func (w *Writer) Error() error {
	_, err := w.out.Write(nil)
	return err
}
