package threshold

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"stormcheck/pkg/account"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
)

// answered are the actions that the suite's own filters act on.
var answered = []string{rows.ActionLog, rows.ActionAlert, rows.ActionArchive, rows.ActionPage, rows.ActionTrim, rows.ActionKill}

// warnings returns what is no fault of the table but is hardly meant.
func (t *Table) warnings() (found []error) {
	warn := func(place string, all ...string) {
		for _, what := range all {
			found = append(found, fmt.Errorf("%s: warning: %s", place, what))
		}
	}
	last := t.files[len(t.files)-1]
	here, err := os.Hostname()
	if err == nil && !slices.ContainsFunc(t.rules, func(r *rule) bool { return r.isFor(here) }) {
		warn(last.name, fmt.Sprintf("no row applies to this host: its node name is %q", here))
	}
	for _, f := range t.files {
		place := fmt.Sprintf("%s:%d", f.name, f.line)
		for _, action := range f.actions {
			if !slices.Contains(answered, action) {
				warn(place, action+": no tool of stormcheck answers to this action")
			}
		}
		warn(place, f.lacks(last)...)
	}
	if i := slices.IndexFunc(t.rules, (*rule).hasChurn); i >= 0 {
		warn(t.rules[i].place(), rows.NeedsChurn)
	}
	var users userCheck
	for i, r := range t.rules {
		warn(r.place(), t.shadowed(i)...)
		warn(r.place(), r.misspelled()...)
		warn(r.place(), r.wrongNames()...)
		warn(r.place(), t.ends(r)...)
		if r.isFor(here) {
			warn(r.place(), users.check(r, t.limit(r, rows.ActionKill) != rows.Limit{})...)
		}
	}
	return found
}

// isFor reports whether the rule's host pattern takes the node name.
func (r *rule) isFor(node string) bool { return r.host == nil || r.host.Match(rows.Escape(node)) }

func (r *rule) hasChurn() bool {
	return slices.ContainsFunc(r.limits, func(l rows.Limit) bool { return l.Churn > 0 })
}

// limit returns the rule's limit for an action.
func (t *Table) limit(r *rule, action string) rows.Limit {
	if i := slices.Index(t.actions, action); i >= 0 {
		return r.limits[i]
	}
	return rows.Limit{}
}

// lacks warns of the columns that a drop-in lacks and the last file has. A drop-in without
// any action is meant to exempt, so it lacks none.
func (f *file) lacks(last *file) (found []string) {
	if !f.dropIn {
		return nil
	}
	for _, name := range last.columns {
		switch {
		case slices.Contains(f.columns, name):
		case isPattern(name):
			found = append(found, fmt.Sprintf("no column %q, which %s has: its rows are for every %s", name, last.name, name))
		case len(f.actions) > 0:
			found = append(found, fmt.Sprintf("no column %q, which %s has: %s is never due in its rows", name, last.name, name))
		}
	}
	return found
}

// shadowed warns of a rule that never decides because earlier ones match all that it does.
// It finds a rule that one earlier rule covers. It doesn't find one that only several
// earlier rules cover together, except for the alternatives of proc.
func (t *Table) shadowed(i int) []string {
	r := t.rules[i]
	var by []string
	takes := func(alternatives table.Pattern) bool {
		for _, e := range t.rules[:i] {
			if e.takes(r, alternatives) {
				place := e.place()
				if e.file == r.file {
					place = fmt.Sprintf("line %d", e.line)
				}
				if !slices.Contains(by, place) {
					by = append(by, place)
				}
				return true
			}
		}
		return false
	}
	if r.proc == nil {
		if !takes(nil) {
			return nil
		}
	}
	for k := range r.proc {
		if !takes(r.proc[k : k+1]) {
			return nil
		}
	}
	return []string{"never decides: what it matches is taken by " + strings.Join(by, " and ")}
}

