package mailarchive

import (
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"stormcheck/pkg/internal/testproc"

	"golang.org/x/sys/unix"
)

// A copy is what cp -p makes, but for the set-ID and sticky bits.
func TestCopyIsWhatCpMakes(t *testing.T) {
	for _, mode := range []uint32{0o600, 0o660, 0o400, 0o777, 0o6755, 0o1644} {
		eachWay(t, func(s *stage) {
			s.write(s.mailbox, "From chico\n")
			if os.Geteuid() == 0 {
				s.try(os.Chown(s.mailbox, uid, 8))
			}
			s.try(unix.Chmod(s.mailbox, mode))
			s.try(unix.UtimesNano(s.mailbox, []unix.Timespec{{Sec: 956600000, Nsec: 123456789}, {Sec: 956639821, Nsec: 987654321}}))
			before := s.stat(s.mailbox)
			name := s.archive + "/" + groucho + "." + epoch
			s.gives(name, "", "")
			if after := s.stat(s.mailbox); after != before {
				s.Errorf("%o: the mailbox was %+v, is %+v", mode, before, after)
			}
			if out, err := exec.Command("cp", "-p", s.mailbox, s.top+"/cp").CombinedOutput(); err != nil {
				s.Skipf("cp: %v: %s", err, out)
			}
			ours, theirs := s.stat(name), s.stat(s.top+"/cp")
			if ours.Mode != theirs.Mode&^0o7000 || ours.Uid != theirs.Uid || ours.Gid != theirs.Gid ||
				ours.Mtim != theirs.Mtim || ours.Atim != before.Atim || ours.Nlink != 1 {
				s.Errorf("%o: ours is %+v, cp's %+v", mode, ours, theirs)
			}
			s.holds(name, "From chico\n")
		})
	}
}

// attributes are a file's extended attributes, its access list among them.
func (s *stage) attributes(path string) map[string]string {
	s.Helper()
	names, value := make([]byte, 1<<16), make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, names)
	s.try(err)
	all := map[string]string{}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if name != "" {
			n, err := unix.Lgetxattr(path, name, value)
			s.try(err)
			all[name] = string(value[:n])
		}
	}
	return all
}

// acl lets user 4242 read a file of mode 0640, as setfacl(1) would write it.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\x92\x10\x00\x00" + "\x04\x00\x00\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// The access list comes with it as with cp -p, and what the owner has set as with
// cp --preserve=xattr, but nothing of root's.
func TestAccessListAndTheOwnersAttributesAreCopied(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	set := func(name, value string) error { return unix.Setxattr(s.mailbox, name, []byte(value), 0) }
	if err := set(accessList, acl); err != nil {
		t.Skipf("setxattr: %v", err)
	}
	cp := func(flags ...string) map[string]string {
		to := s.top + "/cp"
		if out, err := exec.Command("cp", append(flags, s.mailbox, to)...).CombinedOutput(); err != nil {
			t.Skipf("cp: %v: %s", err, out)
		}
		return s.attributes(to)
	}
	s.gives(s.name(night), "", "")
	if got, want := s.attributes(s.name(night)), cp("-p"); !maps.Equal(got, want) || got[accessList] != acl {
		t.Errorf("%q, cp has %q", got, want)
	}
	s.try(set("user.comment", "Why a duck?"))
	s.try(set("user.empty", ""))
	want := cp("-p", "--preserve=xattr")
	if os.Geteuid() == 0 {
		s.try(set("trusted.roots", "x"))
	}
	s.gives(s.name(night)+".1", "", "")
	if got := s.attributes(s.name(night) + ".1"); !maps.Equal(got, want) || got["user.comment"] != "Why a duck?" {
		t.Errorf("%q, cp has %q", got, want)
	}
}

// Where there are no access lists the group must not get what was the list's mask.
func TestMaskIsNotTheGroupsModeWithoutAccessLists(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	if err := unix.Setxattr(s.mailbox, accessList, []byte(acl), 0); err != nil {
		t.Skipf("setxattr: %v", err)
	}
	cmd := s.command("--min-free", "0")
	var out []byte
	if err := testproc.Denied(unix.SYS_FSETXATTR, unix.EOPNOTSUPP, func() { out, _ = cmd.CombinedOutput() }); err != nil {
		t.Skipf("seccomp: %v", err)
	}
	if !strings.Contains(string(out), ",mailarchive: access list not copied: operation not supported,\n") {
		t.Errorf("%s", out)
	}
	names := s.names()
	for _, name := range names {
		if st := s.stat(s.archive + "/" + name); st.Mode&0o777 != 0o600 {
			t.Errorf("mode %o", st.Mode)
		}
	}
	if len(names) != 1 {
		t.Errorf("%v", names)
	}
}

// Large is more than any buffer, and no multiple of one.
func TestFileLargerThanAnyBuffer(t *testing.T) {
	s := newStage(t)
	text := strings.Repeat("From chico\n\n\x00", 1_000_003)
	s.write(s.mailbox, text)
	s.gives(s.archive+"/"+groucho+"."+epoch, "", "")
	s.holds(s.archive+"/"+groucho+"."+epoch, text)
}

