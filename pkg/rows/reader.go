package rows

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"github.com/gocarina/gocsv"
)

// maxRecord is the longest record, in bytes; a longer one ends reading, so that
// an unterminated quote doesn't take the whole input into memory.
const maxRecord = 1 << 20

// bufferSize is how many bytes a Reader reads at once.
const bufferSize = 64 << 10

// ErrEmpty is the error of a stream without any byte. Even an empty snapshot has a
// header, so the stage before has failed.
var ErrEmpty = errors.New("no input, not even a header: the stage before failed")

// An Error is a fault in the stream. After one that isn't Fatal, reading goes on.
type Error struct {
	Name  string // the input's name, "<stdin>"
	Line  int    // its line, from 1
	What  string
	Fatal bool
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.What) }

// A Layout is what the header of a snapshot says: which columns there are and where.
type Layout struct {
	names []string        // all columns, as a Record has them
	at    [numColumns]int // index in names, -1 if missing
	input [numColumns]int // index in the input, -1 if missing
	width int             // columns of the input
	from  []int           // of Standard: for each of names its index in the input, -1 if missing
}

// Names returns the header. It must not be changed.
func (l *Layout) Names() []string { return l.names }

// Has reports whether the layout has column c.
func (l *Layout) Has(c Column) bool { return l.at[c] >= 0 }

// Add appends those of columns that the layout lacks, for a filter that writes them.
func (l *Layout) Add(columns ...Column) {
	for _, c := range columns {
		if !l.Has(c) {
			l.at[c] = len(l.names)
			l.names = append(l.names, c.String())
		}
	}
}

// Standard puts AllColumns first, in their order, and all others after them, in
// theirs. It adds those of AllColumns that the input lacks.
func (l *Layout) Standard() {
	names, from := Header(AllColumns), slices.Clone(l.input[:])
	for i, name := range l.names[:l.width] {
		if !slices.Contains(l.input[:], i) {
			names, from = append(names, name), append(from, i)
		}
	}
	for c := range l.at {
		l.at[c] = c
	}
	l.names, l.from = names, from
}

// newLayout takes a header. A column without a name, a name that comes twice, and a
// needed one that is missing are errors.
func newLayout(header []string, need []Column) (*Layout, error) {
	l := &Layout{names: header, width: len(header)}
	for c := range l.at {
		l.at[c] = slices.Index(header, columnNames[c])
	}
	l.input = l.at
	for i, name := range header {
		if name == "" {
			return l, fmt.Errorf("header: column %d has no name", i+1)
		}
		if j := slices.Index(header, name); j < i {
			return l, fmt.Errorf("header: column %q twice", name)
		}
	}
	for _, c := range need {
		if !l.Has(c) {
			if c == Actions {
				return l, fmt.Errorf("header: no column %q, which threshold adds", c)
			}
			return l, fmt.Errorf("header: no column %q", c)
		}
	}
	return l, nil
}

// A Record is one record of the stream with its layout. The Reader reuses it: it is
// valid until the next Read.
type Record struct {
	*Layout
	Line   int
	Header bool     // it is the header that begins a snapshot
	cells  []string // of a row
}

// Cells returns all cells, or the names if the record is a header. They must not be
// changed.
func (r *Record) Cells() []string {
	if r.Header {
		return r.names
	}
	return r.cells
}

// Keep returns a copy of the record that outlives the next Read.
func (r *Record) Keep() *Record {
	kept := *r
	kept.cells = slices.Clone(r.cells)
	return &kept
}

// Get returns the cell of column c, "" if the layout lacks it.
func (r *Record) Get(c Column) string {
	if r.at[c] < 0 {
		return ""
	}
	return r.cells[r.at[c]]
}

// Set fills the cell of column c, which the layout must have.
func (r *Record) Set(c Column, cell string) { r.cells[r.at[c]] = cell }

// All returns the cells of AllColumns, "" for those that the layout lacks.
func (r *Record) All() []string {
	cells := make([]string, numColumns)
	for c := range numColumns {
		cells[c] = r.Get(c)
	}
	return cells
}

