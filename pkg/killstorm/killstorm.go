// Package killstorm ends every process of one account and one name. Before it
// harms anybody it makes sure that the row is about this machine and of now, that
// the account is who the row says, that the account isn't one that runs the
// service of everybody, and that the storm is still there.
package killstorm

import (
	"errors"
	"fmt"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/titles"
)

// Options are what Run works with.
type Options struct {
	Signal         Signal
	Grace          time.Duration      // how long they have to follow a Signal that isn't KILL
	Timeout        time.Duration      // the most that a row may take
	Max            int64              // rows of more live processes are refused; 0: none is
	Protect        Protected          // whose processes are left alone
	AllowRoot      bool               // root's are not
	AllowSystem    bool               // those of system accounts are not
	RequireArchive bool               // leave who is due for a copy that failed for space or I/O
	Hold           []mailbox.Template // a user's mailboxes, locked while his processes end
	HoldTimeout    time.Duration      // how long such a lock is tried for
	Titles         *titles.Table      // how processes say whom they serve; nil: none does
	Host           string             // rows of this host are acted on, escaped
	UnlessChanged  []Watched          // after a change of one no kill begins
	Pause          string             // the file that pauses killing, pkg/pause; "": none does
	DryRun         bool               // signal nobody
	Syslog         string             // the socket that is told who was killed
	Now            func() time.Time   // the clock that rows' times are held against
}

// A target is what a row is about.
type target struct {
	user mailbox.User
	comm string // any bytes

	// Where processes of that uid and name say whom they serve: how, and who has to be
	// named by those that the row is about, "" for those that name nobody.
	rules titles.Rules
	named string
}

// target returns whose processes a row is about, of which name, or why they are not
// to be ended.
func (o Options) target(d *filter.Due) (t target, err error) {
	if d.Row.Proc == "*" {
		return t, filter.Note("a row of all processes names none to end")
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
	t.user.UID, t.user.Home, t.user.Account = a.UID, a.Home, d.Row.Account
	if err := o.spared(t); err != nil {
		return t, err
	}
	if t.rules, err = o.rules(d.Row, t.user.UID); err != nil {
		return t, err
	}
	if o.RequireArchive {
		return t, notSaved(d.Record)
	}
	return t, nil
}

// rules returns how processes of a row's uid and name say whom they serve. It must be
// what it was when the row was made.
func (o Options) rules(row rows.Row, uid uint32) (titles.Rules, error) {
	if o.Titles == nil && row.Account != "" {
		return nil, errors.New("no table of titles: the account's processes can't be told apart")
	}
	rules := o.Titles.For(uid, row.Proc)
	switch {
	case rules != nil:
		return rules, o.Titles.Unchanged(row.Time.Time)
	case row.Account != "":
		return nil, errors.New("the table of titles says nothing of the account's processes of that name")
	}
	return nil, nil
}
