package mailarchive

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// races is how long races run: a moment, or what RACE says.
func races(t *testing.T) time.Duration {
	text := os.Getenv("RACE")
	if text == "" {
		return time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A user swaps what lies at his mailbox's name all the time: whatever it is when it
// is looked at and when it is opened, nothing but his own mail comes into a copy.
func TestSwapped(t *testing.T) {
	s := newStage(t)
	s.write(s.spool+"/mine", "From chico\n")
	s.write(s.mailbox, "From harpo\n")
	s.try(os.WriteFile(s.top+"/secret", []byte("root::"), 0o600))
	secret := s.top + "/secret"
	if os.Geteuid() != 0 { // any readable file that isn't the user's will do
		secret = "/etc/passwd"
	}
	s.try(os.Symlink(secret, s.spool+"/link"))
	_ = os.Link(secret, s.spool+"/hard")
	s.try(unix.Mkfifo(s.spool+"/fifo", 0o666))
	s.try(os.Mkdir(s.spool+"/dir", 0o755))
	s.try(os.Symlink("/dev/zero", s.spool+"/zero")) // without end
	stop, stopped := make(chan bool), make(chan bool)
	var swaps atomic.Int64
	go func() {
		defer close(stopped)
		for {
			for _, name := range []string{"mine", "link", "mine", "fifo", "mine", "dir", "mine", "zero", "mine", "hard"} {
				select {
				case <-stop:
					return
				default:
					// Changing places leaves no moment without something there.
					_ = unix.Renameat2(unix.AT_FDCWD, s.spool+"/"+name, unix.AT_FDCWD, s.mailbox, unix.RENAME_EXCHANGE)
					_ = unix.Renameat2(unix.AT_FDCWD, s.spool+"/"+name, unix.AT_FDCWD, s.mailbox, unix.RENAME_EXCHANGE)
					swaps.Add(1)
				}
			}
		}
	}()
	copies, refused := 0, 0
	for end := time.Now().Add(races(t)); time.Now().Before(end); {
		out, _ := s.pass(header + due(groucho, groucho))
		if strings.Contains(out, "refused") {
			refused++
		}
		for _, name := range s.names() {
			text, err := os.ReadFile(s.archive + "/" + name)
			s.try(err)
			if string(text) != "From chico\n" && string(text) != "From harpo\n" {
				t.Fatalf("a copy holds %.60q", text)
			}
			copies++
			s.try(os.Remove(s.archive + "/" + name))
		}
	}
	close(stop)
	<-stopped
	t.Logf("%d swaps, %d copies, %d refusals", swaps.Load(), copies, refused)
	if copies == 0 {
		t.Error("nothing copied")
	}
}

// Killed at any moment it leaves a whole copy or nothing, but for a temporary where
// there is no O_TMPFILE, which the next run takes away.
func TestKilled(t *testing.T) {
	eachWay(t, func(s *stage) {
		size := 4 << 20
		text := strings.Repeat("From chico\n", size/11)
		s.write(s.mailbox, text)
		var longest time.Duration
		kinds := map[string]int{}
		for end := time.Now().Add(races(t)); time.Now().Before(end); {
			cmd := s.command("--min-free", "0", "--keep", "0", "--again-after", "1ms")
			begin := time.Now()
			s.around(func() { s.try(cmd.Start()) })
			if longest > 0 {
				time.Sleep(rand.N(longest + longest/4))
				_ = cmd.Process.Kill()
			}
			_ = cmd.Wait()
			longest = max(longest, time.Since(begin))
			names := s.names()
			for _, name := range names {
				path := s.archive + "/" + name
				if isTemporary(name) {
					kinds["temporary"]++
					continue
				}
				kinds["whole"]++
				s.holds(path, text)
				if st := s.stat(path); int(st.Uid) != uid || st.Mode != unix.S_IFREG|0o600 {
					s.Errorf("%s: %+v", path, st)
				}
				s.try(os.Remove(path))
			}
			if len(names) == 0 {
				kinds["nothing"]++
			}
		}
		s.Logf("%v", kinds)
		s.LockTimeout = 10 * time.Second
		s.row()
		s.archiveHolds(groucho + "." + epoch)
		if kinds["whole"] == 0 {
			s.Error("never was a copy made")
		}
	})
}

// Nothing is called saved before the file is on the disk, has its name, and the
// directory too is on the disk.
func TestNothingIsCalledSavedBeforeItIsOnTheDisk(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip(err)
	}
	eachWay(t, func(s *stage) {
		s.write(s.mailbox, "From chico\n")
		cmd := s.command("--min-free", "0")
		trace := s.top + "/trace"
		self, err := os.Executable()
		s.try(err)
		strace := exec.Command("strace", "-f", "-y", "-s", "1000", "-o", trace, "-e", "trace=fsync,linkat,renameat2,write,flock,fcntl", self)
		strace.Args = append(strace.Args, cmd.Args[1:]...)
		strace.Env, strace.Stdin = cmd.Env, cmd.Stdin
		var out []byte
		s.around(func() { out, err = strace.CombinedOutput() })
		if err != nil {
			s.Skipf("strace: %v: %s", err, out)
		}
		text, err := os.ReadFile(trace)
		s.try(err)
		dir, box := regexp.QuoteMeta(s.archive), regexp.QuoteMeta(s.mailbox)
		steps := []string{
			`fcntl\(\d+<` + dir + `/\.lock>, F_OFD_SETLK, \{l_type=F_WRLCK.*l_start=` + groucho + `, l_len=1\}\) += 0`,
			`fcntl\(\d+<` + box + `>, F_OFD_SETLK, \{l_type=F_RDLCK.*= 0`,
			`flock\(\d+<` + box + `>, LOCK_SH\|LOCK_NB\) += 0`,
			`fcntl\(\d+<` + box + `>, F_OFD_SETLK, \{l_type=F_UNLCK.*= 0`,
			`fsync\(\d+<` + dir + `/[^>]*>.*= 0`,
			`(linkat|renameat2)\(.*` + groucho + `\.\d+", .*= 0`,
			`fsync\(\d+<` + dir + `>\) += 0`,
			`write\(1<.*/` + groucho + `\.\d+`,
		}
		for _, line := range calls(string(text)) {
			if len(steps) > 0 && regexp.MustCompile(steps[0]).MatchString(line) {
				steps = steps[1:]
			} else if strings.Contains(line, "write(1<") && strings.Contains(line, s.archive) {
				break
			}
		}
		if len(steps) > 0 {
			s.Errorf("not seen in time: %s in\n%s", steps[0], text)
		}
	})
}

// calls returns the lines of a trace, in the order in which the calls ended: strace
// breaks a line off where another thread's comes between.
func calls(trace string) (lines []string) {
	begun := map[string]string{}
	for line := range strings.Lines(trace) {
		pid, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if first, ok := strings.CutSuffix(rest, "<unfinished ...>"); ok {
			begun[pid] = strings.TrimSuffix(first, " ")
			continue
		}
		if _, last, ok := strings.Cut(rest, " resumed>"); ok {
			rest = begun[pid] + last
		}
		lines = append(lines, rest)
	}
	return lines
}

// A file system that doesn't answer holds nobody up: the row is passed on in time,
// without locks, and what comes of it later isn't a copy.
func TestFileSystemThatHangsDelaysNoRow(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	thaw := s.frozen()
	s.Timeout = 300 * time.Millisecond
	later := strings.Replace(due(groucho, groucho), "05:17:02", "05:17:03", 1)
	ended := make(chan []string)
	go func() {
		_, reports := s.pass(header + due(groucho, groucho) + later)
		ended <- reports
	}()
	var reports []string
	select {
	case reports = <-ended:
	case <-time.After(time.Minute):
		thaw()
		<-ended
		t.Fatal("held up")
	}
	f, err := s.lockToWrite() // free, though the work hangs
	thaw()
	s.try(err)
	f.Close()
	// The second row may be refused before the first is given up.
	givenUp := func(report string) bool { return strings.HasSuffix(report, ": given up after 300ms: no answer") }
	if len(reports) != 2 || !slices.ContainsFunc(reports, givenUp) {
		t.Errorf("%q", reports)
	}
	for end := time.Now().Add(time.Minute); s.open(s.archive) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("still at work")
		}
	}
	s.archiveHolds("lost+found")
}

// open returns how many of this process's descriptors are of files below path.
func (s *stage) open(path string) (n int) {
	all, err := filepath.Glob("/proc/self/fd/*")
	s.try(err)
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, path) {
			n++
		}
	}
	return n
}

// frozen puts a file system in the archive's place that answers no write, until the
// returned function is called.
func (s *stage) frozen() (thaw func()) {
	image := s.top + "/image"
	s.try(os.WriteFile(image, nil, 0o600))
	s.try(os.Truncate(image, 16<<20))
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, s.archive}, {"chmod", "700", s.archive},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			s.Skipf("%s: %v: %s", args[0], err, out)
		}
		if args[0] == "mount" {
			s.Cleanup(func() { _ = exec.Command("umount", s.archive).Run() })
		}
	}
	if out, err := exec.Command("fsfreeze", "-f", s.archive).CombinedOutput(); err != nil {
		s.Skipf("fsfreeze: %v: %s", err, out)
	}
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = true
			if out, err := exec.Command("fsfreeze", "-u", s.archive).CombinedOutput(); err != nil {
				s.Errorf("fsfreeze: %v: %s", err, out)
			}
		}
	}
	s.Cleanup(thaw)
	return thaw
}
