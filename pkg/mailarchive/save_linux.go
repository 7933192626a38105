package mailarchive

import (
	"errors"
	"fmt"
	"slices"
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

var (
	// errTorn is the error of a mailbox that changed while it was copied. Mail
	// programs write in its middle: a copy may have a message twice, or half of one.
	errTorn = errors.New("changed while copied: the copy may be torn")
	// errAgain says that it changed, and that there is time for another try.
	errAgain = errors.New("changed while copied")
)

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
		return failure(filter.Note("would archive " + t.Path(j.user)))
	}
	for try, within := 1, j.lockTime(); ; try, within = try+1, 0 { // waited for once
		r := j.copy(d, t, s, within, try == tries)
		if slices.Contains(r.told, errAgain) {
			continue
		}
		if r.copy != "" {
			r.told = append(r.told, j.prune(d, s, j.Now())...)
		}
		return r
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

// copy is one try to copy the mailbox, under a lock if there is one to be had within
// that time. The copy of a mailbox that changed is kept only if it is the last, or a
// next one could open nothing, or would come too late.
func (j *job) copy(d *directory, t mailbox.Template, s series, within time.Duration, last bool) result {
	from, unlocked := t.OpenLocked(j.user, within)
	if unlocked != nil && !errors.Is(unlocked, mailbox.ErrNotLocked) {
		return failure(unlocked)
	}
	defer from.Close()
	lock := &hold{}
	if unlocked == nil {
		lock = j.hold(from, mailbox.Unlock)
		defer time.AfterFunc(min(maxHold, j.remaining()), func() { lock.letGo() }).Stop()
	}
	began := j.Now()
	before, err := stat(from)
	if err == nil {
		err = j.fits(d, before)
	}
	if err != nil {
		return failure(err)
	}
	to, err := d.draft(s.name(began))
	if err != nil {
		return failure(err)
	}
	defer to.discard()
	if err := j.contents(d, to.File, from, before); err != nil {
		return failure(err)
	}

	if j.copied != nil {
		j.copied()
	}
	after, gone := restat(t, j.user)
	if !lock.letGo() && unlocked == nil {
		unlocked = fmt.Errorf("%w (let go after %s)", mailbox.ErrNotLocked, span(maxHold))
	}
	torn := gone != nil || changed(before, after)
	if torn && gone == nil && !last && j.remaining() > j.Now().Sub(began) {
		return failure(errAgain)
	}
	if !torn {
		err = checkLength(to.File, before.Size)
	}
	var lost []error
	if err == nil {
		lost, err = to.dress(from, before)
	}
	if err == nil {
		err = to.Sync()
	}
	if err == nil {
		err = j.overtime()
	}
	if err != nil {
		return failure(err)
	}
	path, err := to.publish(s.name(began))
	if err != nil {
		return failure(err)
	}
	return result{copy: path, told: append(verdict(unlocked, torn), lost...)}
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
