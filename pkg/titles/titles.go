// Package titles reads what processes say of themselves as the administrator's table,
// storm.titles(5), has it: which of several people who share an account a process serves,
// and which program an interpreter runs.
package titles

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/rows"
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
	account  string        // as the table has it
	accounts table.Pattern // if it is a pattern
	proc     table.Pattern
	title    *regexp.Regexp
	user     int // the group of title that is the user, 0 if it has none
	program  int // the group of title that is the program, 0 if it has none

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
	if len(faults) == 0 && t.columns == nil {
		faults = append(faults, fmt.Errorf("%s: no header in it", path))
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
			switch r.account = cell; {
			case cell == "":
				err = errors.New("empty")
			case strings.ContainsAny(cell, "*?[|"):
				r.accounts, err = table.Compile(cell)
			}
		case "proc":
			r.proc, err = table.Compile(cell)
		case "title":
			err = r.compileTitle(cell)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", column, err))
		}
	}
	if r.accounts != nil && r.user > 0 {
		faults = append(faults, fmt.Errorf("account: %q: with a group (?P<user>...) it must be one account: else one could speak for another", r.account))
	}
	t.rules = append(t.rules, r)
	return faults
}

// compileTitle reads an expression with a group named user, or proc, or both.
func (r *rule) compileTitle(cell string) (err error) {
	if r.title, err = regexp.Compile(cell); err != nil {
		return err
	}
	groups := map[string]*int{"user": &r.user, "proc": &r.program}
	for i, name := range r.title.SubexpNames() {
		switch group := groups[name]; {
		case group == nil:
		case *group > 0:
			return fmt.Errorf("%q: two groups (?P<%s>...)", cell, name)
		default:
			*group = i
		}
	}
	if r.user == 0 && r.program == 0 {
		return fmt.Errorf("%q: no group (?P<user>...) or (?P<proc>...)", cell)
	}
	return nil
}

// Resolve asks the name service for the uids of the accounts that the table is about. If
// there is no answer, the last one holds. Before the first answer, and for an account that
// doesn't exist, titles say nothing.
func (t *Table) Resolve() error {
	type answer struct {
		account.Account
		err error
	}
	answers := map[string]answer{}
	var failed []error
	for i := range t.rules {
		r := &t.rules[i]
		if r.accounts != nil {
			continue
		}
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

// Concerns reports whether there may be rules for processes of a uid, whatever the name
// of its account, and of a name, escaped as the stream has it.
func (t *Table) Concerns(uid uint32, proc string) bool {
	if t == nil {
		return false
	}
	for i := range t.rules {
		if r := &t.rules[i]; (r.accounts != nil || r.known && r.uid == uid) && r.proc.Match(proc) {
			return true
		}
	}
	return false
}

// NeedsNames reports whether RulesOf needs names of accounts: not if every account of the
// table is one account or all.
func (t *Table) NeedsNames() bool {
	return slices.ContainsFunc(t.rules, func(r rule) bool { return r.accounts != nil && !r.accounts.Covers(all) })
}

var all, _ = table.Compile("*")

// Rules are what a table says of one account's processes of one name.
type Rules []*rule

// RulesOf returns the rules for processes of an account, whose name is empty if it has none,
// and of a name, escaped as the stream has it. Mostly there are none.
func (t *Table) RulesOf(a account.Account, proc string) (rules Rules) {
	if t == nil {
		return nil
	}
	name := rows.EscapeName(a.Name)
	if name == "" {
		name = strconv.FormatUint(uint64(a.UID), 10)
	}
	for i := range t.rules {
		r := &t.rules[i]
		if r.accounts == nil && !(r.known && r.uid == a.UID) || r.accounts != nil && !r.accounts.Match(name) {
			continue
		}
		if r.proc.Match(proc) {
			rules = append(rules, r)
		}
	}
	return rules
}

// For returns the rules for processes of a uid and a name that name users.
func (t *Table) For(uid uint32, proc string) Rules {
	return slices.DeleteFunc(t.RulesOf(account.Account{UID: uid}, proc), func(r *rule) bool { return r.user == 0 })
}

// User returns the user that a title names, "" if it names none.
func (rules Rules) User(title []byte) string { return rules.Read(title).User }

// least is the smallest number of processes that make a program a name of its own.
const least = 5

// Of returns the rules that matter for so many processes: none if titles could only name
// programs and there are too few for one.
func (rules Rules) Of(processes int) Rules {
	if processes < least && !slices.ContainsFunc(rules, func(r *rule) bool { return r.user > 0 }) {
		return nil
	}
	return rules
}

// A Saying is what a title says of its process. It is any text that a stranger may have
// chosen.
type Saying struct {
	User string // "" if it names none
	Proc string // the program; "" if it names none
}

// Read returns what a title says: the groups of the first expression that matches. If a
// group matches nothing, the title says nothing of it.
func (rules Rules) Read(title []byte) (s Saying) {
	for _, r := range rules {
		found := r.title.FindSubmatchIndex(title)
		if found == nil {
			continue
		}
		group := func(n int) string {
			if n == 0 || found[2*n] < 0 {
				return ""
			}
			return string(title[found[2*n]:found[2*n+1]])
		}
		return Saying{User: group(r.user), Proc: programName(group(r.program))}
	}
	return s
}

// maxProgram is the longest name of a program, in bytes.
const maxProgram = 64

// programName returns the name of a program from its path: its last component. It is ""
// for text with a blank, because that holds arguments, which may be secrets.
func programName(text string) string {
	name := text[strings.LastIndexByte(text, '/')+1:]
	if strings.ContainsAny(text, " \t\n") || len(name) > maxProgram {
		return ""
	}
	return name
}

// Programs are the names of programs in the titles of one account's processes of one
// comm, and how many processes have each.
type Programs map[string]int64

// mostPrograms is how many programs of one account and comm have a name of their own.
const mostPrograms = 5

// Standing returns the programs that have a name of their own in the stream: the five
// most frequent that have five processes or more. The processes of all others stay under
// their comm, so that nobody hides a storm under many names.
func (p Programs) Standing() Programs {
	names := slices.Collect(maps.Keys(p))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" || p[name] < least })
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(-cmp.Compare(p[a], p[b]), cmp.Compare(a, b)) })
	standing := Programs{}
	for _, name := range names[:min(len(names), mostPrograms)] {
		standing[name] = p[name]
	}
	return standing
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
