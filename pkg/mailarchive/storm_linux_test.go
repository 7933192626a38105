package mailarchive

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"

	"golang.org/x/sys/unix"
)

// For as long as a storm lasts its first copy stays, from before the damage, and of
// all others as many as are asked for; after it the first is one like any other.
func TestFirstOfStormStays(t *testing.T) {
	s := newStage(t)
	s.Keep, s.AgainAfter = 10, 10*time.Minute
	night := time.Now().Add(time.Hour).Truncate(time.Second)
	change := func(at time.Time) {
		s.write(s.mailbox, fmt.Sprintf("From chico %d\n", at.Unix()))
		s.at(at)
		s.gives(s.name(at), "", "")
	}
	s.write(s.mailbox, "")
	if unix.Setxattr(s.mailbox, untilMark, []byte("9"), 0) != nil {
		t.Skip("no extended attributes here")
	}
	at := night
	for range 40 {
		change(at)
		s.holds(s.name(night), fmt.Sprintf("From chico %d\n", night.Unix()))
		at = at.Add(10 * time.Minute)
	}
	if names := s.names(); len(names) != 11 {
		t.Errorf("%d copies: %v", len(names), names)
	}
	second := at.Add(3 * time.Hour)
	for n := range 12 {
		change(second.Add(time.Duration(n) * 10 * time.Minute))
	}
	if _, err := os.Lstat(s.name(night)); err == nil {
		t.Error("the first of the storm before is still there")
	}
	s.holds(s.name(second), fmt.Sprintf("From chico %d\n", second.Unix()))
}

// What the first copy says of its storm is held against the clock and its own name.
func TestMarkOfTheFirstCopyIsHeldAgainstTheClock(t *testing.T) {
	s := newStage(t)
	d, err := openDirectory(s.archive)
	s.try(err)
	defer d.Close()
	v := version{name: "x.1000", epoch: 1000}
	s.write(s.archive+"/"+v.name, "")
	for mark, want := range map[string]int64{
		"": 1000, "1001": 1001, "2000": 2000, "2001": 1000, "999": 1000, "-1": 1000, "x": 1000, "1500 ": 1000,
		"99999999999999999999": 1000, strings.Repeat("1", 30): 1000,
	} {
		if err := d.mark(v.name, untilMark, mark); err != nil {
			t.Skip(err)
		}
		if got := d.lasted(v, time.Unix(2000, 0)).Unix(); got != want {
			t.Errorf("%q: until %d, want %d", mark, got, want)
		}
	}
}

// A mailbox's owner can't set our marks on its copies, or who tears them all would
// have a copy a minute.
func TestOwnerCannotSetMarks(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	if unix.Setxattr(s.mailbox, tornMark, []byte("1"), 0) != nil {
		t.Skip("no extended attributes here")
	}
	s.try(unix.Setxattr(s.mailbox, untilMark, []byte("9"), 0))
	s.gives(s.name(night), "", "")
	if got := s.attributes(s.name(night)); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// A copy that may be torn doesn't stand for the mailbox when a whole one is to be
// had, but there aren't many of them in a short while.
func TestTornDoesNotStand(t *testing.T) {
	s := newStage(t)
	s.AgainAfter, s.Keep = 10*time.Minute, 10
	s.write(s.mailbox, "From chico\n")
	if unix.Setxattr(s.mailbox, "user.x", nil, 0) != nil {
		t.Skip("no extended attributes here")
	}
	n := 0
	tear := func() { n++; s.write(s.mailbox, fmt.Sprintf("From chico %d\n", n)) }
	base := time.Now().Add(time.Hour).Truncate(time.Second)
	minute := func(m int) time.Time { return base.Add(time.Duration(m) * time.Minute) }
	said := "mailarchive: " + s.mailbox + ": " + errTorn.Error()

	s.copied = tear
	s.at(minute(0))
	s.gives(s.name(minute(0)), "", said)
	s.copied = nil
	s.at(minute(1))
	s.gives(s.name(minute(1)), "", "")
	tear()
	s.at(minute(2))
	s.gives(s.name(minute(1)), "mailarchive: changed since "+minute(1).UTC().Format(time.RFC3339)+": not copied again within 10m", "")

	// As many as there are tries, and then it is said that there is none better.
	s.copied = tear
	for m := 20; m < 20+tries; m++ {
		s.at(minute(m))
		s.gives(s.name(minute(m)), "", said)
	}
	s.at(minute(25))
	last := minute(20 + tries - 1)
	s.gives(s.name(last), "", "mailarchive: "+s.mailbox+": the copy of "+last.UTC().Format(time.RFC3339)+" may be torn: not copied again within 10m")
	s.at(minute(31))
	s.gives(s.name(minute(31)), "", said)
}

// Where copies have to go, those that may be torn go first, but not the newest.
func TestTornGoFirst(t *testing.T) {
	s := newStage(t)
	s.Keep = 2
	s.write(s.mailbox, "From chico\n")
	base := time.Now().Add(time.Hour).Truncate(time.Second)
	day := func(n int) time.Time { return base.Add(time.Duration(n) * 24 * time.Hour) }
	torn := func(n int) {
		if unix.Setxattr(s.name(day(n)), tornMark, []byte("1"), 0) != nil {
			t.Skip("no extended attributes here")
		}
	}
	for n := range 4 {
		s.write(s.name(day(n)), "From")
	}
	torn(2)
	torn(3)
	s.copied = func() { s.write(s.mailbox, fmt.Sprint(time.Now())) }
	s.at(day(4))
	s.gives(s.name(day(4)), "", "mailarchive: "+s.mailbox+": "+errTorn.Error())
	s.archiveHolds(fmt.Sprint(groucho, ".", day(1).Unix()), fmt.Sprint(groucho, ".", day(4).Unix()))
}

// When another try fails there is the copy of the one before.
func TestFailedRetryLeavesTheCopyBefore(t *testing.T) {
	for name, c := range map[string]struct {
		make func(s *stage) // between two tries
		want string
	}{
		"too large": {func(s *stage) { s.write(s.mailbox, strings.Repeat("x", 101)) }, "refused: 101 bytes is more than 100 bytes"},
		"removed":   {func(s *stage) { s.try(os.Remove(s.mailbox)) }, "no such mailbox"},
		"a link": {func(s *stage) {
			s.try(os.Remove(s.mailbox))
			s.try(os.Symlink("/etc/shadow", s.mailbox))
		}, "refused: a symbolic link"},
		"a Maildir": {func(s *stage) {
			s.try(os.Remove(s.mailbox))
			s.try(os.Mkdir(s.mailbox, 0o700))
		}, "a directory"},
		"under a lease": {func(s *stage) { s.lease() }, "refused: under a lease"},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(s *stage) {
				s.MaxSize = 100
				s.write(s.mailbox, "From chico\n")
				s.copied = func() { s.try(unix.Chmod(s.mailbox, 0o640)) }
				s.recopied = func() { c.make(s) }
				at := "mailarchive: " + s.mailbox + ": "
				s.gives(s.name(night), "", at+errTorn.Error()+"; "+at+"tried again: "+c.want)
				s.holds(s.name(night), "From chico\n")
				s.archiveHolds(groucho + "." + epoch)
			})
		})
	}
}

