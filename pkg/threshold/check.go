package threshold

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"stormcheck/pkg/account"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/table"
)

// answered are the actions that the suite's own filters act on.
var answered = []string{"log", "alert", "archive", "page", "kill"}

// warnings returns what is no fault of a table, but hardly meant, by line.
func (t *Table) warnings() (found []error) {
	warn := func(line int, what string) {
		found = append(found, fmt.Errorf("%s:%d: warning: %s", t.name, line, what))
	}
	for _, action := range t.actions {
		if !slices.Contains(answered, action) {
			warn(t.line, fmt.Sprintf("%s: no tool of stormcheck answers to this action", action))
		}
	}
	users := userCheck{}
	for i := range t.rules {
		r := &t.rules[i]
		for _, what := range slices.Concat(t.shadowed(i), tooLong(r), t.kills(r), users.unknown(r)) {
			warn(r.line, what)
		}
	}
	return found
}

// shadowed warns of a rule that never decides, for earlier ones match all that
// it does. It sees where one takes a whole pattern or a plain text; what only
// several patterns take together is beyond it, but for the alternatives of proc.
func (t *Table) shadowed(i int) []string {
	r := &t.rules[i]
	var by []string
	takes := func(alternatives table.Pattern) bool {
		for j := range t.rules[:i] {
			if t.rules[j].takes(r, alternatives) {
				if line := fmt.Sprint(t.rules[j].line); !slices.Contains(by, line) {
					by = append(by, line)
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
	return []string{fmt.Sprintf("never decides: what it matches is taken by line %s", strings.Join(by, " and line "))}
}

// takes reports whether e, which stands before r, matches all that r matches with
// these alternatives of its proc pattern.
func (e *rule) takes(r *rule, proc table.Pattern) bool {
	if e.host != nil && !e.host.Covers(r.host) || e.account != nil && !e.account.Covers(r.account) || !e.user.Covers(r.user) {
		return false
	}
	if e.proc == nil || r.proc == nil {
		return e.proc == nil && r.proc == nil
	}
	return e.proc.Covers(proc)
}

// commBytes is how long a process name can be: TASK_COMM_LEN of the kernel's
// include/linux/sched.h, less the byte that ends it.
const commBytes = 15

// tooLong warns of names that no process of Linux can have. A pattern with a slash
// is for paths, which other systems have there.
func tooLong(r *rule) (found []string) {
	for _, alt := range r.proc {
		name, err := rows.Unescape(alt.Shortest())
		if err == nil && len(name) > commBytes && !strings.Contains(name, "/") {
			found = append(found, fmt.Sprintf("proc: a name like %q has over %d bytes, where Linux cuts it", name, commBytes))
		}
	}
	return found
}

// kills warns of what is odd about a rule's limit for kill.
func (t *Table) kills(r *rule) (found []string) {
	limit := func(action string) rows.Limit {
		if i := slices.Index(t.actions, action); i >= 0 {
			return r.limits[i]
		}
		return rows.Limit{}
	}
	kill, archive, none := limit("kill"), limit("archive"), rows.Limit{}
	if kill == none {
		return nil
	}
	if limit("alert") == none && limit("page") == none {
		found = append(found, "kill without alert: nobody is told before it comes to that")
	}
	if archive != none && comesFirst(kill, archive) {
		found = append(found, fmt.Sprintf("kill=%s can be due before archive=%s: then no mail is saved", kill, archive))
	}
	switch everybody := r.user.Covers(table.Everything); {
	case r.proc == nil:
		found = append(found, "kill: killstorm ends nothing for a row of all processes")
	case everybody && r.proc.Covers(table.Everything):
		found = append(found, "kill for every name of every user")
	}
	return found
}

// comesFirst reports whether limit a can be reached where b isn't. As many as are
// new are there, so a growth limit reaches a count as well.
func comesFirst(a, b rows.Limit) bool {
	least := func(n ...int64) int64 {
		n = slices.DeleteFunc(n, func(n int64) bool { return n == 0 })
		return slices.Min(append(n, 1<<62))
	}
	return a.Count > 0 && least(b.Count) > a.Count || a.Growth > 0 && least(b.Count, b.Growth) > a.Growth
}

// userCheck asks the name service for the accounts that a table names, until it
// doesn't answer.
type userCheck struct{ silent bool }

// unknown warns of users that this machine doesn't know. A pattern that isn't
// plain, a uid, and a rule for other hosts are passed over.
func (u *userCheck) unknown(r *rule) (found []string) {
	here, err := os.Hostname()
	if r.host != nil && (err != nil || !r.host.Match(rows.Escape(here))) {
		return nil
	}
	column, pattern := "user", r.user
	if r.account != nil && !r.account.Match("") { // users are whom titles name
		column, pattern = "account", r.account
	}
	for _, alt := range pattern {
		text, plain := alt.Plain()
		name, err := rows.Unescape(text)
		if !plain || err != nil || strings.Trim(name, "0123456789") == "" || u.silent {
			continue
		}
		switch _, err := account.ByName(name); {
		case errors.Is(err, account.ErrNone):
			found = append(found, fmt.Sprintf("%s: no account %q", column, name))
		case err != nil:
			u.silent = true
			found = append(found, fmt.Sprintf("%s: %q: %s", column, name, err))
		}
	}
	return found
}
