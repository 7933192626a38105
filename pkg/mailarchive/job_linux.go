package mailarchive

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// A job is the work for one user in one snapshot.
type job struct {
	*archiver
	row   rows.Row
	ctx   context.Context // ends with the row's time
	user  mailbox.User
	dir   *directory
	hung  atomic.Bool   // a task was abandoned
	ended chan struct{} // closed when the results are there

	results []result // one for each mailbox that is there
	err     error    // why there are none
}

// A result is what came of one mailbox.
type result struct {
	path string  // the mailbox's
	copy string  // the path of the copy that stands for it, or ""
	said []error // remarks, notes and failures
}

// A remark is a note on a copy. It needs no path if there is only one mailbox.
type remark string

func (r remark) Error() string { return string(r) }

// ask runs f on a thread of the crew, see do, and returns what f returns.
func ask[T any](ctx context.Context, j *job, at place, f func(*task) (T, error)) (T, error) {
	var (
		value, none T
		failure     error
	)
	if err := j.crew.do(ctx, at, func(t *task) { value, failure = f(t) }); err != nil {
		if err == errHangs {
			j.hung.Store(true)
		}
		return none, j.overtime(err)
	}
	return value, failure
}

// inArchive is where work for the archive directory may hang.
func (j *job) inArchive() place { return place{dir: j.Dir, archive: true} }

// overtime returns the message for a row whose work the crew didn't do.
func (j *job) overtime(err error) error {
	if ended := context.Cause(j.running); ended != nil && (err == errOver || err == errHangs) {
		return ended
	}
	switch err {
	case errOver:
		return fmt.Errorf("given up after %s", span(j.Timeout))
	case errHangs:
		return fmt.Errorf("given up after %s: no answer", span(j.Timeout))
	}
	return err
}

// inTime is the error of a row that has taken too long.
func (j *job) inTime() error {
	if j.ctx.Err() == nil {
		return nil
	}
	return j.overtime(errOver)
}

// hasFailed reports whether the copy of the mailbox has failed a short while ago.
func (j *job) hasFailed(path string) bool {
	j.dir.mutex.Lock()
	defer j.dir.mutex.Unlock()
	return j.dir.failed.within(path, j.Now(), j.AgainAfter)
}

// noteFailure notes that the copy of the mailbox has failed, or hasn't: nil. If that
// can't be written the next run waits for the mailbox again.
func (j *job) noteFailure(path string, why error) {
	d, now, path := j.dir, j.Now(), rows.Escape(path)
	d.mutex.Lock()
	defer d.mutex.Unlock()
	had := slices.ContainsFunc(d.failed, func(f failure) bool { return f.mailbox == path })
	if why == nil && !had {
		return
	}
	d.failed.read(d.File) // other runs write there too
	d.failed = slices.DeleteFunc(d.failed, func(f failure) bool { return f.mailbox == path || !f.isWithin(now, j.AgainAfter) })
	if why != nil && j.AgainAfter > 0 {
		d.failed = append(d.failed, failure{now, path, rows.EscapeMessage(why.Error())})
	}
	_ = d.failed.write(d.File)
	d.add(failedName)
}