// lease takes the mailbox as a file server for its client does.
func (s *stage) lease() (holder *os.File) {
	s.Helper()
	f, err := os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	s.Cleanup(func() { f.Close() })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		s.Skipf("lease: %v", err)
	}
	return f
}

func TestLeaseThatIsGivenBackIsWaitedFor(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	holder := s.lease()
	s.LockTimeout = time.Minute
	given := make(chan struct{})
	go func() {
		defer close(given)
		for { // until somebody asks for it, fcntl(2)
			if kind, err := unix.FcntlInt(holder.Fd(), unix.F_GETLEASE, 0); err != nil || kind != unix.F_WRLCK {
				break
			}
			time.Sleep(time.Millisecond)
		}
		_, _ = unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}()
	s.gives(s.archive+"/"+groucho+"."+epoch, "", "")
	<-given
	s.archiveHolds(groucho + "." + epoch)
}

func TestLeaseThatIsKeptIsRefused(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.lease()
	s.gives("", "", "mailarchive: "+s.mailbox+": refused: under a lease")
	s.archiveHolds()
}

// However often it is copied, the mailbox isn't locked longer than mail programs wait.
func TestLockIsNotHeldLongerHoweverOftenCopied(t *testing.T) {
	defer func(was time.Duration) { maxHold = was }(maxHold)
	maxHold = 200 * time.Millisecond
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	mode := uint32(0o600)
	s.copied = func() { // as a long copy, and its owner changes what needs no lock
		mode ^= 0o040
		s.try(unix.Chmod(s.mailbox, mode))
		time.Sleep(maxHold * 3 / 4)
	}
	tries := 0
	s.recopied = func() {
		if tries++; tries < 2 {
			return
		}
		f, err := s.lockToWrite()
		s.try(err)
		f.Close()
		held := s.copied
		s.copied = func() { // the third is without a lock
			f, err := s.lockToWrite()
			s.try(err)
			f.Close()
			held()
		}
	}
	s.gives(s.name(night), "", "mailarchive: "+s.mailbox+": not locked (let go after 200ms) and "+errTorn.Error())
	if tries != 2 {
		t.Errorf("tried again %d times", tries)
	}
}

