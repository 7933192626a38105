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

// target returns the uid and the name of the processes that a row is about, or why
// they are not to be ended.
func target(row rows.Row) (uid uint32, comm string, err error) {
	if row.Proc == "*" {
		return 0, "", filter.Note("a row of all processes names none to end")
	}
	user, err := rows.Unescape(row.User)
	if err != nil {
		return 0, "", fmt.Errorf("user: %w", err)
	}
	if comm, err = rows.Unescape(row.Proc); err != nil {
		return 0, "", fmt.Errorf("proc: %w", err)
	}
	a, err := account.Resolve(user, uint32(row.UID.N), row.UID.Known)
	if err != nil {
		return 0, "", err
	}
	return a.UID, comm, spared(a.UID)
}
