package mailarchive

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
)

// A copy of anna.1987's mail isn't taken for one of anna's, nor the reverse.
func TestNumberAtTheEndOfANameIsNoEpoch(t *testing.T) {
	s := newStage(t)
	s.boxes("{user}")
	s.write(s.spool+"/anna.1987", "From chico\n")
	in := strings.Replace(header, "proc,", "account,proc,", 1) +
		strings.Replace(due("anna.1987", groucho), ",imapd", ","+groucho+",imapd", 1)
	out, _ := s.pass(in)
	name := "anna..1987." + groucho + "." + epoch
	if !strings.Contains(out, s.archive+"/"+name) {
		t.Errorf("out:\n%s", out)
	}
	s.archiveHolds(name)
}

// A program that writes into a mapped file changes the ctime only when it changes a page
// that is clean.
func TestMappedWriterIsSeen(t *testing.T) {
	s := newStage(t)
	s.boxes("{user}")
	s.write(s.mailbox, strings.Repeat("From chico\n", 1000))
	f, err := os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	defer f.Close()
	text, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	s.try(err)
	defer func() { _ = unix.Munmap(text) }()
	text[0] = 'f' // the page is changed from now on
	copies := 0
	s.copied = func() {
		copies++
		text[1] = byte('0' + copies)
	}
	s.gives(s.name(night), "", "mailarchive: "+s.mailbox+": "+rows.Torn)
	if copies != tries {
		t.Errorf("%d copies", copies)
	}
}

// A delivery agent that polls gets the mailbox between a long lock of mailarchive's and
// killstorm's, which begins when the row is out.
func TestLongLockIsFollowedByAGap(t *testing.T) {
	defer func(hold, pause time.Duration) { shortHold, gap = hold, pause }(shortHold, gap)
	shortHold, gap = 0, 5*time.Second
	s := newStage(t)
	s.boxes("{user}")
	s.write(s.mailbox, "From chico\n")
	delivered := make(chan bool)
	s.copied = func() {
		go func() {
			defer close(delivered)
			for { // the deliverer
				if f, err := s.lockToWrite(); err == nil {
					f.Close()
					return
				}
				time.Sleep(gap / 10)
			}
		}()
		time.Sleep(10 * time.Millisecond)
	}
	s.gives(s.name(night), "", "")
	select {
	case <-delivered:
	default:
		t.Error("the row is out, and the deliverer still waits")
	}
}

// A kill isn't held up for a lock that was short.
func TestShortLockIsFollowedByNoGap(t *testing.T) {
	defer func(hold, pause time.Duration) { shortHold, gap = hold, pause }(shortHold, gap)
	shortHold, gap = patient, patient
	s := newStage(t)
	s.boxes("{user}")
	s.write(s.mailbox, "From chico\n")
	begin := time.Now()
	s.gives(s.name(night), "", "")
	if took := time.Since(begin); took >= gap {
		t.Errorf("took %s", took)
	}
}

// No space spares an account only up to its fair size.
func TestOnlyAFairSizeIsSpared(t *testing.T) {
	for fair, want := range map[Share]string{
		{Bytes: 1 << 20}:         "oversized: needs 3.0M where 2.0M is free and 0 bytes reserved and the fair size is 1.0M",
		{Percent: 25}:            "oversized: needs 3.0M where 2.0M is free and 0 bytes reserved and the fair size is 512.0K",
		{Bytes: 3 << 20}:         "no space: needs 3.0M where 2.0M is free and 0 bytes reserved",
		{}:                       "no space: needs 3.0M where 2.0M is free and 0 bytes reserved",
		{Bytes: 1, Percent: 100}: "oversized: needs 3.0M where 2.0M is free and 0 bytes reserved and the fair size is 2.0M",
	} {
		s := newStage(t)
		s.tmpfs("size=2m")
		s.boxes("{user}")
		s.write(s.mailbox, strings.Repeat("x", 3<<20))
		s.FairSize = fair
		s.gives("", "", "mailarchive: "+s.mailbox+": "+want)
		text := strings.TrimPrefix(want, "mailarchive: ")
		_, oversized := rows.ParseOversized(text)
		if _, noSpace := rows.ParseNoSpace(text); oversized == noSpace {
			t.Errorf("%s: oversized %t, no space %t", text, oversized, noSpace)
		}
	}
}

