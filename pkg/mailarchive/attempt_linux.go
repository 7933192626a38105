package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// maxHold is how long a mailbox stays locked at most: Postfix defers mail after
// waiting 19 s. A variable for tests.
var maxHold = 15 * time.Second

// killstorm locks the mailbox again, for up to the same time, as soon as the row is passed
// on. Before that, a mailbox that was locked for longer than shortHold stays unlocked for
// a gap, so that a delivery agent that tries each second gets through. Variables for
// tests.
var (
	shortHold = 3 * time.Second
	gap       = 1100 * time.Millisecond
)

// errTorn is the error of a mailbox that changed while it was copied. Mail programs
// write in its middle: a copy may have a message twice, or half of one.
var errTorn = errors.New(rows.Torn)

func newBox(j *job, t mailbox.Template) *box {
	b := &box{job: j, template: t, series: j.series(t)}
	b.spool = filepath.Dir(b.path)
	return b
}

// archive archives the mailbox. The result has the copy that stands for it and notes on
// that copy, or the reason why there is none. In a dry run it says what would be done.
func (b *box) archive() result {
	b.failed = b.hasFailed(b.path)
	r, over := b.look()
	if !over {
		r = b.save()
		b.leaveGap()
	}
	r.path = b.path
	return r
}

func noCopy(err error) result { return result{said: []error{err}} }

// A glance is what a mailbox is before it is copied.
type glance struct {
	copy   string // the path of a copy that stands for it
	why    error  // what there is to say of that copy
	served bool   // the mailbox may be on a file server
	size   int64
}

// impatient is how long a look may take at a mailbox that has failed before: a variable
// for tests.
var impatient = time.Second

// look looks at the mailbox without a lock. over says that the mailbox need not be copied,
// and then r is the result.
func (b *box) look() (r result, over bool) {
	ctx, cancel := b.ctx, context.CancelFunc(func() {})
	if b.failed {
		ctx, cancel = context.WithTimeout(b.ctx, impatient)
	}
	defer cancel()
	g, err := ask(ctx, b.job, b.inSpool(), b.glance)
	b.served, b.size = g.served, g.size
	switch {
	case err != nil:
		if b.ctx.Err() != nil {
			b.noteOutcome(err)
		} else if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %s", span(impatient))
		}
		return noCopy(err), true
	case g.why != nil:
		return result{copy: g.copy, said: []error{g.why}}, true
	case b.DryRun:
		return noCopy(filter.Note(rows.FormatWouldArchive(b.path))), true
	}
	return result{}, false
}

func (b *box) glance(t *task) (g glance, err error) {
	f, err := b.template.Open(b.user)
	if mailbox.IsLeased(err) && !b.DryRun { // it is waited for
		return glance{served: true}, nil
	}
	if err != nil {
		return g, err
	}
	defer f.Close()
	st, err := stat(f)
	if err != nil {
		return g, err
	}
	g.size, g.served = st.Size, !isLocal(f)
	t.in(b.Dir)
	if g.copy, g.why = b.reuse(st); g.why != nil {
		return g, nil
	}
	if err = b.fitsMaxSize(st); err == nil && b.DryRun {
		err = b.fits(f, st)
	}
	return g, err
}

// isLocal reports whether the file's file system is known to answer without a server or
// a program of somebody's.
func isLocal(f *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, zfsMagic, bcachefsMagic:
		return true
	}
	return false
}

// What golang.org/x/sys/unix lacks of statfs(2)'s f_type.
const (
	zfsMagic      = 0x2fc12fc1
	bcachefsMagic = 0xca451a4e
)

// noteOutcome notes for the next runs why there is no copy of the mailbox. The row
// doesn't wait for that.
func (b *box) noteOutcome(why error) {
	if b.DryRun || b.running.Err() != nil {
		return
	}
	b.working.Add(1)
	go func() {
		defer b.working.Done()
		ctx, cancel := context.WithTimeout(context.Background(), noteTime)
		defer cancel()
		_ = b.crew.do(ctx, b.inArchive(), func(*task) { b.noteFailure(b.path, why) })
	}()
}

// noteTime is how long that may take.
const noteTime = 10 * time.Second

// withinMoment is ask for work in the archive that may be a little over time.
func (b *box) withinMoment(f func(*task) (result, error)) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), max(lastMoment, b.remaining()))
	defer cancel()
	return ask(ctx, b.job, b.inArchive(), f)
}

