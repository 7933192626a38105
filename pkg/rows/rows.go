// Package rows is the stream that all stormcheck filters read and write: CSV in which a
// row is one account's processes of one name on one host. Its
// columns and rules are those of storm.csv(5). It is the only importer of gocsv.
package rows

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gocarina/gocsv"
)

// A Column is one of the stream's columns.
type Column int

// The columns, in the order in which threshold writes them.
const (
	Time      Column = iota // start of the scan, RFC 3339, UTC, whole seconds
	Host                    // uname's node name, or --host
	User                    // account name, or the decimal uid if there is none
	UID                     // effective uid
	Proc                    // process name; * in a row of --total
	Count                   // processes
	Zombies                 // those of Count that are dead and not yet reaped
	Recent                  // those of Count that started in the last 60 s
	Account                 // the uid's own account, if User is from a process title
	Rule                    // the limits row that decided, user and proc pattern joined by /
	Actions                 // limits reached, name=limit separated by spaces
	Archived                // copies that stand for this row, separated by :
	Killed                  // processes signalled and seen gone
	Remaining               // matching live processes when killstorm stopped
	Notes                   // remarks, "tool: message" separated by "; "
	Errors                  // failures, "tool: message" separated by "; "
	Parent                  // the most frequent parent, count:pid:name
	Oldest                  // start of the oldest process, RFC 3339, UTC
	Started                 // processes started in the last 60 s, dead or alive
	numColumns
)

// AllColumns are the stream's columns in the order in which threshold and every log
// have them. New ones are only ever appended.
var AllColumns = func() (all []Column) {
	for c := range numColumns {
		all = append(all, c)
	}
	return all
}()

// SnapshotColumns are what procstat writes: all that is known before any filter has
// acted.
var SnapshotColumns = []Column{Time, Host, User, UID, Proc, Count, Zombies, Recent, Account, Parent, Oldest, Started}

var columnNames = [numColumns]string{
	"time", "host", "user", "uid", "proc", "count", "zombies", "recent", "account",
	"rule", "actions", "archived", "killed", "remaining", "notes", "errors",
	"parent", "oldest", "started",
}

// String returns the column's name in the header.
func (c Column) String() string { return columnNames[c] }

// Header returns the header of these columns.
func Header(columns []Column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.String()
	}
	return names
}

// A Row is a record with its cells decoded. Text cells stay escaped, as the stream has
// them; see Unescape.
type Row struct {
	Time      Timestamp `csv:"time"`
	Host      string    `csv:"host"`
	User      string    `csv:"user"`
	UID       Number    `csv:"uid"`
	Proc      string    `csv:"proc"`
	Count     Number    `csv:"count"`
	Zombies   Number    `csv:"zombies"`
	Recent    Number    `csv:"recent"`
	Account   string    `csv:"account"`
	Rule      string    `csv:"rule"`
	Actions   string    `csv:"actions"`
	Archived  string    `csv:"archived"`
	Killed    Number    `csv:"killed"`
	Remaining Number    `csv:"remaining"`
	Notes     string    `csv:"notes"`
	Errors    string    `csv:"errors"`
	Parent    Parentage `csv:"parent"`
	Oldest    Timestamp `csv:"oldest"`
	Started   Number    `csv:"started"`
}

// Encode writes these columns of all rows to w.
func Encode(w *Writer, columns []Column, all ...Row) error {
	return gocsv.MarshalCSVWithoutHeaders(all, cellsOf{w, columns})
}

// cellsOf is a gocsv.CSVWriter that writes the cells of its columns of each record.
type cellsOf struct {
	*Writer
	columns []Column
}

func (c cellsOf) Write(record []string) error {
	cells := make([]string, len(c.columns))
	for i, column := range c.columns {
		cells[i] = record[column]
	}
	return c.Writer.Write(cells)
}

// A Parentage is the most frequent parent of a row's processes. The zero Parentage is an
// empty cell: unknown.
type Parentage struct {
	Count int64 // how many of the row's processes have it
	PID   int64
	Name  string // escaped, as the stream shows a process name
}

// String returns the cell. A colon in the name is written \x3a.
func (p Parentage) String() string {
	if p == (Parentage{}) {
		return ""
	}
	return fmt.Sprintf("%d:%d:%s", p.Count, p.PID, strings.ReplaceAll(p.Name, ":", `\x3a`))
}

// MarshalCSV returns the cell.
func (p Parentage) MarshalCSV() (string, error) { return p.String(), nil }

// UnmarshalCSV reads the cell. Unescape undoes the name's \x3a with all else.
func (p *Parentage) UnmarshalCSV(cell string) (err error) {
	*p = Parentage{}
	if cell == "" {
		return nil
	}
	parts := strings.Split(cell, ":")
	if len(parts) != 3 {
		return fmt.Errorf("%q is not COUNT:PID:NAME", cell)
	}
	if p.Count, err = ParseNumber(parts[0]); err == nil {
		p.PID, err = ParseNumber(parts[1])
	}
	if err != nil {
		*p = Parentage{}
		return err
	}
	p.Name = parts[2]
	return nil
}

// A Timestamp is a time cell: RFC 3339, whole seconds, UTC when written. The
// zero Timestamp is an empty cell.
type Timestamp struct{ time.Time }

// MarshalCSV returns the cell.
func (t Timestamp) MarshalCSV() (string, error) {
	if t.IsZero() {
		return "", nil
	}
	return t.UTC().Format(time.RFC3339), nil
}

// UnmarshalCSV reads the cell.
func (t *Timestamp) UnmarshalCSV(cell string) (err error) {
	if cell == "" {
		return nil
	}
	t.Time, err = time.Parse(time.RFC3339, cell)
	if err != nil {
		return fmt.Errorf("%q is not an RFC 3339 time", cell)
	}
	return nil
}

// A Number is a cell with a plain non-negative decimal. It isn't Known if the cell is
// empty.
type Number struct {
	N     int64
	Known bool
}

// Known returns the Number n.
func Known(n int64) Number { return Number{n, true} }

// String returns the cell.
func (n Number) String() string {
	if !n.Known {
		return ""
	}
	return strconv.FormatInt(n.N, 10)
}

// MarshalCSV returns the cell.
func (n Number) MarshalCSV() (string, error) { return n.String(), nil }

// UnmarshalCSV reads the cell as ParseNumber does; an empty one isn't Known.
func (n *Number) UnmarshalCSV(cell string) (err error) {
	if cell == "" {
		*n = Number{}
		return nil
	}
	n.N, err = ParseNumber(cell)
	n.Known = err == nil
	return err
}

// maxNumber is the largest uid: 4294967295 means "don't change it" in chown(2). No
// machine has as many processes, and a sum of many counts can't overflow.
const maxNumber = math.MaxUint32 - 1

// ParseNumber reads a plain non-negative decimal: digits only, no sign, no
// space, no leading zero, at most 4294967294.
func ParseNumber(s string) (n int64, err error) { return parseNumber(s) }

func parseNumber[T string | []byte](s T) (n int64, err error) {
	if len(s) == 0 || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not a number", s)
		}
		if n = n*10 + int64(c-'0'); n > maxNumber {
			return 0, fmt.Errorf("%q is too large", s)
		}
	}
	return n, nil
}