func TestHolesStayHoles(t *testing.T) {
	const gap = 8 << 20
	s := newStage(t)
	s.write(s.mailbox, "")
	f, err := os.OpenFile(s.mailbox, os.O_WRONLY, 0)
	s.try(err)
	for _, at := range []int64{gap, 2 * gap, 3*gap + 5} {
		_, err := f.WriteAt([]byte("From chico\n"), at)
		s.try(err)
	}
	s.try(f.Truncate(5 * gap))
	s.try(f.Close())
	name := s.archive + "/" + groucho + "." + epoch
	s.gives(name, "", "")
	want, err := os.ReadFile(s.mailbox)
	s.try(err)
	s.holds(name, string(want))
	if from, to := s.stat(s.mailbox), s.stat(name); to.Blocks > from.Blocks+64 {
		t.Errorf("%d blocks, the mailbox has %d", to.Blocks, from.Blocks)
	}
}

// Another file system is another way to copy.
func TestCopyToAnotherFileSystem(t *testing.T) {
	s := newStage(t)
	shm, err := os.MkdirTemp("/dev/shm", "mailarchive")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	s.try(os.Chmod(shm, 0o755))
	s.spool, s.mailbox = shm, shm+"/"+groucho
	s.boxes("{user}")
	text := strings.Repeat("From chico\n", 300_000)
	s.write(s.mailbox, text)
	s.gives(s.archive+"/"+groucho+"."+epoch, "", "")
	s.holds(s.archive+"/"+groucho+"."+epoch, text)
}

// While a mailbox changes it is copied again. The mailbox is opened before and
// after each copy: what a mail program does in between, these do then.
func TestChangingMailboxIsCopiedAgain(t *testing.T) {
	rewrite := func(s *stage, text string) { // in place, with its mtime put back
		st := s.stat(s.mailbox)
		f, err := os.OpenFile(s.mailbox, os.O_WRONLY, 0)
		s.try(err)
		_, err = f.WriteString(text)
		s.try(err)
		s.try(f.Close())
		s.try(unix.UtimesNano(s.mailbox, []unix.Timespec{st.Atim, st.Mtim}))
	}
	replace := func(s *stage, text string) { // by another of the same size and time
		st := s.stat(s.mailbox)
		s.write(s.mailbox+".new", text)
		s.try(unix.UtimesNano(s.mailbox+".new", []unix.Timespec{st.Atim, st.Mtim}))
		s.try(os.Rename(s.mailbox+".new", s.mailbox))
	}
	appendTo := func(s *stage, text string) {
		f, err := os.OpenFile(s.mailbox, os.O_WRONLY|os.O_APPEND, 0)
		s.try(err)
		_, err = f.WriteString(text)
		s.try(err)
		s.try(f.Close())
	}
	remove := func(s *stage, _ string) { s.try(os.Remove(s.mailbox)) }
	type change func(s *stage, text string)
	for name, c := range map[string]struct {
		changes []change // after the first copy, the second…
		texts   []string
		want    string
		torn    bool
	}{
		"not":               {want: "message 0"},
		"rewritten":         {changes: []change{rewrite}, texts: []string{"message 1"}, want: "message 1"},
		"replaced":          {changes: []change{replace}, texts: []string{"message 1"}, want: "message 1"},
		"grown":             {changes: []change{appendTo}, texts: []string{"message 1"}, want: "message 0message 1"},
		"twice":             {changes: []change{rewrite, replace}, texts: []string{"message 1", "message 2"}, want: "message 2"},
		"always":            {changes: []change{rewrite, rewrite, rewrite}, texts: []string{"message 1", "message 2", "message 3"}, want: "message 2", torn: true},
		"removed":           {changes: []change{remove}, texts: []string{""}, want: "message 0", torn: true},
		"grown and removed": {changes: []change{appendTo, remove}, texts: []string{"!", ""}, want: "message 0!", torn: true},
		"always replaced":   {changes: []change{replace, replace, replace}, texts: []string{"message 1", "message 2", "message 3"}, want: "message 2", torn: true},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(s *stage) {
				s.write(s.mailbox, "message 0")
				copies := 0
				s.copied = func() {
					if copies < len(c.changes) {
						c.changes[copies](s, c.texts[copies])
					}
					copies++
				}
				said := ""
				if c.torn {
					said = "mailarchive: " + s.mailbox + ": " + errTorn.Error()
				}
				name := groucho + "." + epoch
				s.gives(s.archive+"/"+name, "", said)
				s.holds(s.archive+"/"+name, c.want)
				s.archiveHolds(name)
			})
		})
	}
}

