package mailarchive

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/mailbox"
)

// A series is all copies of a user's mailboxes whose names end alike: of one
// mailbox, unless several templates have the same after {user}.
type series struct {
	path         string // the mailbox's
	user, suffix string
	boxes        int // how many mailboxes are called so
}

// A version is a copy by its name.
type version struct {
	name  string
	epoch int64 // when it began, seconds since 1970
	n     int   // behind a name that was taken, else 0
}

func (v version) began() time.Time { return time.Unix(v.epoch, 0) }

// series returns the series of the copies of template t.
func (j *job) series(t mailbox.Template) series {
	s := series{path: t.Path(j.user), user: j.user.FileBase(), suffix: t.Suffix()}
	for _, other := range j.Mailboxes {
		if other.Suffix() == s.suffix {
			s.boxes++
		}
	}
	return s
}

// name returns what a copy that begins now is called.
func (s series) name(now time.Time) string {
	return fmt.Sprintf("%s.%d%s", s.user, now.Unix(), s.suffix)
}

// parse reads the name of a copy of the series, exactly as name and publish make it.
func (s series) parse(name string) (v version, ok bool) {
	rest, ok := strings.CutPrefix(name, s.user+".")
	if !ok {
		return v, false
	}
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	epoch, err := strconv.ParseInt(rest[:digits], 10, 64)
	behind, ok := strings.CutPrefix(rest[digits:], s.suffix)
	if err != nil || !ok {
		return v, false
	}
	v = version{name: name, epoch: epoch}
	if behind != "" {
		if v.n, err = strconv.Atoi(behind[1:]); err != nil || v.n < 1 || v.n > 999 {
			return v, false
		}
	}
	again := fmt.Sprintf("%s.%d%s", s.user, v.epoch, s.suffix)
	if v.n > 0 {
		again += fmt.Sprintf(".%d", v.n)
	}
	return v, again == name
}

// versions returns the copies of the series, the oldest first. Those from the
// future, where a clock was wrong, don't count.
func (d *directory) versions(s series, now time.Time) (all []version) {
	first, _ := slices.BinarySearch(d.names, s.user+".")
	for _, name := range d.names[first:] {
		if !strings.HasPrefix(name, s.user+".") {
			break
		}
		if v, ok := s.parse(name); ok && v.epoch <= now.Unix() && d.isRegular(name) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b version) int { return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.n, b.n)) })
	return all
}

// list reads the names in the directory, unless it is as it was when they were read
// last. A run that holds the lock also removes the temporaries of earlier ones.
func (d *directory) list(locked bool) error {
	st, err := stat(d.File)
	if err != nil {
		return err
	}
	if d.names != nil && st.Mtim == d.changed {
		return nil
	}
	if _, err := d.Seek(0, 0); err != nil {
		return err
	}
	if d.names, err = d.Readdirnames(-1); err != nil {
		return err
	}
	slices.Sort(d.names)
	d.changed = st.Mtim
	if locked && !d.swept {
		d.sweep()
		d.swept = true
	}
	return nil
}

// sweep removes what runs that were killed have left where there is no O_TMPFILE.
func (d *directory) sweep() {
	for _, name := range slices.Clone(d.names) {
		if isTemporary(name) && d.isRegular(name) {
			_ = d.remove(name)
		}
	}
}

// isTemporary knows the names that draft makes.
func isTemporary(name string) bool {
	dot := strings.LastIndex(name, ".tmp")
	if dot < 1 || name[0] != '.' {
		return false
	}
	_, err := strconv.ParseUint(name[dot+len(".tmp"):], 10, 31)
	return err == nil && strings.Contains(name[1:dot], ".")
}

