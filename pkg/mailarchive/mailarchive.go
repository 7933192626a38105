// Package mailarchive copies the mail files of accounts in a storm before
// anything is killed. It runs as root over directories in which users make, swap
// and link files: it copies nothing that isn't the user's mail, leaves no half
// copy, replaces nothing, doesn't fill the disk, and calls saved only what is
// whole and on the disk.
//
// Each file uses only those after it: app, run, expire, work, attempt, versions, copy,
// space, box, series, attributes, progress, job, archiver, queue, directory, crew,
// failed, mailarchive, size.
package mailarchive

import (
	"io"
	"strings"
	"time"

	"stormcheck/pkg/mailbox"
)

// Options are what Run works with.
type Options struct {
	Dir         string             // where copies are made, an absolute path without a slash at its end
	Mailboxes   []mailbox.Template // where users have mail files
	LockTimeout time.Duration      // how long a lock is waited for; 0: one try
	Timeout     time.Duration      // how long a row may take, its locks and all its mailboxes
	AgainAfter  time.Duration      // how long a mailbox isn't copied again; 0: whenever it has changed
	Keep        int64              // how many copies of a mailbox stay; 0: all
	KeepFor     time.Duration      // how long copies and evidence stay; 0: for ever
	MaxSize     int64              // bytes a mailbox may have; 0: as many as fit
	FairSize    Share              // of the archive's file system, for one account
	MinFree     Share              // of the archive's file system
	Host        func() string      // rows of this host are acted on, escaped
	DryRun      bool               // copy nothing, note what would be
	Now         func() time.Time   // the clock that rows' times are held against, and that names copies
	Progress    io.Writer          // where a long copy shows how far it is, a terminal; nil: nowhere

	// For tests: called when a mailbox is copied, before it is looked at again, and
	// before it is copied again.
	copied, recopied func()
}

// span writes a duration as a flag has it: 10m, not 10m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// isExpired reports whether what began then is due to go.
func (o Options) isExpired(began time.Time) bool {
	return o.KeepFor > 0 && o.Now().Sub(began) > o.KeepFor
}
