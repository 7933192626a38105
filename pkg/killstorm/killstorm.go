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
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	Signal  Signal
	Grace   time.Duration    // how long they have to follow a Signal that isn't KILL
	Timeout time.Duration    // the most that a row may take
	Host    string           // rows of this host are acted on, escaped
	DryRun  bool             // signal nobody
	Now     func() time.Time // the clock that rows' times are held against
}

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	return filter.Acting{
		Tool: "killstorm", Action: "kill", Host: o.Host, Now: o.Now,
		Needs: []rows.Column{rows.Proc, rows.Count},
		Fills: []rows.Column{rows.Killed, rows.Remaining},
		Act:   o.act,
	}.Run(env)
}

// act does what is due for one row.
func (o Options) act(record *rows.Record, row rows.Row, limit rows.Limit) error {
	if row.Proc == "*" {
		return filter.Note("a row of all processes names none to end")
	}
	user, err := rows.Unescape(row.User)
	if err != nil {
		return fmt.Errorf("user: %w", err)
	}
	comm, err := rows.Unescape(row.Proc)
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	a, err := account.Resolve(user, uint32(row.UID.N), row.UID.Known)
	if err != nil {
		return err
	}
	if err := spared(a.UID); err != nil {
		return err
	}
	return o.end(record, a.UID, comm, limit)
}
