package threshold

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
	"stormcheck/pkg/trusted"
)

// builtIn is the table that is in force if there is no limits.csv: the numbers of the
// original storm check. It is installed as limits.csv.
//
//go:embed limits.csv
var builtIn string

// A Table is a table of limits, storm.limits(5): one file, or several joined.
type Table struct {
	files   []*file
	columns []string // of all files, in the order in which they appear
	actions []string // those of columns that are actions
	rules   []*rule  // of all files
}

// A file is one file of a table.
type file struct {
	name    string // for messages
	line    int    // of its header
	columns []string
	actions []string // those of columns that are actions
	dropIn  bool
	rules   []*rule
}

// A rule is one row of a table.
type rule struct {
	file     *file
	line     int // of the file
	cells    []string
	host     table.Pattern // nil if its file has no such column
	account  table.Pattern // nil if its file has no such column
	user     table.Pattern
	proc     table.Pattern // nil for the proc cell "total"
	patterns string        // the cells that are patterns, as the file has them
	name     string        // the cell of the column rule
	limits   []rows.Limit  // one for each action, of the file until join, then of the table
}

// place returns where the rule stands, for messages.
func (r *rule) place() string { return fmt.Sprintf("%s:%d", r.file.name, r.line) }

// load reads the table in force: the file at path alone or, if path is empty, the
// drop-ins and then the file of a place or, if that doesn't exist, the built-in table.
// It returns every fault.
func load(path string, where table.Place) (*Table, []error) {
	if path != "" {
		f, faults := readFile(path, false)
		return join(f), faults
	}
	dropIns, err := where.DropIns()
	if err != nil {
		return nil, []error{err}
	}
	var (
		files  []*file
		faults []error
	)
	for _, path := range dropIns {
		f, found := readFile(path, true)
		files, faults = append(files, f), append(faults, found...)
	}
	last, found := readLast(where.File)
	return join(append(files, last)...), append(faults, found...)
}

func readLast(path string) (*file, []error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return parseFile("built-in limits", builtIn, false)
	}
	return readFile(path, false)
}

func readFile(path string, dropIn bool) (*file, []error) {
	text, err := trusted.Read(path)
	if err != nil {
		return &file{name: path}, []error{err}
	}
	return parseFile(path, string(text), dropIn)
}

// ParseTable reads the text of a table of one file, called name in messages. It
// returns every fault; a table with a fault must not be used.
func ParseTable(name, text string) (*Table, []error) {
	f, faults := parseFile(name, text, false)
	return join(f), faults
}

func parseFile(name, text string, dropIn bool) (*file, []error) {
	f := &file{name: name, dropIn: dropIn}
	faults := table.Read(name, text, f.readHeader, f.readRule)
	switch {
	case len(faults) > 0:
	case f.columns == nil && dropIn:
		faults = append(faults, fmt.Errorf("%s: no header", name))
	case len(f.rules) == 0 && !dropIn:
		// A table that was cut to nothing would end all watching in silence.
		faults = append(faults, fmt.Errorf("%s: no limits in it", name))
	}
	return f, faults
}

func isPattern(column string) bool {
	return slices.Contains([]string{"host", "account", "user", "proc"}, column)
}

var actionName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func (f *file) readHeader(line int, cells []string) (faults []error) {
	f.line, f.columns = line, cells
	for _, name := range cells {
		if isPattern(name) {
			continue
		}
		if !actionName.MatchString(name) {
			faults = append(faults, fmt.Errorf("column %q: an action's name has small letters, digits and -", name))
		}
		f.actions = append(f.actions, name)
	}
	for _, name := range []string{"user", "proc"} {
		if !slices.Contains(cells, name) {
			faults = append(faults, fmt.Errorf("no column %q", name))
		}
	}
	return faults
}

func (f *file) readRule(line int, cells []string) (faults []error) {
	r := &rule{file: f, line: line, cells: cells}
	var (
		user, proc string
		patterns   []string
	)
	for i, column := range f.columns {
		var err error
		cell := cells[i]
		if isPattern(column) {
			patterns = append(patterns, cell)
		}
		switch column {
		case "host":
			r.host, err = table.Compile(cell)
		case "account":
			r.account, err = table.Compile(cell)
		case "user":
			user = cell
			r.user, err = table.Compile(cell)
		case "proc":
			if proc = cell; proc != "total" {
				r.proc, err = table.Compile(cell)
			}
		default:
			var limit rows.Limit
			limit, err = parseLimit(column, cell)
			r.limits = append(r.limits, limit)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", column, err))
		}
	}
	r.patterns = strings.Join(patterns, ",")
	r.name = rows.Escape(user + "/" + proc)
	f.rules = append(f.rules, r)
	if len(faults) == 0 && f.dropIn && r.hidesAll() {
		faults = append(faults, fmt.Errorf("%q on every host hides all rows after it: put it into the last file, limits.csv", r.patterns))
	}
	return faults
}