// Where the clock of ctimes is slow a change right after another doesn't show: the
// last has to be a moment old before the copy begins.
func TestChangeInTheSameTickIsSeen(t *testing.T) {
	s := newStage(t)
	if err := unix.Mount("ramfs", s.spool, "ramfs", 0, "mode=755"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(s.spool, unix.MNT_DETACH) })
	for range 30 {
		s.write(s.mailbox, "message A\n")
		writer, err := s.lockToWrite() // so that it isn't locked by us
		s.try(err)
		_, err = writer.WriteAt([]byte("message B"), 0)
		s.try(err)
		first := true
		s.copied = func() {
			if first {
				_, err := writer.WriteAt([]byte("message C"), 0)
				s.try(err)
			}
			first = false
		}
		archived, _, _ := s.row()
		writer.Close()
		s.holds(archived, "message C\n")
		s.try(os.Remove(archived))
	}
}

// Cut while it is copied: the copy may be short, and is said to be torn.
func TestMailboxCutWhileCopiedIsSaidToBeTorn(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, strings.Repeat("x", 20<<20))
	st := s.stat(s.mailbox)
	s.try(os.Truncate(s.mailbox, 10<<20)) // after it was looked at
	d, err := openDirectory(s.archive)
	s.try(err)
	defer d.Close()
	from, err := os.Open(s.mailbox)
	s.try(err)
	defer from.Close()
	to, err := d.draft("x")
	s.try(err)
	defer to.discard()
	s.try(s.box(t.Context(), d, Options{}).contents(&turn{}, to.File, from, st))
	if got, err := stat(to.File); err != nil || got.Size != 10<<20 {
		t.Errorf("%d bytes, %v", got.Size, err)
	}
	if err := checkLength(to.File, st.Size); err == nil {
		t.Error("short, and taken for whole")
	}
	s.copied = func() {
		if s.stat(s.mailbox).Size > 5 {
			s.try(os.Truncate(s.mailbox, 5))
		}
	}
	s.gives(s.name(night), "", "")
	s.holds(s.name(night), "xxxxx")
}

// A list that the archive directory has for new files isn't the mailbox's.
func TestDirectorysDefaultAccessListIsNotCopied(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.try(unix.Chmod(s.mailbox, 0o660))
	list := strings.Replace(acl, "\x20\x00\x00\x00", "\x20\x00\x04\x00", 1)
	if err := unix.Setxattr(s.archive, "system.posix_acl_default", []byte(list), 0); err != nil {
		t.Skipf("setxattr: %v", err)
	}
	s.gives(s.name(night), "", "")
	if got := s.attributes(s.name(night)); len(got) > 0 || s.stat(s.name(night)).Mode&0o777 != 0o660 {
		t.Errorf("%q, mode %o", got, s.stat(s.name(night)).Mode)
	}
}

// An archive that doesn't answer costs one row its time, and one thread, not each
// row that comes behind; and when it answers again there are copies again.
func TestManyRowsBehindOneThatHangs(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	thaw := s.frozen()
	s.Timeout = 2 * time.Second
	in := header
	for n := range 6 {
		in += strings.Replace(due(groucho, groucho), "05:17:02", fmt.Sprintf("05:17:%02d", n), 1)
	}
	begin := time.Now()
	_, reports := s.pass(in)
	took := time.Since(begin)
	thaw()
	if took > 2*s.Timeout+6*lastMoment {
		t.Errorf("%d rows took %s", 6, took)
	}
	if len(reports) != 6 || !strings.Contains(reports[5], s.archive+": no answer since ") {
		t.Errorf("%q", reports)
	}
	for end := time.Now().Add(time.Minute); s.open(s.archive) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still at work")
		}
	}
}

// With no free slot in the process table, just when it is needed, it goes on.
func TestArchivesWithNoFreeSlot(t *testing.T) {
	group := testproc.NewGroup(t)
	account, err := user.LookupId("1") // not by its number alone, for which another program is asked
	if err != nil {
		t.Skip(err)
	}
	s := newStage(t)
	box := s.spool + "/" + account.Username
	s.write(box, strings.Repeat("From chico\n", 1_000_000))
	s.try(os.Chown(box, 1, 1))
	cmd := s.command("--again-after", "1ms", "--min-free", "0", "--keep", "2")
	cmd.Stdin, cmd.Stderr = nil, os.Stderr
	in, err := cmd.StdinPipe()
	s.try(err)
	out, err := cmd.StdoutPipe()
	s.try(err)
	s.try(cmd.Start())
	lines := bufio.NewReader(out)
	_, err = io.WriteString(in, header)
	s.try(err)
	if line, err := lines.ReadString('\n'); line != header {
		t.Fatal(line, err)
	}
	group.Full(t, cmd.Process.Pid)
	for n := range 30 {
		at := time.Now().Add(-time.Duration(n) * time.Second).UTC().Format(time.RFC3339)
		_, err := io.WriteString(in, strings.Replace(due(account.Username, "1"), "2000-04-25T05:17:02Z", at, 1))
		s.try(err)
		if line, err := lines.ReadString('\n'); !strings.Contains(line, ","+s.archive+"/"+account.Username+".") {
			t.Fatal(line, err)
		}
	}
	in.Close()
	s.try(cmd.Wait())
}
