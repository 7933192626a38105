// Package titles tells people apart who share an account: by what their processes say
// of themselves, where the administrator's table, storm.titles(5), says how to read it.
package titles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/table"
	"stormcheck/pkg/trusted"
)

// Default is the table that is used where it exists and no other is named.
const Default = "/etc/stormcheck/titles.csv"

// A Table is a table of titles.
type Table struct {
	path    string
	text    string
	columns []string
	rules   []rule
}

// A rule is one row of the table.
type rule struct {
	account string
	proc    table.Pattern
	title   *regexp.Regexp
	user    int // the group of title that is the user

	uid   uint32 // the account's, once it is known
	known bool
}

// Load reads the table at path or, if that is empty, Default. The table is nil if
// there is none or if it is unfit: then every fault of it is returned.
func Load(path string) (*Table, []error) {
	if path == "" {
		if _, err := os.Lstat(Default); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		path = Default
	}
	text, err := trusted.Read(path)
	if err != nil {
		return nil, []error{err}
	}
	t, faults := Parse(path, string(text))
	if len(faults) > 0 {
		return nil, faults
	}
	return t, nil
}

// Parse reads the text of a table from path. It returns every fault that it has.
func Parse(path, text string) (*Table, []error) {
	t := &Table{path: path, text: text}
	faults := table.Read(path, text, t.readHeader, t.readRule)
	if len(faults) == 0 && len(t.rules) == 0 {
		faults = append(faults, fmt.Errorf("%s: no titles in it", path))
	}
	return t, faults
}

var columns = []string{"account", "proc", "title"}

func (t *Table) readHeader(_ int, cells []string) (faults []error) {
	t.columns = cells
	for _, name := range cells {
		if !slices.Contains(columns, name) {
			faults = append(faults, fmt.Errorf("column %q: there are %s", name, strings.Join(columns, ", ")))
		}
	}
	for _, name := range columns {
		if !slices.Contains(cells, name) {
			faults = append(faults, fmt.Errorf("no column %q", name))
		}
	}
	return faults
}

func (t *Table) readRule(_ int, cells []string) (faults []error) {
	var r rule
	for i, column := range t.columns {
		var err error
		switch cell := cells[i]; column {
		case "account":
			if r.account = cell; cell == "" {
				err = errors.New("empty")
			}
		case "proc":
			r.proc, err = table.Compile(cell)
		case "title":
			r.title, r.user, err = compileTitle(cell)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", column, err))
		}
	}
	t.rules = append(t.rules, r)
	return faults
}

// compileTitle reads an expression with one group named user.
func compileTitle(cell string) (title *regexp.Regexp, user int, err error) {
	if title, err = regexp.Compile(cell); err != nil {
		return nil, 0, err
	}
	for i, name := range title.SubexpNames() {
		switch {
		case name != "user":
		case user > 0:
			return nil, 0, fmt.Errorf("%q: two groups (?P<user>...)", cell)
		default:
			user = i
		}
	}
	if user == 0 {
		return nil, 0, fmt.Errorf("%q: no group (?P<user>...)", cell)
	}
	return title, user, nil
}

// Resolve asks the name service for the uids of the accounts that the table is about.
// Without an answer what it said before holds; before there was one, and where there is
// no such account, titles say nothing.
func (t *Table) Resolve() error {
	type answer struct {
		account.Account
		err error
	}
	answers := map[string]answer{}
	var failed []error
	for i := range t.rules {
		r := &t.rules[i]
		a, asked := answers[r.account]
		if !asked {
			if a.Account, a.err = account.ByName(r.account); a.err != nil {
				failed = append(failed, fmt.Errorf("%s: account %q: %w", t.path, r.account, a.err))
			}
			answers[r.account] = a
		}
		if a.err == nil || errors.Is(a.err, account.ErrNone) {
			r.uid, r.known = a.UID, a.err == nil
		}
	}
	return errors.Join(failed...)
}

// Rules are what a table says of one account's processes of one name.
type Rules []*rule

// For returns the rules for processes of a uid and a name, escaped as the stream has
// it. Mostly there are none.
func (t *Table) For(uid uint32, proc string) (rules Rules) {
	if t == nil {
		return nil
	}
	for i := range t.rules {
		if r := &t.rules[i]; r.known && r.uid == uid && r.proc.Match(proc) {
			rules = append(rules, r)
		}
	}
	return rules
}

// User returns whom a title names: what the group user of the first expression that
// matches holds. It is "" where none does, and where that one's group holds nothing.
// It is any text that a stranger may have chosen.
func (rules Rules) User(title []byte) string {
	for _, r := range rules {
		if found := r.title.FindSubmatchIndex(title); found != nil {
			from, to := found[2*r.user], found[2*r.user+1]
			if from < 0 {
				return ""
			}
			return string(title[from:to])
		}
	}
	return ""
}

// Unchanged returns an error unless the table is the one that was loaded, and was so
// already at a time.
func (t *Table) Unchanged(since time.Time) error {
	text, err := trusted.Read(t.path)
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Lstat(t.path, &stat); err != nil {
		return fmt.Errorf("%s: %w", t.path, err)
	}
	changed := time.Unix(stat.Ctim.Unix()) // which nobody can set back
	if string(text) != t.text || changed.After(since) {
		return fmt.Errorf("%s: changed meanwhile", t.path)
	}
	return nil
}