// Row decodes the record.
func (r *Record) Row() (Row, error) {
	// gocsv gets only the known columns. It would take a name that differs in case or
	// spaces for one of them.
	var decoded []Row
	err := gocsv.UnmarshalCSV(oneRecord(r.All()), &decoded)
	var fault *csv.ParseError
	switch {
	case errors.As(err, &fault): // gocsv's line is that of our one record
		return Row{}, fmt.Errorf("%s: %w", Column(fault.Column-1), fault.Err)
	case err != nil:
		return Row{}, err
	}
	return decoded[0], nil
}

// oneRecord is a gocsv.CSVReader over the full header and one record.
type oneRecord []string

func (o oneRecord) Read() ([]string, error) { return nil, io.EOF }

func (o oneRecord) ReadAll() ([][]string, error) { return [][]string{columnNames[:], o}, nil }

// A Reader reads a stream record by record. It accepts RFC 4180 quoting, \r\n, a byte
// order mark, columns in any order, and several streams joined.
type Reader struct {
	// Skip, if set, is asked for each fit row, before it is decoded, whether its
	// numbers rule it out. Read passes over such rows, but never over a gap.
	Skip func(Numbers) bool
	// Borrow makes the cells of a row valid only until the next Read, as the row is. That
	// saves a copy of each line. A caller that keeps a cell clones it.
	Borrow bool

	name   string
	need   []Column
	in     *source
	lines  *lineReader
	layout *Layout // of the present snapshot; nil before the first header
	fit    bool    // its rows are read, not refused
	row    Record  // what Read returns of a row
	fatal  error
}

// NewReader returns a Reader of in, called name in messages. Headers must have the
// needed columns. beforeRead is called before each read of in, which may block, so that
// a filter can write what it has; its error ends reading.
func NewReader(in io.Reader, name string, beforeRead func() error, need ...Column) *Reader {
	r := &Reader{name: name, need: need, in: &source{in: in, beforeRead: beforeRead}}
	r.lines = newLineReader(r.in)
	return r
}

// Read returns the next record. An *Error that isn't Fatal refuses one row, or a header
// with all its rows. If that record is a header at all it is returned with the error,
// to be passed on. After any other error, such as io.EOF, there are no more records.
func (r *Reader) Read() (*Record, error) {
	for r.fatal == nil {
		start := r.lines.end
		r.in.limit = start + maxRecord + bufferSize
		raw, err := r.lines.next()
		if err != nil {
			r.fatal = r.endError(err)
			break
		}
		switch {
		case r.lines.end-start > maxRecord:
			r.fatal = r.fault(r.lines.line, true, "record over %d bytes", maxRecord)
		case r.in.cut() && r.lines.end == r.in.offset:
			r.fatal = io.EOF
			return nil, r.fault(r.lines.line, false, "the last line is cut")
		case r.layout == nil || isHeader(raw):
			return r.header(raw)
		case r.fit:
			if skipped, err := r.judge(raw); err != nil {
				return nil, err
			} else if !skipped {
				return r.decode(raw), nil
			}
		}
	}
	return nil, r.fatal
}

// isHeader reports whether the record begins a snapshot: it has cells user, proc and
// count, and none that is a number. A row has a number at least in its count, so an
// account and a process with the names of columns don't make a header of it.
func isHeader(raw raw) bool {
	// Few rows have a cell "count", so the first test decides for nearly all.
	return raw.has("count") && raw.has("user") && raw.has("proc") && !raw.hasNumber()
}

// ParseHeader returns the cells of one record of a stream if it is a header, else nil.
func ParseHeader(record []byte) []string {
	for _, name := range []string{"count", "user", "proc"} { // few rows contain them
		if !bytes.Contains(record, []byte(name)) {
			return nil
		}
	}
	raw, err := newLineReader(bytes.NewReader(bytes.TrimPrefix(record, []byte("\xef\xbb\xbf")))).next()
	if err != nil || !isHeader(raw) {
		return nil
	}
	return raw.strings()
}

// header begins a snapshot. A first record that isn't a header at all isn't returned,
// so that the next stage doesn't see a stream either.
func (r *Reader) header(raw raw) (*Record, error) {
	layout, err := newLayout(raw.strings(), r.need)
	r.layout, r.fit = layout, err == nil
	record := &Record{Layout: layout, Line: r.lines.line, Header: true}
	switch {
	case r.fit:
		return record, nil
	case isHeader(raw):
		return record, r.fault(r.lines.line, false, "%s", err)
	}
	return nil, r.fault(r.lines.line, false, "%s", err)
}