func (d *directory) isRegular(name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// add notes a name that has been made.
func (d *directory) add(name string) {
	at, _ := slices.BinarySearch(d.names, name)
	d.names = slices.Insert(d.names, at, name)
	d.noteChange()
}

// remove removes a file and its name from the list.
func (d *directory) remove(name string) error {
	if err := unix.Unlinkat(int(d.Fd()), name, 0); err != nil {
		return err
	}
	if at, found := slices.BinarySearch(d.names, name); found {
		d.names = slices.Delete(d.names, at, at+1)
	}
	d.noteChange()
	return nil
}

// noteChange says that the list is as the directory is now: nobody else changes it
// while it is locked.
func (d *directory) noteChange() {
	if st, err := stat(d.File); err == nil {
		d.changed = st.Mtim
	}
}

// clockLag is how far a file's ctime may be behind the clock: before Linux 6.13 it
// was that of the last tick.
const clockLag = 20 * time.Millisecond

// standing returns the path of the copy that the mailbox, which is as st says,
// still is the same as; "" if there is none. Mail programs put the mtime back, but
// nobody can the ctime: a mailbox that hasn't changed since a copy began, and is as
// large and as old as that, is what was copied.
func (d *directory) standing(all []version, st unix.Stat_t) (version, bool) {
	touched := time.Unix(st.Ctim.Unix()).Add(clockLag)
	for _, v := range slices.Backward(all) {
		if !touched.Before(v.began()) {
			break
		}
		var copied unix.Stat_t
		if unix.Fstatat(int(d.Fd()), v.name, &copied, unix.AT_SYMLINK_NOFOLLOW) == nil &&
			copied.Size == st.Size && copied.Mtim == st.Mtim && !d.isTorn(v) {
			return v, true
		}
	}
	return version{}, false
}

// again says whether a mailbox is not to be copied now, as what stands for it and
// why. A copy of what it was a short while ago will do: a storm that respawns all
// night, and writes, must not fill the disk. One that may be torn will not, but who
// tears them all isn't to have one a minute either.
func (j *job) again(d *directory, s series, st unix.Stat_t, now time.Time) (path string, why error) {
	all := d.versions(s, now)
	if v, ok := d.standing(all, st); ok {
		return filepath.Join(d.Name(), v.name), remark("unchanged since " + stamp(v))
	}
	var whole, torn []version // of that while
	for _, v := range all {
		switch {
		case now.Sub(v.began()) >= j.AgainAfter:
		case d.isTorn(v):
			torn = append(torn, v)
		default:
			whole = append(whole, v)
		}
	}
	var newest version
	switch {
	case len(whole) >= s.boxes:
		newest = whole[len(whole)-1]
		why = remark(fmt.Sprintf("changed since %s: not copied again within %s", stamp(newest), span(j.AgainAfter)))
	case len(torn) >= tries*s.boxes:
		newest = torn[len(torn)-1]
		why = fmt.Errorf("the copy of %s may be torn: not copied again within %s", stamp(newest), span(j.AgainAfter))
	default:
		return "", nil
	}
	if s.boxes > 1 {
		return "", why // it may be another's
	}
	return filepath.Join(d.Name(), newest.name), why
}

func (d *directory) isTorn(v version) bool { return d.marked(v.name, tornMark) != "" }

func stamp(v version) string { return v.began().UTC().Format(time.RFC3339) }

// sameStorm is how far apart two copies are at most that belong to one storm, at
// the default of --again-after.
const sameStorm = time.Hour

// prune removes the copies of a series but the newest, of which those that may be
// torn go first, and the first of this storm: from before the damage.
func (j *job) prune(d *directory, s series, now time.Time) (failed []error) {
	all := d.versions(s, now)
	keep := int(min(j.Keep, 1<<20)) * s.boxes
	if j.Keep == 0 || len(all) <= keep {
		return nil
	}
	first := j.firstOfStorm(d, all, now)
	var whole, torn []version
	for i, v := range slices.Backward(all) {
		if i < len(all)-1 && d.isTorn(v) { // the newest is this row's, as it may be
			torn = append(torn, v)
		} else {
			whole = append(whole, v)
		}
	}
	for _, v := range append(whole, torn...)[keep:] {
		if v == first {
			continue
		}
		if err := d.remove(v.name); err != nil && !errors.Is(err, unix.ENOENT) {
			failed = append(failed, fmt.Errorf("old copy %s not removed: %w", v.name, err))
		}
	}
	return failed
}

// firstOfStorm returns the first copy of the storm that the newest is of. It notes
// there that the storm lasts: the copies in between will go.
func (j *job) firstOfStorm(d *directory, all []version, now time.Time) version {
	apart := max(sameStorm, 2*j.AgainAfter)
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

// lasted returns until when the storm is known to have lasted of which this is a copy.
func (d *directory) lasted(v version, now time.Time) time.Time {
	until, err := strconv.ParseInt(d.marked(v.name, untilMark), 10, 64)
	if err != nil || until < v.epoch || until > now.Unix() {
		return v.began()
	}
	return time.Unix(until, 0)
}
