// Package mailarchive copies the mail files of accounts in a storm before
// anything is killed. It runs as root over directories in which users make, swap
// and link files: it copies nothing that isn't the user's mail, leaves no half
// copy, replaces nothing, and calls saved only what is whole and on the disk.
package mailarchive

import (
	"fmt"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	Dir       string             // where copies are made, an absolute path without a slash at its end
	Mailboxes []mailbox.Template // where users have mail files
	Host      string             // rows of this host are acted on, escaped
	DryRun    bool               // copy nothing, note what would be
	Now       func() time.Time   // the clock that rows' times are held against, and that names copies
}

// whose returns the user whose mailboxes a row is about.
func whose(row rows.Row) (mailbox.User, error) {
	name, err := rows.Unescape(row.User)
	if err != nil {
		return mailbox.User{}, fmt.Errorf("user: %w", err)
	}
	if err := mailbox.CheckName(name); err != nil {
		return mailbox.User{}, fmt.Errorf("user: %w", err)
	}
	a, err := account.Resolve(name, uint32(row.UID.N), row.UID.Known)
	return mailbox.User{Name: name, UID: a.UID, Home: a.Home}, err
}