// Blocks that a mailbox shares have cost its owner nothing.
func TestSharedBlocksSpareNobody(t *testing.T) {
	s := newStage(t)
	s.boxes("{user}")
	image := s.top + "/image"
	s.try(os.WriteFile(image, nil, 0o600))
	s.try(os.Truncate(image, 200<<20))
	for _, args := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, s.spool}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", args[0], err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", s.spool).Run() })
	s.tmpfs("size=8m")
	const part = 4 << 20
	s.write(s.mailbox, strings.Repeat("x", part))
	f, err := os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	for n := range uint64(7) {
		clone := unix.FileCloneRange{Src_fd: int64(f.Fd()), Src_length: part, Dest_offset: (n + 1) * part}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FICLONERANGE, uintptr(unsafe.Pointer(&clone)))
		if errno != 0 {
			t.Fatal(errno)
		}
	}
	s.try(f.Sync())
	f.Close()
	s.gives("", "", "mailarchive: "+s.mailbox+": oversized: shared blocks: needs 32.0M where 8.0M is free and 0 bytes reserved")

	// As many that are its own do spare it.
	s.try(os.Remove(s.mailbox))
	f, err = os.Create(s.mailbox)
	s.try(err)
	for n := range 32 {
		_, err := f.WriteString(strings.Repeat(fmt.Sprintf("%08d", n), 1<<17))
		s.try(err)
	}
	s.try(f.Chown(uid, -1))
	s.try(f.Sync())
	f.Close()
	if _, _, errors := s.row(); !strings.HasPrefix(errors, "mailarchive: "+s.mailbox+": no space: needs 32.0M where ") {
		t.Errorf("errors %q", errors)
	}
}

// All copies of an account take no more than its fair size together. The newest of each
// mailbox stays, however large it is.
func TestCopiesOfAnAccountTakeAFairSize(t *testing.T) {
	s := newStage(t)
	s.FairSize = Share{Bytes: 1 << 20}
	text := strings.Repeat("x", 400<<10)
	s.write(s.mailbox, text)
	s.write(s.pop, text)
	at := func(days int) time.Time { return night.AddDate(0, 0, days) }
	name := func(days int) string { return fmt.Sprintf("%s.%d", groucho, at(days).Unix()) }
	s.at(at(0))
	s.gives(s.name(at(0))+":"+s.name(at(0))+".pop", "", "")
	s.archiveHolds(name(0), name(0)+".pop")
	s.try(os.Remove(s.pop))
	s.at(at(1))
	s.gives(s.name(at(1)), "", "")
	s.archiveHolds(name(1), name(0)+".pop") // 1200K would be too much
	s.write(s.mailbox, strings.Repeat(text, 4))
	s.at(at(2))
	s.gives(s.name(at(2)), "", "")
	s.archiveHolds(name(2), name(0)+".pop")
	s.FairSize = Share{}
	s.at(at(3))
	s.gives(s.name(at(3)), "", "")
	s.archiveHolds(name(2), name(3), name(0)+".pop")
}

// What is older than --keep-for goes in every run, also if no row is due: copies of all
// accounts, and evidence.
func TestKeepForRemovesWhatIsOlder(t *testing.T) {
	s := newStage(t)
	s.KeepFor = 30 * 24 * time.Hour
	old, young := night.Add(-s.KeepFor-time.Second).Unix(), night.Add(-s.KeepFor).Unix()
	evidence := s.top + "/evidence"
	s.try(os.Mkdir(evidence, 0o700))
	var gone, stay []string
	for _, who := range []string{"chico", "anna..1987", "harpo@example.org.5000", "x.y"} {
		for _, behind := range []string{"", ".pop", ".1", ".pop.12", ".evidence"} {
			gone = append(gone, fmt.Sprintf("%s.%d%s", who, old, behind))
			stay = append(stay, fmt.Sprintf("%s.%d%s", who, young, behind))
		}
	}
	stay = append(stay, ".keep", "notes", "chico.12", "chico.old", fmt.Sprintf("chico.%d.old", old), fmt.Sprintf("%d", old), fmt.Sprintf(".chico.%d", old))
	for _, name := range append(gone, stay...) {
		s.write(s.archive+"/"+name, "")
	}
	for _, name := range []string{gone[4], stay[4], "other"} {
		s.write(evidence+"/"+name, "")
	}
	s.try(os.Symlink("nowhere", fmt.Sprintf("%s/link.%d", s.archive, old)))
	s.DryRun = true
	s.pass(header)
	s.archiveHolds(append(append(gone, stay...), fmt.Sprintf("link.%d", old))...)
	s.DryRun = false
	s.pass(header)
	s.archiveHolds(append(stay, fmt.Sprintf("link.%d", old))...)
	left, err := os.ReadDir(evidence)
	s.try(err)
	if len(left) != 2 {
		t.Errorf("evidence: %v", left)
	}
}