// judge refuses a row that isn't fit, and asks Skip about one that is.
func (r *Reader) judge(raw raw) (skipped bool, err error) {
	if len(raw.ends) != r.layout.width {
		return false, r.fault(r.lines.line, false, "%d cells where the header has %d", len(raw.ends), r.layout.width)
	}
	var numbers [numColumns]int64
	for _, c := range [...]Column{UID, Count, Zombies, Recent, Killed, Remaining, Started} {
		at := r.layout.input[c]
		if at < 0 {
			continue
		}
		cell := raw.cell(at)
		if len(cell) == 0 && !slices.Contains(r.need, c) {
			continue
		}
		if numbers[c], err = parseNumber(cell); err != nil {
			return false, r.fault(r.lines.line, false, "%s: %s", c, err)
		}
	}
	if r.Skip == nil || !r.Skip(Numbers{numbers[Count], numbers[Recent], numbers[Started]}) {
		return false, nil
	}
	return numbers[Count] > 0 || !r.isGap(raw), nil
}

// isGap reports whether a row without processes may be a gap.
func (r *Reader) isGap(raw raw) bool {
	at := r.layout.input[User]
	return at >= 0 && string(raw.cell(at)) == gapName
}

// decode makes a Record of a fit row.
func (r *Reader) decode(raw raw) *Record {
	r.row.Layout, r.row.Line = r.layout, r.lines.line
	text := ""
	if r.Borrow {
		text = unsafe.String(unsafe.SliceData(raw.text), len(raw.text))
	} else {
		text = string(raw.text)
	}
	if r.layout.from != nil {
		r.row.cells = raw.arranged(text, r.layout.from, r.row.cells[:0])
		return &r.row
	}
	r.row.cells = raw.split(text, r.row.cells[:0])
	for len(r.row.cells) < len(r.layout.names) {
		r.row.cells = append(r.row.cells, "")
	}
	return &r.row
}

// endError returns why reading ended.
func (r *Reader) endError(err error) error {
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		return r.fault(syntax.Line, true, "%s", syntax.Err)
	case errors.Is(err, errTooLong):
		return r.fault(r.lines.line+1, true, "record over %d bytes", maxRecord)
	case err != io.EOF:
		return fmt.Errorf("%s: %w", r.name, err)
	case r.in.offset == 0:
		return fmt.Errorf("%s: %w", r.name, ErrEmpty)
	case r.layout == nil:
		return r.fault(1, true, "no header")
	}
	return io.EOF
}

func (r *Reader) fault(line int, fatal bool, format string, args ...any) *Error {
	return &Error{Name: r.name, Line: line, Fatal: fatal, What: fmt.Sprintf(format, args...)}
}

var errTooLong = errors.New("record too long")

// A source is a Reader's input without its byte order mark. It remembers how the input
// ended, and fails if a record is longer than it may be.
type source struct {
	in         io.Reader
	beforeRead func() error
	offset     int64 // bytes handed out
	limit      int64 // the most that may be handed out now
	last       byte
	ended      bool
	begun      bool
}

func (s *source) Read(p []byte) (int, error) {
	if s.offset >= s.limit {
		return 0, errTooLong
	}
	if err := s.beforeRead(); err != nil {
		return 0, err
	}
	if !s.begun {
		s.begun = true
		if err := s.skipBOM(); err != nil {
			return 0, err
		}
	}
	n, err := s.in.Read(p)
	s.offset += int64(n)
	if n > 0 {
		s.last = p[n-1]
	}
	s.ended = err == io.EOF
	return n, err
}

// skipBOM drops a byte order mark, which some spreadsheets and shells write.
func (s *source) skipBOM() error {
	const bom = "\xef\xbb\xbf"
	head := make([]byte, len(bom))
	n, err := io.ReadFull(s.in, head)
	if string(head[:n]) != bom {
		s.in = io.MultiReader(bytes.NewReader(head[:n]), s.in)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil // the next read returns it again
	}
	return err
}

// cut reports whether the input ended within a line.
func (s *source) cut() bool { return s.ended && s.last != '\n' }
