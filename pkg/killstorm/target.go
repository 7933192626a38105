package killstorm

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/titles"
)

// A target is what a row is about.
type target struct {
	user  mailbox.User
	owner account.Account // that the uid belongs to
	comm  string          // any bytes
	// subordinates are uids of processes in user namespaces that count for the owner.
	subordinates account.Subordinates

	// named is the user that titles must name, "" for those that name none, and people
	// reports whether titles of processes of that uid and name may name users.
	named  string
	people bool
	// table is how titles name programs, nil if there is no table. Only if spelled, by the
	// limits row, may processes end that have their name from their titles.
	table   *titles.Table
	spelled bool
}

// target returns whose processes a row is about, of which name, or why they must not be
// ended.
func (o Options) target(d *filter.Due) (t target, err error) {
	if d.Row.Proc == "*" {
		return t, filter.Note("a --total row names no process to kill")
	}
	if err := trimLimit(d.Lesser); err != nil {
		return t, err
	}
	if t.user.Name, err = rows.Unescape(d.Row.User); err != nil {
		return t, fmt.Errorf("user: %w", err)
	}
	if t.comm, err = rows.Unescape(d.Row.Proc); err != nil {
		return t, fmt.Errorf("proc: %w", err)
	}
	owner := t.user.Name
	if d.Row.Account != "" {
		t.named = t.user.Name
		if owner, err = rows.Unescape(d.Row.Account); err != nil {
			return t, fmt.Errorf("account: %w", err)
		}
	}
	a, err := account.Resolve(owner, uint32(d.Row.UID.N), d.Row.UID.Known)
	if err != nil {
		return t, err
	}
	t.owner = a
	t.user.UID, t.user.Home, t.user.Account = a.UID, a.Home, d.Row.Account
	if err := o.spares(t); err != nil {
		return t, err
	}
	if t.subordinates, err = account.SubordinatesOf(a); err != nil {
		return t, err
	}
	if err := o.readsTitles(&t, d.Row); err != nil {
		return t, err
	}
	if o.RequireArchive {
		return t, notSaved(d.Record)
	}
	return t, nil
}

// readsTitles sets how the target's titles are read. The table must be the one by which
// the row was made.
func (o Options) readsTitles(t *target, row rows.Row) error {
	if o.Titles == nil && row.Account != "" {
		return errors.New("no table of titles: the account's processes can't be told apart")
	}
	if o.Titles == nil {
		return nil
	}
	t.people = len(o.Titles.For(t.user.UID, row.Proc)) > 0
	if row.Account != "" && !t.people {
		return errors.New("the table of titles says nothing of the account's processes of that name")
	}
	t.table, t.spelled = o.Titles, spells(row.Rule, row.Proc)
	if t.people || len(o.Titles.RulesOf(t.owner, row.Proc)) > 0 {
		return o.Titles.Unchanged(row.Time.Time)
	}
	if o.Titles.Unchanged(row.Time.Time) != nil {
		t.table = nil // titles name no programs that could be trusted
	}
	return nil
}

// trimLimit refuses a limit that says nothing about how many have to end.
func trimLimit(l rows.Limit) error {
	if l != (rows.Limit{}) && l != (rows.Limit{Count: l.Count}) {
		return errors.New("actions: trim needs a plain number of processes")
	}
	return nil
}

// protect looks up the users of --protect, which are names or uids. A user that is all
// digits is both, unless an account has that name. A name that no account has is a
// mistake, because it would protect nobody, unless titles may name it.
func protect(users []string, titled bool, report func(error)) (Protected, error) {
	p := Protected{UIDs: map[uint32]bool{}, Names: map[string]bool{}}
	for _, user := range users {
		p.Names[user] = true
		a, err := account.ByName(user)
		uid, notUID := rows.ParseNumber(user)
		switch {
		case err == nil:
			p.UIDs[a.UID] = true
		case notUID == nil:
			p.UIDs[uint32(uid)] = true
		case errors.Is(err, account.ErrNone) && titled:
		case errors.Is(err, account.ErrNone):
			return p, filter.Usagef("--protect: %q: no such account", user)
		default:
			report(fmt.Errorf("--protect: %q: by name only: %w", user, err))
		}
	}
	return p, nil
}

// spares says why processes of a target must not be ended, whatever their number:
// protected users' and root's are spared, and those of a system account, which runs a
// service for everybody. The processes of one person that titles name may be ended.
func (o Options) spares(t target) error {
	switch uid := t.user.UID; {
	case o.Protect.UIDs[uid] || o.Protect.Names[t.user.Name]:
		return filter.Note("a protected user's processes are left alone")
	case uid == 0 && !o.AllowRoot:
		return filter.Note("root's processes are left alone")
	case uid != 0 && t.owner.IsSystem() && !o.AllowSystem && t.named == "":
		return filter.Note("a system account's processes are left alone")
	}
	return nil
}

// notSaved is the error of a row that was due for a copy of the mail which failed for
// space or I/O, or that mailarchive has never seen.
func notSaved(record *rows.Record) error {
	_, due, _ := rows.FindAction(record.Get(rows.Actions), rows.ActionArchive)
	if !due {
		return nil
	}
	const archiver = "mailarchive"
	handled := record.Get(rows.Archived) != ""
	for _, m := range record.Messages(rows.Notes) {
		handled = handled || m.Tool == archiver
	}
	for _, m := range record.Messages(rows.Errors) {
		if m.Tool != archiver {
			continue
		}
		handled = true
		if _, noSpace := rows.ParseNoSpace(m.Text); noSpace || isLoss(m.Text) {
			return errors.New(rows.FormatNotSaved(m.Text))
		}
	}
	if !handled {
		return errors.New(rows.FormatNotSaved("mailarchive has not seen the row"))
	}
	return nil
}

// isLoss reports whether the system had no space, or an input/output error.
func isLoss(text string) bool {
	for _, failure := range lost {
		if strings.Contains(text, failure) {
			return true
		}
	}
	return false
}

// lost are failures of a copy that no user can cause by what is at the mailbox's path.
// With any other failure a user could keep a storm alive.
var lost = []string{syscall.ENOSPC.Error(), syscall.EDQUOT.Error(), syscall.EIO.Error(), syscall.EROFS.Error()}

// spells reports whether the proc pattern of a rule, USER/PROC as in the stream, has a
// name of the stream as an alternative without a wildcard.
func spells(rule, name string) bool {
	_, pattern, _ := strings.Cut(rule, "/")
	if strings.ContainsAny(name, `*?[\|`) {
		return false // the pattern would have to quote it
	}
	for alternative := range strings.SplitSeq(pattern, "|") {
		if alternative == name {
			return true
		}
	}
	return false
}
