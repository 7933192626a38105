package mailarchive

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
)

// tries is how often a mailbox that changes is copied before the last copy has
// to do.
const tries = 3

// maxHold is how long a mailbox stays locked at most: Postfix defers mail after
// waiting 19 s. A variable for tests.
var maxHold = 15 * time.Second

// errTorn is the error of a mailbox that changed while it was copied. Mail programs
// write in its middle: a copy may have a message twice, or half of one.
var errTorn = errors.New("changed while copied: the copy may be torn")

// mailbox archives one mailbox. The result has the copy that stands for it, if one
// does, and what is to be said of it, or why there is none. In a dry run it says
// what would be done.
func (j *job) mailbox(d *directory, t mailbox.Template) result {
	if err := j.overtime(); err != nil {
		return failure(err)
	}
	s := j.series(t)
	if path, err := j.look(d, t, s); err != nil {
		return result{copy: path, told: []error{err}}
	}
	if j.DryRun {
		return failure(filter.Note("would archive " + s.path))
	}
	r := j.save(d, t, s)
	if r.copy != "" {
		r.told = append(r.told, j.prune(d, s, j.Now())...)
	}
	return r
}

// save copies the mailbox, again while it changes. A copy that may be torn is kept
// until there is another: it is all there is when the mailbox goes, grows too large
// or gets a lease meanwhile.
func (j *job) save(d *directory, t mailbox.Template, s series) result {
	var (
		held locks
		kept *attempt
	)
	for try := 1; ; try++ {
		next, err := j.copy(d, t, s, &held)
		if kept == nil && err != nil {
			return failure(err)
		}
		if err != nil { // not wrapped: there is a mailbox, or was
			r := j.publish(kept)
			r.told = append(r.told, fmt.Errorf("tried again: %v", err))
			return r
		}
		if kept != nil {
			kept.discard()
		}
		kept = next
		if !kept.torn || kept.gone || try == tries || j.remaining() < 2*kept.took {
			return j.publish(kept)
		}
		if j.Options.again != nil {
			j.Options.again()
		}
	}
}

func failure(err error) result { return result{told: []error{err}} }

// overtime is the error of a row that has taken too long.
func (j *job) overtime() error {
	if j.ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("given up after %s", span(j.Timeout))
}

// remaining is how much time the row has left.
func (j *job) remaining() time.Duration {
	deadline, _ := j.ctx.Deadline()
	return time.Until(deadline)
}

// lockTime is how long to wait for the mailbox's lock: there has to be time to copy
// without it.
func (j *job) lockTime() time.Duration { return min(j.LockTimeout, j.remaining()/2) }

// look says without a lock what is to be said of the mailbox before it is copied, if
// it is to be.
func (j *job) look(d *directory, t mailbox.Template, s series) (path string, err error) {
	f, err := t.Open(j.user)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := stat(f)
	if err != nil {
		return "", err
	}
	if path, why := j.again(d, s, st, j.Now()); why != nil {
		return path, why
	}
	return "", j.fits(d, st)
}

// locks are those on one mailbox, of all tries.
type locks struct {
	tried bool      // a lock has been waited for
	until time.Time // when the last must be gone; zero before the first
}

// open opens the mailbox, locked if it can be, and says until when. However often
// it is copied, it isn't locked longer than mail programs wait.
func (l *locks) open(t mailbox.Template, u mailbox.User, within time.Duration) (f *os.File, unlocked, err error) {
	if !l.until.IsZero() && !time.Now().Before(l.until) {
		f, err = t.Open(u)
		return f, errLetGo(), err
	}
	if l.tried {
		within = 0
	}
	l.tried = true
	f, err = t.OpenLocked(u, within)
	if errors.Is(err, mailbox.ErrNotLocked) {
		return f, err, nil
	}
	if err == nil && l.until.IsZero() {
		l.until = time.Now().Add(maxHold)
	}
	return f, nil, err
}

func errLetGo() error { return fmt.Errorf("%w (let go after %s)", mailbox.ErrNotLocked, span(maxHold)) }

// An attempt is a copy of the mailbox on the disk, which only needs its name.
type attempt struct {
	*draft
	name string
	torn bool          // the mailbox changed meanwhile
	gone bool          // it can't be opened any more
	took time.Duration // from the lock to the disk
	told []error       // how far the copy is to be trusted, and what of the file it lacks
}

