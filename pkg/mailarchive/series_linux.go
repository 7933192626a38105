package mailarchive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/mailbox"
)

// A series is all copies of a user's mailboxes whose names have the same suffix: the
// copies of one mailbox, unless several templates share the suffix.
type series struct {
	path         string // the mailbox's
	base, suffix string // see mailbox.User.FileBase and mailbox.Template.Suffix
	boxes        int    // how many mailboxes share the suffix
}

// A version is a copy by its name.
type version struct {
	name  string
	epoch int64 // when it began, seconds since 1970
	n     int   // added to a name that existed, else 0
}

func (v version) began() time.Time { return time.Unix(v.epoch, 0) }

// series returns the series of the copies of template t.
func (j *job) series(t mailbox.Template) series {
	s := series{path: t.Path(j.user), base: j.user.FileBase(), suffix: t.Suffix()}
	for _, other := range j.Mailboxes {
		if other.Suffix() == s.suffix {
			s.boxes++
		}
	}
	return s
}

// name returns what a copy that begins now is called.
func (s series) name(now time.Time) string {
	return fmt.Sprintf("%s.%d%s", s.base, now.Unix(), s.suffix)
}

// parse reads the name of a copy of the series, exactly as name and publish make it.
func (s series) parse(name string) (v version, ok bool) {
	rest, ok := strings.CutPrefix(name, s.base+".")
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
	made := fmt.Sprintf("%s.%d%s", s.base, v.epoch, s.suffix)
	if v.n > 0 {
		made += fmt.Sprintf(".%d", v.n)
	}
	return v, made == name
}

// clockLag is how far a file's ctime may be behind the clock: before Linux 6.13 it
// was that of the last tick.
const clockLag = 20 * time.Millisecond

// standing returns the copy that has the mailbox's present state, if there is one; st is
// the mailbox's stat. Mail programs set the mtime back, but nobody can set the ctime back:
// a mailbox that hasn't changed since a copy began, and has its size and mtime, is what
// was copied.
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

func (d *directory) isTorn(v version) bool { return d.marked(v.name, tornMark) != "" }

// size is how many bytes the copy takes, as du(1) counts them.
func (d *directory) size(v version) int64 {
	var st unix.Stat_t
	if unix.Fstatat(int(d.Fd()), v.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0
	}
	return st.Blocks * 512
}

// lasted returns until when this copy's storm is known to have lasted.
func (d *directory) lasted(v version, now time.Time) time.Time {
	until, err := strconv.ParseInt(d.marked(v.name, untilMark), 10, 64)
	if err != nil || until < v.epoch || until > now.Unix() {
		return v.began()
	}
	return time.Unix(until, 0)
}