// save copies the mailbox, again while it changes. A copy that may be torn is kept until
// there is another, because the mailbox may vanish, grow too large or get a lease
// meanwhile.
func (b *box) save() result {
	var kept *attempt
	for try := 1; ; try++ {
		next, err := b.attempt(try == 1 && !b.failed)
		if kept == nil && err != nil {
			b.noteOutcome(err)
			return noCopy(err)
		}
		if err != nil { // not wrapped: there is a mailbox, or was
			kept.said = append(kept.said, fmt.Errorf("tried again: %v", err))
			return b.publish(kept)
		}
		if kept != nil {
			b.discard(kept)
		}
		kept = next
		if !kept.torn || kept.gone || try == tries || b.remaining() < 2*kept.took {
			return b.publish(kept)
		}
		if b.recopied != nil {
			b.recopied()
		}
	}
}

// attempt waits for the mailbox's turn and copies it once.
func (b *box) attempt(patient bool) (*attempt, error) {
	turn, err := b.open(patient)
	if err != nil {
		return nil, err
	}
	defer b.queue.done(turn)
	if turn.unlocked == nil && b.locked.IsZero() {
		b.locked = time.Now()
	}
	until := b.locked.Add(maxHold)
	made, err := ask(b.ctx, b.job, b.inSpool(), func(t *task) (made *attempt, err error) {
		st, _ := stat(turn.file) // copy reports what is wrong with it
		_ = b.withPriority(st, func() error { made, err = b.copy(t, turn, until); return nil })
		if t.isLeft() && made != nil {
			made.discard()
		}
		return made, err
	})
	if b.unlocked = time.Now(); err == nil {
		b.unlocked = made.unlocked
	}
	return made, err
}

// open waits for the turn with the mailbox open, and locked if it can be. In all tries
// together it isn't locked longer than mail programs wait.
func (b *box) open(patient bool) (*turn, error) {
	t := &turn{rank: b.rank, until: time.Now()}
	if patient { // there has to be time to copy without the lock
		t.until = t.until.Add(min(b.LockTimeout, b.remaining()/2))
	}
	var err error
	switch late := !b.locked.IsZero() && time.Since(b.locked) >= maxHold; {
	case late:
		t.file, err = ask(b.ctx, b.job, b.inSpool(), func(*task) (*os.File, error) { return b.template.Open(b.user) })
		t.unlocked = errUnlocked()
	case b.served:
		err = b.lockServed(t)
	default:
		t.locking = b.template.Lock(b.user)
	}
	if err != nil {
		return nil, err
	}
	if err := b.overtime(b.queue.wait(b.ctx, t)); err != nil {
		return nil, err
	}
	if t.err != nil {
		b.queue.done(t)
	}
	return t, t.err
}

func errUnlocked() error {
	return fmt.Errorf("%w (let go after %s)", mailbox.ErrNotLocked, span(maxHold))
}

// lockServed tries for the lock of a mailbox whose file system may not answer: the
// queue's loop must not hang.
func (b *box) lockServed(t *turn) error {
	const poll = 20 * time.Millisecond
	type opened struct {
		file *os.File
		err  error
	}
	l := b.template.Lock(b.user)
	for ; ; time.Sleep(poll) {
		late := !time.Now().Before(t.until)
		got, err := ask(b.ctx, b.job, b.inSpool(), func(t *task) (o opened, _ error) {
			if o.file, o.err = l.Try(); late && mailbox.IsBusy(o.err) {
				o.file, o.err = l.GiveUp()
			}
			if t.isLeft() {
				l.Close()
				if o.file != nil {
					o.file.Close()
				}
			}
			return o, nil
		})
		if err != nil {
			return err
		}
		if !mailbox.IsBusy(got.err) {
			t.setOpened(got.file, got.err)
			return t.err
		}
	}
}

// An attempt is a copy of the mailbox on the disk, which only needs its name.
type attempt struct {
	*draft
	name     string
	torn     bool          // the mailbox changed meanwhile
	gone     bool          // it can't be opened any more
	unlocked time.Time     // when its locks ended
	took     time.Duration // from the lock to the disk
	said     []error       // how far the copy can be trusted, and which attributes it lacks
}