// takes reports whether e, which stands before r, matches all that r matches with
// these alternatives of its proc pattern.
func (e *rule) takes(r *rule, proc table.Pattern) bool {
	covers := func(a, b table.Pattern) bool {
		if b == nil {
			b = table.Everything
		}
		return a == nil || a.Covers(b)
	}
	if !covers(e.host, r.host) || !covers(e.account, r.account) || !e.user.Covers(r.user) {
		return false
	}
	if e.proc == nil || r.proc == nil {
		return e.proc == nil && r.proc == nil
	}
	return e.proc.Covers(proc)
}

// misspelled warns of patterns that match no name of the stream, or probably not the name
// that was meant.
func (r *rule) misspelled() (found []string) {
	for i, column := range r.file.columns {
		cell := r.cells[i]
		if !isPattern(column) || column == "proc" && r.proc == nil {
			continue
		}
		pattern, err := table.Compile(cell)
		if err != nil {
			continue // readRule has reported it
		}
		if what := misspelled(cell, pattern); what != "" {
			found = append(found, column+": "+what)
		}
	}
	return found
}

func misspelled(cell string, pattern table.Pattern) string {
	if unquoted := unquote(cell); unquoted != "" {
		return fmt.Sprintf("the quotation marks of %s are part of the name; without them: %s", cell, unquoted)
	}
	if meant := needlessQuotes(cell); meant != "" {
		return fmt.Sprintf(`%s has a backslash before a letter or digit, which means just that; to match a backslash of the stream: %s`, cell, meant)
	}
	if !slices.ContainsFunc(pattern, func(a table.Alternative) bool { return !a.MatchesNames() }) {
		return ""
	}
	what := fmt.Sprintf("%s never matches, for names are escaped in the stream", cell)
	if spelling := pattern.Spelling(); spelling != "" {
		what += ": write " + spelling
	}
	return what
}

// marks are pairs of quotation marks that editors and other languages put around text.
// A name may have them, but a table that quotes names is the likelier case.
var marks = []string{"“”", "„“", "‘’", "‚‘", "«»", "»«", "''", "``", `""`}

// unquote returns the cell without the quotation marks around it or around one of its
// alternatives, or "" if there are none.
func unquote(cell string) string {
	alternatives, found := strings.Split(cell, "|"), false
	for i, a := range alternatives {
		for _, pair := range marks {
			m := []rune(pair)
			inner, before := strings.CutPrefix(a, string(m[0]))
			inner, after := strings.CutSuffix(inner, string(m[1]))
			if before && after && inner != "" {
				alternatives[i], found = inner, true
			}
		}
	}
	if !found {
		return ""
	}
	return strings.Join(alternatives, "|")
}