// A copy that is too old stands for nothing any more.
func TestCopyThatIsDueToGoDoesNotStand(t *testing.T) {
	s := newStage(t)
	s.boxes("{user}")
	s.write(s.mailbox, "From chico\n")
	first := s.settled(s.mailbox)
	s.at(first)
	s.gives(s.name(first), "", "")
	s.KeepFor = time.Hour
	later := first.Add(2 * time.Hour)
	s.at(later)
	s.gives(s.name(later), "", "")
}

// What mailarchive says of the mailboxes is what other tools read from the row.
func TestRowSaysWhatBecameOfTheMail(t *testing.T) {
	s := newStage(t)
	s.AgainAfter = 10 * time.Minute
	says := func(what string, want rows.MailState) {
		t.Helper()
		archived, notes, errors := s.row()
		if got, _ := rows.MailOf(archived, notes, errors); got != want {
			t.Errorf("%s: %d, want %d: archived %q, notes %q, errors %q", what, got, want, archived, notes, errors)
		}
	}
	says("none", rows.NoMail)
	s.try(os.Mkdir(s.pop, 0o700))
	says("a Maildir", rows.NoMail)
	s.write(s.mailbox, "From chico\n")
	s.DryRun = true
	says("dry run", rows.NoMail)
	s.DryRun = false
	s.at(s.settled(s.mailbox))
	says("copied", rows.MailSaved)
	says("unchanged", rows.MailSaved)
	s.at(s.Now().Add(time.Minute))
	s.write(s.mailbox, "From chico and harpo\n")
	s.try(unix.UtimesNano(s.mailbox, []unix.Timespec{{Sec: 1}, {Sec: 1}}))
	says("changed", rows.MailOutdated)
	s.try(os.Remove(s.pop))
	s.try(os.Symlink("x", s.pop))
	says("one refused", rows.MailNotSaved)
	s.try(os.Remove(s.pop))
	s.at(s.Now().Add(time.Hour))
	s.copied = func() { s.write(s.mailbox, s.Now().String()+time.Now().String()) }
	says("torn", rows.MailTorn)
	for range tries {
		says("torn again", rows.MailTorn)
	}
	s.copied = nil
	s.at(s.Now().Add(time.Hour))
	s.MaxSize = 1
	says("too large", rows.MailNotSaved)
}

// On SIGTERM the rows in hand are given up at once, and passed on.
func TestTerminatedRunPassesItsRowsOn(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	holder, err := s.lockToWrite()
	s.try(err)
	defer holder.Close()
	cmd := s.command("--lock-timeout", patient.String(), "--timeout", (2 * patient).String(), "--min-free", "0")
	out, err := cmd.StdoutPipe()
	s.try(err)
	begin := time.Now()
	s.try(cmd.Start())
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != header {
		t.Fatalf("%q, %v", line, err)
	}
	time.Sleep(100 * time.Millisecond) // it may wait for the lock by now: either way is right
	s.try(cmd.Process.Signal(unix.SIGTERM))
	row, err := lines.ReadString('\n')
	s.try(err)
	if !strings.Contains(row, "ended early by a signal: terminated") || !strings.Contains(row, ",archive=60,,") {
		t.Errorf("%q", row)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || time.Since(begin) >= patient {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	s.archiveHolds()
}