// copy copies the mailbox once, under a lock if there is one to be had.
func (j *job) copy(d *directory, t mailbox.Template, s series, l *locks) (made *attempt, err error) {
	j.begin(s.path)
	from, unlocked, err := l.open(t, j.user, j.lockTime())
	if err != nil {
		return nil, err
	}
	defer from.Close()
	lock := &hold{}
	if unlocked == nil {
		lock = j.hold(from, mailbox.Unlock)
		defer time.AfterFunc(min(time.Until(l.until), j.remaining()), func() { lock.letGo() }).Stop()
	}
	began := time.Now()
	before, atRest, err := settled(from)
	if err == nil {
		err = j.fits(d, before)
	}
	if err != nil {
		return nil, err
	}
	name := s.name(j.Now())
	j.begin(j.Dir)
	to, err := d.draft(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			to.discard()
		}
	}()
	j.begin(s.path)
	if err := j.contents(d, to.File, from, before); err != nil {
		return nil, err
	}

	if j.copied != nil {
		j.copied()
	}
	after, gone := restat(t, j.user)
	if !lock.letGo() && unlocked == nil {
		unlocked = errLetGo()
	}
	j.begin(j.Dir)
	torn := gone != nil || !atRest || changed(before, after)
	if torn {
		to.markTorn()
	} else if err := checkLength(to.File, before.Size); err != nil {
		return nil, err
	}
	lost, err := to.dress(from, before)
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		err = j.overtime()
	}
	return &attempt{to, name, torn, gone != nil, time.Since(began), append(verdict(unlocked, torn), lost...)}, err
}

// publish gives the copy its name. It may be a little over time, with a copy that
// was made before another try took too long.
func (j *job) publish(a *attempt) result {
	defer a.discard()
	if j.isAbandoned() {
		return failure(j.overtime())
	}
	path, err := a.draft.publish(a.name)
	if err != nil {
		return failure(err)
	}
	return result{copy: path, told: a.told}
}

// verdict says how far a copy is to be trusted.
func verdict(unlocked error, torn bool) []error {
	switch {
	case torn && unlocked != nil:
		return []error{fmt.Errorf("%w and %w", unlocked, errTorn)}
	case torn:
		return []error{errTorn}
	case unlocked != nil:
		return []error{remark(unlocked.Error() + " but unchanged while copied")}
	}
	return nil
}

// settled returns what the mailbox is once it has been so for a moment: a change in
// the same tick of the clock as the last doesn't show in the ctime. One that never
// rests isn't waited for.
func settled(f *os.File) (st unix.Stat_t, atRest bool, err error) {
	for range tries {
		if st, err = stat(f); err != nil {
			return st, false, err
		}
		age := time.Since(time.Unix(st.Ctim.Unix()))
		if age.Abs() >= clockLag { // also where the clock was put back, for a change then shows
			return st, true, nil
		}
		time.Sleep(clockLag - age)
	}
	return st, false, nil
}

// restat opens the mailbox again and returns what it is by now.
func restat(t mailbox.Template, u mailbox.User) (st unix.Stat_t, err error) {
	f, err := t.Open(u)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return stat(f)
}

// changed reports whether a is no longer what b is now. The times alone don't say
// it: mail programs set the mtime back, and another file may have come in its
// place. Nobody can set the ctime.
func changed(a, b unix.Stat_t) bool {
	return a.Dev != b.Dev || a.Ino != b.Ino || a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim
}

// fits refuses a mailbox that is too large, or larger than what is free.
func (j *job) fits(d *directory, st unix.Stat_t) error {
	if j.MaxSize > 0 && st.Size > j.MaxSize {
		return fmt.Errorf("%w: %s where %s are the most", mailbox.ErrRefused, sizeText(st.Size), sizeText(j.MaxSize))
	}
	free, reserve, err := j.space(d)
	if err != nil || st.Size <= free-reserve {
		return err
	}
	figures := fmt.Sprintf("%s where %s are free of which %s have to stay", sizeText(st.Size), sizeText(free), sizeText(reserve))
	if data := st.Blocks * 512; data <= free-reserve { // its owner has the size for nothing
		return fmt.Errorf("%w: a sparse file of %s", mailbox.ErrRefused, figures)
	}
	return fmt.Errorf("no space: %s", figures)
}

// space returns how many bytes are free where the copies are, for everybody, and
// how many of them have to stay.
func (j *job) space(d *directory) (free, reserve int64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &st); err != nil {
		return 0, 0, err
	}
	size := int64(st.Bsize)
	if st.Frsize > 0 {
		size = int64(st.Frsize)
	}
	return int64(st.Bavail) * size, j.MinFree.of(int64(st.Blocks) * size), nil
}
