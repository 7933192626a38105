// Package killstorm ends every process of one account and one name. Before it
// harms anybody it makes sure that the row is about this machine and of now, that
// the account is who the row says, that the account isn't one that runs the
// service of everybody, and that the storm is still there.
package killstorm

import (
	"fmt"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
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
	Host           string             // rows of this host are acted on, escaped
	DryRun         bool               // signal nobody
	Syslog         string             // the socket that is told who was killed
	Now            func() time.Time   // the clock that rows' times are held against
}

// A target is what a row is about.
type target struct {
	user mailbox.User
	comm string // any bytes
}

// target returns whose processes a row is about, of which name, or why they are not
// to be ended.
func (o Options) target(d *filter.Due) (t target, err error) {
	if d.Row.Proc == "*" {
		return t, filter.Note("a row of all processes names none to end")
	}
	if d.Row.Account != "" {
		return t, filter.Note("not only this user's: account " + d.Row.Account + " runs processes of several")
	}
	if t.user.Name, err = rows.Unescape(d.Row.User); err != nil {
		return t, fmt.Errorf("user: %w", err)
	}
	if t.comm, err = rows.Unescape(d.Row.Proc); err != nil {
		return t, fmt.Errorf("proc: %w", err)
	}
	a, err := account.Resolve(t.user.Name, uint32(d.Row.UID.N), d.Row.UID.Known)
	if err != nil {
		return t, err
	}
	t.user.UID, t.user.Home = a.UID, a.Home
	if err := o.spared(t.user); err != nil {
		return t, err
	}
	if o.RequireArchive {
		return t, notSaved(d.Record)
	}
	return t, nil
}
