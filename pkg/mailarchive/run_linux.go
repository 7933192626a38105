package mailarchive

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// Run takes a stream through mailarchive.
func Run(o Options, env filter.Env) error {
	a := archiver{Options: o, done: map[mailbox.User]work{}}
	// Now, for in a storm there may be no file handle left.
	if a.dir, a.unfit = openDirectory(o.Dir); a.unfit == nil {
		defer a.dir.Close()
	}
	return filter.Acting{
		Tool: "mailarchive", Action: "archive", Host: o.Host, Now: o.Now,
		Fills: []rows.Column{rows.Archived},
		Act:   a.act,
	}.Run(env)
}

// An archiver is a run with what it holds open.
type archiver struct {
	Options
	dir   *directory
	unfit error // why there is no dir to copy to

	// What was done for each user in the snapshot of that time. A user may have
	// many rows in it, as many as he has names for his processes: one copy stands
	// for all of them.
	done     map[mailbox.User]work
	snapshot time.Time
}

// work is what came of one user's mailboxes.
type work struct {
	copies []string
	err    error // joined notes and failures
}

// act copies the mailboxes of the row's user, or names the copies that were made
// for another of his rows.
func (a *archiver) act(record *rows.Record, row rows.Row, _ rows.Limit) error {
	if a.unfit != nil {
		return a.unfit
	}
	user, err := whose(row)
	if err != nil {
		return err
	}
	if !row.Time.Equal(a.snapshot) {
		clear(a.done)
		a.snapshot = row.Time.Time
	}
	w, known := a.done[user]
	if !known {
		w = a.mailboxes(user)
		a.done[user] = w
	}
	for _, path := range w.copies {
		archived(record, path)
	}
	return w.err
}

// mailboxes copies all mailboxes of a user.
func (a *archiver) mailboxes(user mailbox.User) (w work) {
	var told []error
	none := true
	now := a.Now()
	for _, template := range a.Mailboxes {
		path := template.Path(user)
		copied, err := a.mailbox(template, user, now)
		switch {
		case errors.Is(err, mailbox.ErrNone):
			continue
		case errors.Is(err, mailbox.ErrDirectory):
			err = filter.Note(path + ": a directory: a kill doesn't tear a Maildir")
		case errors.Is(err, mailbox.ErrForeign):
			err = filter.Note(path + ": " + err.Error())
		case err != nil:
			err = fmt.Errorf("%s: %w", path, err)
		case a.DryRun:
			err = filter.Note("would archive " + path)
		}
		if copied != "" {
			w.copies = append(w.copies, copied)
		}
		told = append(told, err)
		none = false
	}
	w.err = errors.Join(told...)
	if none {
		w.err = filter.Note("no mailbox")
	}
	return w
}

// mailbox copies one mailbox and returns the path of its copy, "" in a dry run.
// There may be a copy with an error, see save.
func (a *archiver) mailbox(t mailbox.Template, u mailbox.User, now time.Time) (string, error) {
	open := func() (*os.File, error) { return t.Open(u) }
	if a.DryRun {
		f, err := open()
		if err == nil {
			f.Close()
		}
		return "", err
	}
	return a.dir.save(open, fmt.Sprintf("%s.%d%s", u.Name, now.Unix(), t.Suffix()))
}

// archived adds a copy to the row. A colon within the path is escaped, for one
// separates copies.
func archived(record *rows.Record, path string) {
	cell := strings.ReplaceAll(rows.Escape(path), ":", `\x3a`)
	if before := record.Get(rows.Archived); before != "" {
		cell = before + ":" + cell
	}
	record.Set(rows.Archived, cell)
}