// copy copies the mailbox once, and unlocks it.
func (b *box) copy(t *task, turn *turn, until time.Time) (made *attempt, err error) {
	from := turn.file
	defer from.Close()
	lock := &hold{}
	if turn.unlocked == nil {
		lock = t.hold(from, mailbox.Unlock)
		defer time.AfterFunc(min(time.Until(until), b.remaining()), func() { lock.release() }).Stop()
	}
	began := time.Now()
	before, atRest, err := settled(from)
	if err != nil {
		return nil, err
	}
	name := b.name(b.Now())
	t.in(b.Dir)
	to, err := b.dir.draft(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			to.discard()
		}
	}()
	t.in(b.spool)
	contents := func() error { return b.contents(turn, to.File, from, before) }
	if err = b.withPriority(before, contents); err != nil { // it may have grown
		return nil, err
	}
	if b.copied != nil {
		b.copied()
	}
	after, gone := restat(b.template, b.user)
	if !lock.release() && turn.unlocked == nil {
		turn.unlocked = errUnlocked()
	}
	turn.progressed()
	t.in(b.Dir)
	made = &attempt{draft: to, name: name, unlocked: time.Now(), gone: gone != nil, torn: gone != nil || !atRest || changed(before, after)}
	err = b.finish(made, from, before)
	made.took = time.Since(began)
	made.said = append(verdict(turn.unlocked, made.torn), made.said...)
	return made, err
}

// finish gives the copy all but its name, and puts it on the disk.
func (b *box) finish(a *attempt, from *os.File, as unix.Stat_t) (err error) {
	if a.torn {
		a.markTorn()
	} else if err := checkLength(a.File, as.Size); err != nil {
		return err
	}
	if a.said, err = a.dress(from, as); err != nil {
		return err
	}
	if err = a.Sync(); err != nil {
		return err
	}
	return b.inTime()
}

// publish gives the copy its name, and removes older ones. It may overrun the row's time a
// little, if a copy was made before another try took too long.
func (b *box) publish(a *attempt) result {
	r, err := b.withinMoment(func(t *task) (r result, err error) {
		defer a.discard()
		if t.isLeft() {
			return r, errOver
		}
		if r.copy, err = a.draft.publish(a.name); err != nil {
			return r, err
		}
		b.noteFailure(b.path, nil)
		r.said = append(a.said, b.prune()...)
		return r, nil
	})
	if err != nil {
		b.noteOutcome(err)
		return noCopy(err)
	}
	return r
}

// discard removes a copy for which there is a better one.
func (b *box) discard(a *attempt) {
	_, _ = ask(b.ctx, b.job, b.inArchive(), func(*task) (any, error) { a.discard(); return nil, nil })
}

// leaveGap gives delivery agents time for the mailbox before killstorm locks it.
func (b *box) leaveGap() {
	if !b.locked.IsZero() && b.unlocked.Sub(b.locked) > shortHold {
		time.Sleep(time.Until(b.unlocked.Add(gap)))
	}
}

// verdict says how far a copy can be trusted.
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

// settled returns the mailbox's stat once it has not changed for a moment, because a
// change within the same tick of the clock doesn't show in the ctime. It doesn't wait for
// a mailbox that keeps changing.
//
// What a program writes into a mapped file, mmap(2), shows in the ctime only if the page
// wasn't changed before: so all changed pages are written back first.
func settled(f *os.File) (st unix.Stat_t, atRest bool, err error) {
	for range tries {
		began := time.Now()
		clean := writeBack(f) == nil
		quick := time.Since(began) < clockLag/2 // else a page may have been changed meanwhile, long before the ctime is read
		if st, err = stat(f); err != nil {
			return st, false, err
		}
		age := time.Since(time.Unix(st.Ctim.Unix()))
		if age.Abs() >= clockLag && quick { // also if the clock was put back, for a change then shows
			return st, clean, nil
		}
		time.Sleep(clockLag - age)
	}
	return st, false, nil
}

// writeBack writes the file's changed pages to its file system and makes the next change
// of each show in the ctime. Unlike fdatasync(2) it doesn't wait for the disk's cache.
func writeBack(f *os.File) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	err := unix.SyncFileRange(int(f.Fd()), 0, 0, all)
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EINVAL {
		err = unix.Fdatasync(int(f.Fd()))
	}
	return err
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

// changed reports whether a and b differ. The mtime alone isn't enough: mail programs set
// it back, and another file may have replaced the mailbox. Nobody can set the ctime.
func changed(a, b unix.Stat_t) bool {
	return a.Dev != b.Dev || a.Ino != b.Ino || a.Size != b.Size || a.Mtim != b.Mtim || a.Ctim != b.Ctim
}
