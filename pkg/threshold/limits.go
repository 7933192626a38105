package threshold

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
)

// builtIn is the table that is in force where there is no other: the numbers of
// the original storm check. It is installed as limits.csv.
//
//go:embed limits.csv
var builtIn string

// A Table is a table of limits, storm.limits(5).
type Table struct {
	name    string // of the file, for messages
	line    int    // of its header
	header  []string
	actions []string // its columns that are actions
	rules   []rule
}

// A rule is one row of the table.
type rule struct {
	line     int // of the file
	row      int // of the table without its comments, the header's being 1
	cells    []string
	host     table.Pattern // nil in a table without such a column
	account  table.Pattern // likewise
	user     table.Pattern
	proc     table.Pattern // nil for the proc cell "total"
	patterns string        // the cells that are patterns, as the table has them
	name     string        // what the column rule says
	limits   []rows.Limit  // one for each action
}

var actionName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// ParseTable reads a table, called name in messages. It returns every fault that
// the text has; a table with a fault must not be used.
func ParseTable(name, text string) (*Table, []error) {
	t := Table{name: name}
	faults := table.Read(name, text, t.readHeader, t.readRule)
	if len(faults) == 0 && len(t.rules) == 0 {
		// A table cut to nothing would end all watching in silence.
		faults = append(faults, fmt.Errorf("%s: no limits in it", name))
	}
	return &t, faults
}

func (t *Table) readHeader(line int, cells []string) (faults []error) {
	t.line, t.header = line, cells
	for _, name := range cells {
		switch name {
		case "host", "account", "user", "proc":
			continue
		}
		if !actionName.MatchString(name) {
			faults = append(faults, fmt.Errorf("column %q: an action is named by small letters, digits and -", name))
		}
		t.actions = append(t.actions, name)
	}
	for _, name := range []string{"user", "proc"} {
		if !slices.Contains(cells, name) {
			faults = append(faults, fmt.Errorf("no column %q", name))
		}
	}
	return faults
}

func (t *Table) readRule(line int, cells []string) (faults []error) {
	r := rule{line: line, row: len(t.rules) + 2, cells: cells}
	var (
		user, proc string
		patterns   []string
	)
	for i, column := range t.header {
		var err error
		switch column {
		case "host", "account", "user", "proc":
			patterns = append(patterns, cells[i])
		}
		switch cell := cells[i]; column {
		case "host":
			r.host, err = table.Compile(cell)
		case "account":
			r.account, err = table.Compile(cell)
		case "user":
			user = cell
			r.user, err = table.Compile(cell)
		case "proc":
			proc = cell
			if proc != "total" {
				r.proc, err = table.Compile(cell)
			}
		default:
			var limit rows.Limit
			limit, err = rows.ParseLimit(cell)
			r.limits = append(r.limits, limit)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", column, err))
		}
	}
	r.patterns = strings.Join(patterns, ",")
	r.name = rows.Escape(user + "/" + proc)
	t.rules = append(t.rules, r)
	return faults
}

// print writes the table, as ParseTable reads it.
func (t *Table) print(out io.Writer) error {
	w := rows.NewWriter(out)
	_ = w.Write(t.header) // Error has it
	for _, r := range t.rules {
		_ = w.Write(r.cells)
	}
	w.Flush()
	return w.Error()
}

// least returns the lowest limits of all: a row that doesn't reach them reaches none.
func (t *Table) least() (least rows.Limit) {
	for _, r := range t.rules {
		for _, l := range r.limits {
			if l.Count > 0 && (least.Count == 0 || l.Count < least.Count) {
				least.Count = l.Count
			}
			if l.Growth > 0 && (least.Growth == 0 || l.Growth < least.Growth) {
				least.Growth = l.Growth
			}
			if l.Churn > 0 && (least.Churn == 0 || l.Churn < least.Churn) {
				least.Churn = l.Churn
			}
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
	for i := range t.rules {
		if r := &t.rules[i]; r.matches(s) {
			return r
		}
	}
	return nil
}

// matches holds the patterns against a subject.
func (r *rule) matches(s subject) bool {
	if r.host != nil && !r.host.Match(s.host) || r.account != nil && !r.account.Match(s.account) || !r.user.Match(s.user) {
		return false
	}
	if r.proc == nil || s.proc == "*" { // all of a user's processes, a row of --total
		return r.proc == nil && s.proc == "*"
	}
	return r.proc.Match(s.proc) || r.proc.Match(s.proc[strings.LastIndexByte(s.proc, '/')+1:])
}

// reached returns the actions cell of a row with these numbers.
func (t *Table) reached(r *rule, n rows.Numbers) string {
	var actions []byte
	for i, limit := range r.limits {
		if !limit.Reached(n) {
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
