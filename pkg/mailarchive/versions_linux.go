package mailarchive

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
)

// versions returns the copies of the series, the oldest first. Copies from the future,
// when a clock was wrong, and copies that are about to be removed don't count. The
// directory is locked.
func (b *box) versions(s series) (all []version) {
	d, now := b.dir, b.Now()
	first, _ := slices.BinarySearch(d.names, s.base+".")
	for _, name := range d.names[first:] {
		if !strings.HasPrefix(name, s.base+".") {
			break
		}
		if v, ok := s.parse(name); ok && v.epoch <= now.Unix() && !b.isExpired(v.began()) && d.isRegular(name) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b version) int { return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.n, b.n)) })
	return all
}

// reuse returns the copy that stands for a mailbox and the reason, if the mailbox need not
// be copied now. A recent copy is enough, because a storm that respawns and writes all
// night must not fill the disk. A copy that may be torn is not enough, but a mailbox that
// always tears isn't copied every minute either.
func (b *box) reuse(st unix.Stat_t) (path string, why error) {
	d, now := b.dir, b.Now()
	d.mutex.Lock()
	defer d.mutex.Unlock()
	all := b.versions(b.series)
	if v, ok := d.standing(all, st); ok {
		return filepath.Join(d.Name(), v.name), remark(rows.FormatUnchanged(v.began()))
	}
	var whole, torn []version // of that while
	for _, v := range all {
		switch {
		case now.Sub(v.began()) >= b.AgainAfter:
		case d.isTorn(v):
			torn = append(torn, v)
		default:
			whole = append(whole, v)
		}
	}
	var newest version
	switch {
	case len(whole) >= b.boxes:
		newest = whole[len(whole)-1]
		why = remark(rows.FormatChanged(newest.began(), span(b.AgainAfter)))
	case len(torn) >= tries*b.boxes:
		newest = torn[len(torn)-1]
		why = errors.New(rows.FormatOnlyTorn(newest.began(), span(b.AgainAfter)))
	default:
		return "", nil
	}
	if b.boxes > 1 {
		return "", why // it may be another's
	}
	return filepath.Join(d.Name(), newest.name), why
}

// sameStorm is how far apart two copies are at most that belong to one storm, at
// the default of --again-after.
const sameStorm = time.Hour

// prune removes older copies: more than --keep of the mailbox, and what the account has
// above its fair size.
func (b *box) prune() []error {
	b.dir.mutex.Lock()
	defer b.dir.mutex.Unlock()
	return append(b.pruneNumber(), b.pruneSize()...)
}

// pruneNumber removes all copies of the series except the newest and the first of this
// storm, which is from before the damage. Copies that may be torn go first.
func (b *box) pruneNumber() (failed []error) {
	all := b.versions(b.series)
	keep := int(min(b.Keep, 1<<20)) * b.boxes
	if b.Keep == 0 || len(all) <= keep {
		return nil
	}
	first := b.firstOfStorm(all)
	var whole, torn []version
	for i, v := range slices.Backward(all) {
		if i < len(all)-1 && b.dir.isTorn(v) { // the newest is this row's, torn or not
			torn = append(torn, v)
		} else {
			whole = append(whole, v)
		}
	}
	for _, v := range append(whole, torn...)[keep:] {
		if v != first {
			failed = append(failed, b.removeOld(v)...)
		}
	}
	return failed
}

// pruneSize removes the oldest copies of the account, of all its mailboxes, until they
// take no more than its fair size. The newest of each mailbox stay, and the first of a
// storm as long as there are others.
func (b *box) pruneSize() (failed []error) {
	room, err := b.room()
	fair := b.FairSize.of(room.size)
	if err != nil || fair == 0 {
		return nil
	}
	var old, first []version // that may go, in this order
	var taken int64
	seen := map[string]bool{}
	for _, t := range b.Mailboxes {
		s := b.job.series(t)
		if seen[s.suffix] {
			continue
		}
		seen[s.suffix] = true
		all := b.versions(s)
		for _, v := range all {
			taken += b.dir.size(v)
		}
		if len(all) <= s.boxes {
			continue
		}
		firstOne := b.firstOfStorm(all)
		for _, v := range all[:len(all)-s.boxes] {
			if v == firstOne {
				first = append(first, v)
			} else {
				old = append(old, v)
			}
		}
	}
	slices.SortStableFunc(old, func(a, b version) int { return cmp.Compare(a.epoch, b.epoch) })
	for _, v := range append(old, first...) {
		if taken <= fair {
			break
		}
		taken -= b.dir.size(v)
		failed = append(failed, b.removeOld(v)...)
	}
	return failed
}

// firstOfStorm returns the first copy of the storm to which the newest belongs. It marks
// on that copy that the storm lasts, because the copies in between will be removed.
func (b *box) firstOfStorm(all []version) version {
	d, now := b.dir, b.Now()
	apart := max(sameStorm, 2*b.AgainAfter)
	newest := all[len(all)-1]
	first := newest
	for _, v := range slices.Backward(all[:len(all)-1]) {
		if first.began().Sub(d.lasted(v, now)) > apart {
			break
		}
		first = v
	}
	if first != newest {
		_ = d.mark(first.name, untilMark, strconv.FormatInt(newest.epoch, 10))
	}
	return first
}

func (b *box) removeOld(v version) []error {
	if err := b.dir.remove(v.name); err != nil && !errors.Is(err, unix.ENOENT) {
		return []error{errors.New(rows.FormatNotRemoved(v.name, err.Error()))}
	}
	return nil
}