// A mailbox that never rests is copied all the same, and the row says so.
func TestRestlessMailboxIsCopiedAndSaidToBeTorn(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, strings.Repeat("From chico\n", 1_000_000))
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for mode := uint32(0); ; mode ^= 0o060 {
			select {
			case <-stop:
				return
			default:
				_ = unix.Chmod(s.mailbox, 0o600|mode)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 50 { // the other side may not get the processor at once
		archived, _, errors := s.row()
		if archived == "" {
			t.Fatalf("errors %q", errors)
		}
		s.try(os.Remove(archived))
		if errors == "mailarchive: "+s.mailbox+": "+errTorn.Error() {
			return
		}
		if errors != "" {
			t.Fatalf("errors %q", errors)
		}
	}
	t.Error("never said to be torn")
}

// Some file systems end a copy early without an error.
func TestLengthIsChecked(t *testing.T) {
	s := newStage(t)
	f, err := os.Create(s.top + "/short")
	s.try(err)
	defer f.Close()
	s.try(f.Truncate(10))
	if err := checkLength(f, 10); err != nil {
		t.Error(err)
	}
	if err := checkLength(f, 11); err == nil || err.Error() != "10 of 11 bytes could be copied" {
		t.Error(err)
	}
}

// A small mailbox is copied at the process's real-time priority, a large one or one with
// holes at nice -20.
func TestLargeCopyIsAtSharedPriority(t *testing.T) {
	for what, c := range map[string]struct {
		data, size int
		shared     bool
	}{
		"small":      {1 << 20, 1 << 20, false},
		"large":      {65 << 20, 65 << 20, true},
		"with holes": {1 << 20, 2 << 20, true},
	} {
		s := newStage(t)
		s.write(s.mailbox, strings.Repeat("From chico\n", c.data/11+1)[:c.data])
		s.try(os.Truncate(s.mailbox, int64(c.size)))
		text := s.traced("copy_file_range,sched_setattr")
		nice := map[string]bool{} // by thread
		own, shared := 0, 0
		for line := range strings.Lines(text) {
			tid, call, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if strings.Contains(call, "sched_setattr(") {
				nice[tid] = strings.Contains(call, "sched_nice=-20")
			}
			if _, result, ok := strings.Cut(call, "copy_file_range"); ok {
				_, result, _ = strings.Cut(result, ") = ")
				switch n, err := strconv.Atoi(result); {
				case err != nil: // begun, or refused
				case nice[tid]:
					shared += n
				default:
					own += n
				}
			}
		}
		if own+shared == 0 {
			t.Skip("this file system shares blocks, or has no copy_file_range")
		}
		if want := map[bool][2]int{false: {c.data, 0}, true: {0, c.data}}[c.shared]; own != want[0] || shared != want[1] {
			t.Errorf("%s: %d bytes copied at SCHED_RR, %d at nice -20; want %d\n%s", what, own, shared, want, text)
		}
	}
}

// traced copies the mailbox at real-time priority and returns what strace says of some
// system calls.
func (s *stage) traced(calls string) string {
	s.Helper()
	trace := s.top + "/trace"
	self, err := os.Executable()
	s.try(err)
	cmd := s.command("--min-free", "0")
	strace := exec.Command("strace", "-f", "-o", trace, "-e", "trace="+calls, "chrt", "-r", "1", self)
	strace.Args = append(strace.Args, cmd.Args[1:]...)
	strace.Env, strace.Stdin = cmd.Env, cmd.Stdin
	if out, err := strace.CombinedOutput(); err != nil {
		s.Skipf("strace, chrt: %v: %s", err, out)
	}
	text, err := os.ReadFile(trace)
	s.try(err)
	return string(text)
}

// A mailbox that its owner has mapped thousands of times, mmap(2), takes the kernel
// seconds to write back, in one system call: most of them at nice -20.
func TestMappedMailboxIsAtSharedPriority(t *testing.T) {
	const size, mappings = 32 << 20, 3000
	s := newStage(t)
	s.write(s.mailbox, "")
	f, err := os.OpenFile(s.mailbox, os.O_RDWR, 0)
	s.try(err)
	defer f.Close()
	page := []byte(strings.Repeat("From chico\n", 1000)[:4096])
	for range size / len(page) { // so that the kernel has it page by page
		_, err := f.Write(page)
		s.try(err)
	}
	var mapped unsafe.Pointer
	for range mappings {
		mapped, err = unix.MmapPtr(int(f.Fd()), 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		s.try(err)
		defer func(at unsafe.Pointer) { _ = unix.MunmapPtr(at, size) }(mapped)
	}
	change := func() {
		for text := unsafe.Slice((*byte)(mapped), size); len(text) > 0; text = text[len(page):] {
			text[0] = 'f'
		}
	}
	change()
	begun := time.Now()
	s.try(writeBack(f))
	if took := time.Since(begun); took < 4*mostCPU {
		t.Skipf("written back in %v", took)
	}
	change()
	another := regexp.MustCompile(`sched_setattr\([1-9].*sched_nice=-20`) // 0 would be the calling thread
	if text := s.traced("sched_setattr"); !another.MatchString(text) {
		t.Errorf("no thread was lowered: %s", text)
	}
}