// needlessQuotes returns what a cell should be in which a backslash quotes a letter or a
// digit, or "" if there is none. Such a cell was copied from the stream, where a backslash
// begins an escape, or from a place with unescaped names.
func needlessQuotes(cell string) string {
	_, err := rows.Unescape(cell)
	escaped := err == nil
	var meant strings.Builder
	found, quoted := false, false
	for _, c := range cell {
		switch {
		case quoted && (unicode.IsLetter(c) || unicode.IsDigit(c)):
			found = true
			meant.WriteString(`\`)
			if !escaped {
				meant.WriteString(`\\`)
			}
			quoted = false
		case quoted:
			quoted = false
		default:
			quoted = c == '\\'
		}
		meant.WriteRune(c)
	}
	if !found {
		return ""
	}
	return meant.String()
}

// commBytes is how long a process name can be: TASK_COMM_LEN of the kernel's
// include/linux/sched.h, less the byte that ends it.
const commBytes = 15

// interpreters are names of programs, and of the main threads of runtimes, that run
// somebody else's program.
var interpreters = []string{"node", "nodejs", "MainThread", "python", "perl", "ruby", "java", "php", "deno", "bun", "dotnet"}

// wrongNames warns of process names that Linux cuts and of those that don't name a
// program. A pattern with a slash is for paths, which other systems have there.
func (r *rule) wrongNames() (found []string) {
	for _, alternative := range r.proc {
		name, err := rows.Unescape(alternative.Shortest())
		if err != nil {
			continue
		}
		// python3.11, perl5.36 and php8.2 are cases of python, perl and php.
		if slices.Contains(interpreters, strings.TrimRight(name, "0123456789.")) {
			found = append(found, fmt.Sprintf("proc: %q runs other programs and doesn't say which; name them with (?P<proc>...) in storm.titles(5)", name))
		}
		if len(name) > commBytes && !strings.Contains(name, "/") {
			found = append(found, fmt.Sprintf("proc: %q has over %d bytes, where Linux cuts a name; only a name from a title can be as long", name, commBytes))
		}
	}
	return found
}

// ends warns of what is odd about a rule's limits for kill and trim.
func (t *Table) ends(r *rule) (found []string) {
	kill, trim, archive, none := t.limit(r, rows.ActionKill), t.limit(r, rows.ActionTrim), t.limit(r, rows.ActionArchive), rows.Limit{}
	action := rows.ActionKill
	if kill == none {
		if action = rows.ActionTrim; trim == none {
			return nil
		}
	}
	if t.limit(r, rows.ActionAlert) == none && t.limit(r, rows.ActionPage) == none {
		found = append(found, action+" without alert or page: nobody is warned before it")
	}
	if kill != none && archive != none && comesFirst(kill, archive) {
		found = append(found, fmt.Sprintf("kill=%s can be due before archive=%s: then no mail is saved", kill, archive))
	}
	if kill.Count > 0 && trim.Count >= kill.Count {
		found = append(found, fmt.Sprintf("trim=%s is never done: a row that reaches kill=%s isn't trimmed", trim, kill))
	}
	switch everybody := r.user.Covers(table.Everything); {
	case r.proc == nil:
		found = append(found, action+": killstorm ends nothing for a row of all processes")
	case everybody && r.proc.Covers(table.Everything):
		found = append(found, action+" for every name of every user")
	}
	return found
}

// comesFirst reports whether limit a can be reached while b isn't. A count is at least
// as large as the number of new processes in it, so a growth limit reaches it too.
func comesFirst(a, b rows.Limit) bool {
	least := func(n ...int64) int64 {
		n = slices.DeleteFunc(n, func(n int64) bool { return n == 0 })
		return slices.Min(append(n, 1<<62))
	}
	return a.Count > 0 && least(b.Count) > a.Count || a.Growth > 0 && least(b.Count, b.Growth) > a.Growth
}

// userCheck asks the name service about the accounts that a table names. It gives up
// after the first question that isn't answered.
type userCheck struct{ silent bool }

// check warns of accounts that this machine doesn't know and, if the rule kills, of
// those that forbid login. It passes over patterns with a wildcard.
func (u *userCheck) check(r *rule, kills bool) (found []string) {
	column, pattern := "user", r.user
	if r.account != nil && !r.account.Match("") { // the users are read from titles
		column, pattern = "account", r.account
	}
	for _, alternative := range pattern {
		text, plain := alternative.Plain()
		name, err := rows.Unescape(text)
		digits := strings.Trim(name, "0123456789") == ""
		if !plain || err != nil || u.silent || digits && !kills {
			continue
		}
		a, err := account.ByName(name)
		switch {
		case digits:
			if uid, err := rows.ParseNumber(name); err == nil && isDynamic(uid) && a.Name == "" {
				found = append(found, fmt.Sprintf("kill: uid %s is one of those that systemd gives to services", name))
			}
		case errors.Is(err, account.ErrNone):
			found = append(found, fmt.Sprintf("%s: no account %q", column, name))
		case err != nil:
			u.silent = true
			found = append(found, fmt.Sprintf("%s: %q: %s", column, name, err))
		}
		if kills && err == nil && a.ForbidsLogin() {
			found = append(found, fmt.Sprintf("kill: account %q forbids login (%s), so its processes may serve everybody", name, a.Shell))
		}
	}
	return found
}

// isDynamic reports whether a uid is from the range of systemd's DynamicUser=,
// systemd.exec(5).
func isDynamic(uid int64) bool { return uid >= 61184 && uid <= 65519 }
