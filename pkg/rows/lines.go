package rows

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
)

// A raw is a record before it is decoded: its cells without quotes, with one byte
// between them.
type raw struct {
	text []byte
	ends []int // where each cell ends
}

// cell returns a cell. It is valid as long as the raw is.
func (r raw) cell(i int) []byte {
	if i == 0 {
		return r.text[:r.ends[0]]
	}
	return r.text[r.ends[i-1]+1 : r.ends[i]]
}

func (r raw) has(text string) bool {
	start := 0
	for _, end := range r.ends {
		if end-start == len(text) && string(r.text[start:end]) == text {
			return true
		}
		start = end + 1
	}
	return false
}

// hasNumber reports whether a cell is of digits alone.
func (r raw) hasNumber() bool {
	start := 0
	for _, end := range r.ends {
		if start < end && len(bytes.Trim(r.text[start:end], "0123456789")) == 0 {
			return true
		}
		start = end + 1
	}
	return false
}

// strings returns the cells, as strings that outlive the raw.
func (r raw) strings() []string { return r.split(string(r.text), nil) }

// split appends the cells to a slice; text is the raw's, as a string.
func (r raw) split(text string, cells []string) []string {
	start := 0
	for _, end := range r.ends {
		cells = append(cells, text[start:end])
		start = end + 1
	}
	return cells
}

// arranged is split in another order: from has for each result the index of its cell
// in the raw, or -1 for an empty one.
func (r raw) arranged(text string, from []int, cells []string) []string {
	for _, i := range from {
		switch {
		case i < 0:
			cells = append(cells, "")
		case i == 0:
			cells = append(cells, text[:r.ends[0]])
		default:
			cells = append(cells, text[r.ends[i-1]+1:r.ends[i]])
		}
	}
	return cells
}

// A lineReader reads records of CSV. A line without a quote is split in the buffer;
// the tools of the suite write no other. A csv.Reader on the same buffer reads the
// others.
type lineReader struct {
	in     *bufio.Reader
	csv    *csv.Reader
	line   int   // where the last record began
	end    int64 // where it ended, in bytes of the input
	lines  int   // lines split here
	bytes  int64 // bytes of those lines
	quoted int   // lines that csv has read
	last   raw
	text   []byte // of a record that csv has read
}

func newLineReader(in io.Reader) *lineReader {
	l := &lineReader{in: bufio.NewReaderSize(in, bufferSize)}
	l.csv = csv.NewReader(l.in) // doesn't wrap the buffer again, because it is large enough
	l.csv.FieldsPerRecord = -1
	l.csv.ReuseRecord = true
	return l
}

// next returns the next record, which is valid until the next call.
func (l *lineReader) next() (raw, error) {
	for {
		buffered, _ := l.in.Peek(l.in.Buffered())
		length := bytes.IndexByte(buffered, '\n') + 1
		line := buffered[:length]
		if length == 0 || bytes.IndexByte(line, '"') >= 0 {
			return l.byCSV()
		}
		_, _ = l.in.Discard(length) // the line stays where it is until the next read
		l.lines++
		l.bytes += int64(length)
		if line = bytes.TrimSuffix(line[:length-1], []byte{'\r'}); len(line) > 0 {
			l.line, l.end = l.lines+l.quoted, l.bytes+l.csv.InputOffset()
			return l.split(line), nil
		}
	}
}

// split splits a line without quotes.
func (l *lineReader) split(line []byte) raw {
	l.last.text, l.last.ends = line, l.last.ends[:0]
	for i, c := range line {
		if c == ',' {
			l.last.ends = append(l.last.ends, i)
		}
	}
	l.last.ends = append(l.last.ends, len(line))
	return l.last
}

// byCSV reads a record with csv. The line in its error counts from the input's first.
func (l *lineReader) byCSV() (raw, error) {
	cells, err := l.csv.Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		syntax.Line += l.lines
	}
	if err != nil {
		return raw{}, err
	}
	l.text, l.last.ends = l.text[:0], l.last.ends[:0]
	for _, cell := range cells {
		l.text = append(l.text, cell...)
		l.last.ends = append(l.last.ends, len(l.text))
		l.text = append(l.text, ',')
	}
	l.last.text = l.text
	first, _ := l.csv.FieldPos(0)
	l.quoted = first + bytes.Count(l.text, []byte{'\n'})
	l.line, l.end = l.lines+first, l.bytes+l.csv.InputOffset()
	return l.last, nil
}