// parseLimit reads a limit for an action. What a churn limit counts has mostly ended,
// so nothing is left to copy mail for or to end. Growth can't be brought under a limit.
func parseLimit(action, cell string) (rows.Limit, error) {
	limit, err := rows.ParseLimit(cell)
	acts := action == rows.ActionArchive || action == rows.ActionTrim || action == rows.ActionKill
	switch {
	case err != nil:
		return limit, err
	case limit.Churn > 0 && acts:
		return limit, fmt.Errorf("%q: a churn limit counts processes that have ended; it is for log, alert and page", cell)
	case limit.Growth > 0 && action == rows.ActionTrim:
		return limit, fmt.Errorf("%q: a growth limit says nothing of how many may stay", cell)
	}
	return limit, nil
}

// hidesAll reports whether no row after this one can decide, except for rows of
// --total.
func (r *rule) hidesAll() bool {
	all := func(p table.Pattern) bool { return p == nil || p.CoversNonEmpty() }
	return r.proc != nil && all(r.proc) && all(r.user) && all(r.host) && (r.account == nil || r.account.Covers(table.Everything))
}

// join makes one table of files. Its columns are theirs in the order in which they
// appear. An action that a file lacks is never due in its rows; a pattern that it
// lacks matches everything.
func join(files ...*file) *Table {
	t := &Table{files: files}
	for _, f := range files {
		for _, name := range f.columns {
			if !slices.Contains(t.columns, name) {
				t.columns = append(t.columns, name)
				if !isPattern(name) {
					t.actions = append(t.actions, name)
				}
			}
		}
	}
	for _, f := range files {
		for _, r := range f.rules {
			limits := make([]rows.Limit, len(t.actions))
			for i, action := range f.actions {
				limits[slices.Index(t.actions, action)] = r.limits[i]
			}
			r.limits = limits
			t.rules = append(t.rules, r)
		}
	}
	return t
}

// cellsOf returns a rule's cells in the table's columns.
func (t *Table) cellsOf(r *rule) []string {
	cells := make([]string, len(t.columns))
	for i, column := range t.columns {
		if at := slices.Index(r.file.columns, column); at >= 0 {
			cells[i] = r.cells[at]
		} else if isPattern(column) {
			cells[i] = "*"
		}
	}
	return cells
}

// print writes the table as ParseTable reads it, with a comment above the rows of each
// file that names it.
func (t *Table) print(out io.Writer) error {
	w := rows.NewWriter(out)
	_ = w.Write(t.columns) // Error has it
	for _, f := range t.files {
		w.Flush()
		if _, err := fmt.Fprintf(out, "# %s\n", rows.Printable(f.name)); err != nil {
			return err
		}
		for _, r := range f.rules {
			_ = w.Write(t.cellsOf(r))
		}
	}
	w.Flush()
	return w.Error()
}

// least returns the lowest limits of all: a row that doesn't reach them reaches none.
func (t *Table) least() (least rows.Limit) {
	lower := func(least *int64, n int64) {
		if n > 0 && (*least == 0 || n < *least) {
			*least = n
		}
	}
	for _, r := range t.rules {
		for _, l := range r.limits {
			lower(&least.Count, l.Count)
			lower(&least.Growth, l.Growth)
			lower(&least.Churn, l.Churn)
		}
	}
	return least
}

// A subject is what a row is about: cells as the stream has them.
type subject struct{ host, account, user, proc string }

func subjectOf(r *rows.Record) subject {
	return subject{r.Get(rows.Host), r.Get(rows.Account), r.Get(rows.User), r.Get(rows.Proc)}
}

// decide returns the first rule that matches, or nil.
func (t *Table) decide(s subject) *rule {
	for _, r := range t.rules {
		if r.matches(s) {
			return r
		}
	}
	return nil
}

// matches compares the patterns with a subject.
func (r *rule) matches(s subject) bool {
	if r.host != nil && !r.host.Match(s.host) || r.account != nil && !r.account.Match(s.account) || !r.user.Match(s.user) {
		return false
	}
	if r.proc == nil || s.proc == "*" { // all of a user's processes, a row of --total
		return r.proc == nil && s.proc == "*"
	}
	return r.proc.Match(s.proc) || r.proc.Match(s.proc[strings.LastIndexByte(s.proc, '/')+1:])
}

// reached returns the actions cell for a row with these numbers.
func (t *Table) reached(r *rule, numbers rows.Numbers) string {
	var actions []byte
	for i, limit := range r.limits {
		if !limit.Reached(numbers) {
			continue
		}
		if actions != nil {
			actions = append(actions, ' ')
		}
		actions = append(actions, t.actions[i]...)
		actions = append(actions, '=')
		actions = append(actions, limit.String()...)
	}
	return string(actions)
}
