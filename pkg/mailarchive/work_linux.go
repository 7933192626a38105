package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// nameService stands for a directory that doesn't answer.
const nameService = "the name service"

// run archives the user's mailboxes, all at once: none waits for another.
func (j *job) run() {
	if j.work(); j.dir != nil {
		defer j.end()
	}
	close(j.ended)
}

func (j *job) work() {
	if j.user, j.err = ask(j.ctx, j, place{dir: nameService}, func(*task) (mailbox.User, error) { return whose(j.row) }); j.err != nil {
		return
	}
	if j.dir, j.err = j.begin(); j.err != nil {
		j.err = fmt.Errorf("%s: %w", j.Dir, trusted.Cause(j.err))
		return
	}
	results := make([]result, len(j.Mailboxes))
	var all sync.WaitGroup
	for i, template := range j.Mailboxes {
		all.Add(1)
		go func() {
			defer all.Done()
			results[i] = newBox(j, template).archive()
		}()
	}
	all.Wait()
	j.results = slices.DeleteFunc(results, func(r result) bool { return slices.Contains(r.said, mailbox.ErrNone) })
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
	owner := name
	if row.Account != "" { // user is from a process title
		if owner, err = rows.Unescape(row.Account); err != nil {
			return mailbox.User{}, fmt.Errorf("account: %w", err)
		}
	}
	a, err := account.Resolve(owner, uint32(row.UID.N), row.UID.Known)
	return mailbox.User{Name: name, UID: a.UID, Home: a.Home, Account: row.Account}, err
}

// begin opens the archive directory and waits until no other run is at work in it for
// the same account.
func (j *job) begin() (*directory, error) {
	const poll = 20 * time.Millisecond
	for deadline := time.Now().Add(j.LockTimeout); ; time.Sleep(poll) {
		dir, err := ask(j.ctx, j, j.inArchive(), func(t *task) (*directory, error) {
			dir, err := j.archive.use()
			if err != nil {
				return nil, err
			}
			if err = dir.begin(j.user.UID, j.DryRun); err != nil {
				j.archive.release(dir)
				return nil, err
			}
			if t.isLeft() { // nobody else will end it
				dir.end(j.user.UID, j.DryRun)
				j.archive.release(dir)
			}
			return dir, nil
		})
		if err != errLocked || !time.Now().Before(deadline) {
			return dir, err
		}
	}
}

// end lets other runs work for the account. A task that hangs still uses the directory.
func (j *job) end() {
	ctx, cancel := context.WithTimeout(context.Background(), j.Timeout)
	defer cancel()
	_ = j.crew.do(ctx, j.inArchive(), func(*task) {
		j.dir.end(j.user.UID, j.DryRun)
		if !j.hung.Load() {
			j.archive.release(j.dir)
		}
	})
}

// outcome puts the results into words.
func (j *job) outcome() (copies []string, err error) {
	if j.err != nil {
		return nil, j.err
	}
	if len(j.results) == 0 {
		return nil, filter.Note(rows.NoMailbox)
	}
	var said []error
	for _, r := range j.results {
		if r.copy != "" {
			copies = append(copies, r.copy)
		}
		said = append(said, r.words(len(j.results) > 1)...)
	}
	return copies, errors.Join(said...)
}

// words puts into words what there is to say of the mailbox: failures, and notes.
func (r result) words(several bool) (said []error) {
	for _, err := range r.said {
		var (
			about remark
			note  filter.Note
		)
		switch {
		case errors.As(err, &note):
		case errors.As(err, &about) && !several:
			err = filter.Note(about)
		case errors.As(err, &about):
			err = filter.Note(r.path + ": " + string(about))
		case errors.Is(err, mailbox.ErrDirectory):
			err = filter.Note(r.path + ": " + rows.Maildir + ": a kill doesn't tear a Maildir")
		case errors.Is(err, mailbox.ErrForeign):
			err = filter.Note(r.path + ": " + err.Error())
		default:
			err = fmt.Errorf("%s: %w", r.path, err)
		}
		said = append(said, err)
	}
	return said
}
