// Package rows is the stream that all stormcheck filters read and write: CSV
// in which a row is one account's processes of one name on one host. Its
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

// A Column is one of the stream's sixteen columns.
type Column int

// The columns, in the order in which procstat and threshold write them.
const (
	Time      Column = iota // start of the scan, RFC 3339, UTC, whole seconds
	Host                    // uname's node name, or --host
	User                    // account name, or the decimal uid where there is none
	UID                     // effective uid
	Proc                    // process name; * in a row of --total
	Count                   // processes
	Zombies                 // of Count, those dead and not yet reaped
	Recent                  // of Count, those started in the last 60 s
	Account                 // the uid's own account, where User is from a process title
	Rule                    // the limits row that decided, user and proc pattern joined by /
	Actions                 // limits reached, name=limit separated by spaces
	Archived                // copies that stand for this row, separated by :
	Killed                  // processes signalled and seen gone
	Remaining               // matching live processes when killstorm stopped
	Notes                   // remarks, "tool: message" separated by "; "
	Errors                  // failures, "tool: message" separated by "; "
	numColumns
)

var columnNames = [numColumns]string{
	"time", "host", "user", "uid", "proc", "count", "zombies", "recent", "account",
	"rule", "actions", "archived", "killed", "remaining", "notes", "errors",
}

// String returns the column's name in the header.
func (c Column) String() string { return columnNames[c] }

// Header returns the names of the first n columns: 9 is what procstat writes,
// 16 the whole stream.
func Header(n int) []string { return columnNames[:n:n] }

// A Row is a record with its cells decoded. Text cells stay as the stream has
// them, escaped; see Unescape.
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
}

// Encode writes the first n columns of all rows to w.
func Encode(w *Writer, n int, all ...Row) error {
	return gocsv.MarshalCSVWithoutHeaders(all, firstCells{w, n})
}

// firstCells is a gocsv.CSVWriter that writes the first n cells of each record.
type firstCells struct {
	*Writer
	n int
}

func (f firstCells) Write(record []string) error { return f.Writer.Write(record[:f.n]) }

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

// A Number is a cell with a plain non-negative decimal, or an empty one: then
// it isn't Known.
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

// UnmarshalCSV reads the cell, by ParseNumber's rules; an empty one isn't Known.
func (n *Number) UnmarshalCSV(cell string) (err error) {
	if cell == "" {
		*n = Number{}
		return nil
	}
	n.N, err = ParseNumber(cell)
	n.Known = err == nil
	return err
}

// maxNumber is the largest uid: 4294967295 is none, but chown(2)'s "leave as it
// is". No machine has as many processes, and a sum of many counts can't wrap.
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

// A Limit is the count from which an action is due. Zero fields don't count:
// the zero Limit is never reached.
type Limit struct {
	Count  int64 // due at this many processes
	Growth int64 // due at this many processes started in the last 60 s
}

// ParseLimit reads a limit as the limits table and the actions column have it:
// "100", "+30" (growth), "100|+60" (either), and "0" or "" (never).
func ParseLimit(s string) (l Limit, err error) {
	if s == "" || s == "0" {
		return Limit{}, nil
	}
	count, growth, both := strings.Cut(s, "|")
	if !both && strings.HasPrefix(s, "+") {
		count, growth = "", s
	}
	if count != "" {
		if l.Count, err = ParseNumber(count); err != nil {
			return Limit{}, err
		}
	}
	if growth != "" {
		digits, plus := strings.CutPrefix(growth, "+")
		if !plus {
			return Limit{}, fmt.Errorf("%q is not a limit", s)
		}
		if l.Growth, err = ParseNumber(digits); err != nil {
			return Limit{}, err
		}
	}
	if both && l.Count == 0 || (both || growth != "") && l.Growth == 0 {
		return Limit{}, fmt.Errorf("%q is not a limit", s)
	}
	return l, nil
}

// String returns the limit as ParseLimit reads it.
func (l Limit) String() string {
	switch {
	case l.Growth == 0:
		return fmt.Sprint(l.Count)
	case l.Count == 0:
		return fmt.Sprintf("+%d", l.Growth)
	}
	return fmt.Sprintf("%d|+%d", l.Count, l.Growth)
}

// Reached reports whether count processes, recent of them started in the last
// 60 s, reach the limit.
func (l Limit) Reached(count, recent int64) bool {
	return l.Count > 0 && count >= l.Count || l.Growth > 0 && recent >= l.Growth
}

// FindAction looks for the action name in an actions cell. An action without a
// limit, with an unreadable one, or named twice is an error: who acts on a row
// must know from which count on.
func FindAction(actions, name string) (limit Limit, due bool, err error) {
	for _, word := range strings.Fields(actions) {
		action, cell, _ := strings.Cut(word, "=")
		if action != name {
			continue
		}
		if due {
			return Limit{}, true, fmt.Errorf("actions: %s twice", name)
		}
		due = true
		if limit, err = ParseLimit(cell); err != nil || limit == (Limit{}) {
			return Limit{}, true, fmt.Errorf("actions: %s has no limit", word)
		}
	}
	return limit, due, nil
}
