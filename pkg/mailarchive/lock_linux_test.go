package mailarchive

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lockToWrite takes the lock of a mail program, or says that it can't.
func (s *stage) lockToWrite() (f *os.File, err error) {
	s.Helper()
	f, err = os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// While it is copied nobody gets the mailbox to write, and as soon as the row is out
// everybody does.
func TestMailboxIsLockedWhileItIsCopied(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	copies := 0
	s.copied = func() {
		copies++
		if f, err := s.lockToWrite(); err == nil {
			f.Close()
			t.Error("somebody else has the lock")
		}
	}
	s.gives(s.name(night), "", "")
	if copies != 1 {
		t.Errorf("%d copies", copies)
	}
	f, err := s.lockToWrite()
	s.try(err)
	f.Close()
}

func TestMailboxThatCannotBeLockedIsCopiedAndSaidSo(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	f, err := os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	defer f.Close()
	s.try(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	s.LockTimeout = 30 * time.Millisecond
	begin := time.Now()
	held := fmt.Sprintf("not locked (held by pid %d)", os.Getpid())
	s.gives(s.name(night), "mailarchive: "+held+" but unchanged while copied", "")
	if took := time.Since(begin); took < s.LockTimeout {
		t.Errorf("waited %s", took)
	}
	s.holds(s.name(night), "From chico\n")

	// Three copies, and one lock's time.
	copies := 0
	s.copied = func() {
		copies++
		_, err := f.WriteAt([]byte{byte('0' + copies)}, 0)
		s.try(err)
	}
	s.LockTimeout = 3 * time.Second
	begin = time.Now()
	s.gives(s.name(night)+".1", "", "mailarchive: "+s.mailbox+": "+held+" and changed while copied: the copy may be torn")
	if took := time.Since(begin); copies != 3 || took >= 3*s.LockTimeout {
		t.Errorf("%d copies in %s", copies, took)
	}

	// With two mailboxes each note says of which.
	s.copied, s.LockTimeout = nil, 0
	s.write(s.pop, "")
	s.gives(s.name(night)+".2:"+s.name(night)+".pop", "mailarchive: "+s.mailbox+": "+held+" but unchanged while copied", "")
}

// The row's time isn't all spent on the lock.
func TestLockLeavesTimeToCopy(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	f, err := s.lockToWrite()
	s.try(err)
	defer f.Close()
	s.LockTimeout, s.Timeout = time.Minute, 2*time.Second
	archived, notes, errors := s.row()
	if archived != s.name(night) || !strings.HasPrefix(notes, "mailarchive: not locked") || errors != "" {
		t.Errorf("archived %q, notes %q, errors %q", archived, notes, errors)
	}
}

func TestDotlockIsWaitedFor(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.write(s.mailbox+".lock", fmt.Sprint(os.Getpid()))
	s.gives(s.name(night), fmt.Sprintf("mailarchive: not locked (held by %s.lock of pid %d) but unchanged while copied", groucho, os.Getpid()), "")
	s.holds(s.mailbox+".lock", fmt.Sprint(os.Getpid()))
}

// A lock isn't held longer than mail programs wait.
func TestLockIsReleasedBeforeDeliveryGivesUp(t *testing.T) {
	defer func(was time.Duration) { maxHold = was }(maxHold)
	maxHold = 20 * time.Millisecond
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.copied = func() {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if f, err := s.lockToWrite(); err == nil {
				f.Close()
				return
			}
		}
		t.Error("still locked")
	}
	s.gives(s.name(night), "mailarchive: not locked (let go after 20ms) but unchanged while copied", "")
}

// otherRun locks the archive directory for a uid as another run does.
func (s *stage) otherRun(uid int) (end func()) {
	s.Helper()
	f, err := os.OpenFile(s.archive+"/"+lockName, os.O_RDWR|os.O_CREATE, 0o600)
	s.try(err)
	s.Cleanup(func() { f.Close() })
	s.try(unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: int64(uid), Len: 1}))
	return func() { f.Close() }
}

func TestTwoRunsDoNotWorkForOneAccount(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	end := s.otherRun(uid)
	s.LockTimeout = 20 * time.Millisecond
	s.gives("", "", "mailarchive: "+s.archive+": locked by another run")
	s.archiveHolds()
	s.DryRun = true // takes no lock
	s.gives("", "mailarchive: would archive "+s.mailbox, "")
	s.DryRun = false

	// It is waited for.
	s.LockTimeout = time.Minute
	go func() {
		time.Sleep(10 * time.Millisecond)
		end()
	}()
	s.gives(s.name(night), "", "")
	s.otherRun(uid)
}

func TestRunsForTwoAccountsDoNotWaitForEachOther(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.otherRun(uid + 1)
	s.gives(s.name(night), "", "")
}

// Whoever may read the archive directory can lock it, and not what is locked.
func TestReadersOfTheArchiveCannotLockIt(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.try(os.Chmod(s.archive, 0o755))
	d, err := os.Open(s.archive)
	s.try(err)
	defer d.Close()
	s.try(unix.Flock(int(d.Fd()), unix.LOCK_EX))
	s.gives(s.name(night), "", "")
	if mode := s.stat(s.archive + "/" + lockName).Mode; mode != unix.S_IFREG|0o600 {
		t.Errorf("mode %o", mode)
	}
}

// Two runs of one second: one copies, and what it made stands for the other, or is
// beside the other's.
func TestTwoRunsOfOneSecond(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	var both sync.WaitGroup
	for range 2 {
		cmd := s.command("--again-after", "1h", "--min-free", "0")
		both.Add(1)
		go func() {
			defer both.Done()
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), ","+s.archive+"/"+groucho+".") {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	both.Wait()
	if names := s.names(); len(names) != 1 {
		t.Errorf("the archive holds %v", names)
	}
}
