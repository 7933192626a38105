package mailbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"

	"golang.org/x/sys/unix"
)

// TestMain makes this test binary a program that holds a lock, where MAILBOX_HOLD
// says so: "fcntl PATH", "ofd PATH", "flock PATH", with -sh behind the kind for a
// shared one. It does until its standard input ends.
func TestMain(m *testing.M) {
	kind, path, held := strings.Cut(os.Getenv("MAILBOX_HOLD"), " ")
	if !held {
		os.Exit(m.Run())
	}
	kind, shared := strings.CutSuffix(kind, "-sh")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	lock := wholeFile(unix.F_WRLCK)
	how := unix.LOCK_EX
	if shared {
		lock.Type, how = unix.F_RDLCK, unix.LOCK_SH
	}
	if err == nil {
		switch kind {
		case "fcntl":
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, lock)
		case "ofd":
			err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, lock)
		case "flock":
			err = unix.Flock(int(f.Fd()), how)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	testproc.Serve()
}

// hold starts a process that holds the lock and returns its PID and what ends it.
func hold(t *testing.T, kind, path string) (pid int, end func()) {
	t.Helper()
	p := testproc.Start(t, testproc.Self(uint32(os.Geteuid()), "MAILBOX_HOLD="+kind+" "+path))
	end = sync.OnceFunc(func() {
		p.End()
		_ = p.Wait()
	})
	t.Cleanup(end)
	return p.Process.Pid, end
}

// gone returns the PID of a process that has ended.
func gone(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Stdin = strings.NewReader("")
	try(t, cmd.Run())
	return cmd.Process.Pid
}

// spool returns a template and the path of groucho's mailbox there.
func spool(t *testing.T) (Template, string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/groucho")
	return parse(t, dir+"/{user}"), dir + "/groucho"
}

func TestLockHeld(t *testing.T) {
	const within = 20 * time.Millisecond
	for kind, want := range map[string]string{
		"fcntl": "not locked (held by pid %d)",
		"flock": "not locked (held by pid %d)",
		"ofd":   "not locked (held by an unknown process)",
	} {
		t.Run(kind, func(t *testing.T) {
			template, path := spool(t)
			pid, end := hold(t, kind, path)
			if strings.Contains(want, "%d") {
				want = fmt.Sprintf(want, pid)
			}
			begin := time.Now()
			f, err := template.OpenLocked(groucho, within)
			if f == nil || !errors.Is(err, ErrNotLocked) || err.Error() != want {
				t.Fatalf("%v, %v; want %s", f, err, want)
			}
			if took := time.Since(begin); took < within {
				t.Errorf("gave up after %s", took)
			}
			// All are let go: nothing of it keeps a writer out.
			end()
			for _, writer := range []string{"fcntl", "flock", "ofd"} {
				_, end := hold(t, writer, path)
				end()
			}
			f.Close()
			f, err = template.OpenLocked(groucho, 0)
			try(t, err)
			f.Close()
		})
	}
}

// Readers don't keep it out, nor it them.
func TestLockShared(t *testing.T) {
	for _, kind := range []string{"fcntl-sh", "flock-sh", "ofd-sh"} {
		template, path := spool(t)
		hold(t, kind, path)
		f, err := template.OpenLocked(groucho, 0)
		try(t, err)
		hold(t, kind, path)
		f.Close()
	}
}

// Locked means that no mail program gets a lock to write, until it is let go.
func TestLocked(t *testing.T) {
	for _, release := range []func(*os.File){Unlock, func(f *os.File) { f.Close() }} {
		template, path := spool(t)
		f, err := template.OpenLocked(groucho, 0)
		try(t, err)
		writers := func() (got []error) {
			w, err := os.OpenFile(path, os.O_RDWR, 0)
			try(t, err)
			defer w.Close()
			return []error{
				unix.FcntlFlock(w.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK)),
				unix.FcntlFlock(w.Fd(), unix.F_SETLK, wholeFile(unix.F_WRLCK)),
				unix.Flock(int(w.Fd()), unix.LOCK_EX|unix.LOCK_NB),
			}
		}
		// Closing that other descriptor in writers mustn't drop the locks either.
		for range 2 {
			for i, err := range writers() {
				if err != unix.EAGAIN {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		}
		release(f)
		got := writers()
		if got[0] != nil || got[2] != nil {
			t.Errorf("let go, and still %v", got)
		}
		f.Close()
	}
}

// On btrfs a file's device isn't the one that the kernel's list of locks has.
func TestFlockHolderOnBtrfs(t *testing.T) {
	top := t.TempDir()
	image, spool := top+"/image", top+"/mail"
	try(t, os.WriteFile(image, nil, 0o600))
	try(t, os.Truncate(image, 128<<20))
	try(t, os.Mkdir(spool, 0o755))
	for _, args := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, spool}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", args[0], err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", spool).Run() })
	write(t, spool+"/groucho")
	pid, end := hold(t, "flock", spool+"/groucho")
	defer end()
	f, err := parse(t, spool+"/{user}").OpenLocked(groucho, 0)
	if f == nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := fmt.Sprintf("not locked (held by pid %d)", pid); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestLockWaits(t *testing.T) {
	template, path := spool(t)
	_, end := hold(t, "fcntl", path)
	go func() {
		time.Sleep(10 * time.Millisecond)
		end()
	}()
	f, err := template.OpenLocked(groucho, time.Minute)
	try(t, err)
	f.Close()
}

// owned makes an empty file of that uid.
func owned(t *testing.T, path string, uid int) {
	t.Helper()
	write(t, path)
	if err := os.Chown(path, uid, -1); err != nil {
		t.Skipf("chown: %v", err)
	}
}

// Anybody may make any name in a spool of mode 1777: a dotlock counts only if it is a
// regular file of root's or of the mailbox owner's.
func TestDotlock(t *testing.T) {
	here, err := os.Hostname()
	try(t, err)
	dead, living := gone(t), os.Getpid()
	text := func(text string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { try(t, os.WriteFile(path, []byte(text), 0o600)) }
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string // "" if it doesn't count
	}{
		"empty":            {text(""), "groucho.lock"},
		"procmail's":       {text("0"), "groucho.lock"},
		"living":           {text(fmt.Sprint(living, "\n")), fmt.Sprintf("groucho.lock of pid %d", living)},
		"living, here":     {text(fmt.Sprint(living, ":", here)), fmt.Sprintf("groucho.lock of pid %d on %s", living, here)},
		"dead, anywhere":   {text(fmt.Sprint(dead, "\n")), fmt.Sprintf("groucho.lock of pid %d", dead)},
		"dead, here":       {text(fmt.Sprint(dead, ":", here, "\n")), ""},
		"another host's":   {text(fmt.Sprint(dead, ":mail2.example.org")), fmt.Sprintf("groucho.lock of pid %d on mail2.example.org", dead)},
		"unprintable host": {text(fmt.Sprint(dead, ":\x1b[2J")), "groucho.lock"},
		"negative":         {text("-1\n"), "groucho.lock"},
		"too large":        {text("99999999999\n"), "groucho.lock"},
		"text":             {text("Why a duck?"), "groucho.lock"},
		"long":             {text(strings.Repeat("9", 1<<20)), "groucho.lock"},
		"link":             {func(t *testing.T, path string) { try(t, os.Symlink("nowhere", path)) }, ""},
		"FIFO":             {func(t *testing.T, path string) { try(t, unix.Mkfifo(path, 0o600)) }, ""},
		"directory":        {func(t *testing.T, path string) { try(t, os.Mkdir(path, 0o700)) }, ""},
		"another's":        {func(t *testing.T, path string) { owned(t, path, 54321) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			template, path := spool(t)
			c.make(t, path+".lock")
			f, err := template.OpenLocked(groucho, 0)
			if f == nil {
				t.Fatal(err)
			}
			defer f.Close()
			if c.want == "" {
				try(t, err)
			} else if want := "not locked (held by " + c.want + ")"; !errors.Is(err, ErrNotLocked) || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			if _, err := os.Lstat(path + ".lock"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Root's dotlock counts in everybody's mailbox, and its owner's does.
func TestDotlockOfRootOrOwnerCounts(t *testing.T) {
	template, path := spool(t)
	owned(t, path, 54321)
	for uid, counts := range map[int]bool{0: true, 54321: true, 54322: false} {
		owned(t, path+".lock", uid)
		f, err := template.OpenLocked(User{Name: "groucho", UID: 54321}, 0)
		if (err != nil) != counts {
			t.Errorf("uid %d: %v", uid, err)
		}
		f.Close()
	}
}

// Nobody can set a ctime back, so the test moves the clock: how old is fresh.
func TestDotlockFresh(t *testing.T) {
	now := time.Now()
	for age, fresh := range map[time.Duration]bool{
		-time.Hour: true, 0: true, 5*time.Minute - 1: true, 5 * time.Minute: false, 24 * time.Hour: false,
	} {
		if isFresh(now.Add(-age), now) != fresh {
			t.Errorf("%s: fresh %t", age, !fresh)
		}
	}
}

func TestReadDotlock(t *testing.T) {
	template, path := spool(t)
	if d, err := template.Dotlock(groucho); !errors.Is(err, ErrNone) {
		t.Errorf("%+v, %v", d, err)
	}
	try(t, os.WriteFile(path+".lock", []byte("4711:moscow\nmore"), 0o600))
	var st unix.Stat_t
	try(t, unix.Stat(path+".lock", &st))
	d, err := template.Dotlock(groucho)
	try(t, err)
	want := Dotlock{4711, "moscow", groucho.UID, st.Ino, time.Unix(st.Ctim.Unix())}
	if d != want {
		t.Errorf("%+v, want %+v", d, want)
	}
	try(t, os.Remove(path+".lock"))
	try(t, os.Symlink(path, path+".lock"))
	if d, err := template.Dotlock(groucho); err == nil {
		t.Errorf("through a link: %+v", d)
	}
}

// A lock of a file that nobody calls the mailbox any more keeps nobody out.
func TestLockOfReplaced(t *testing.T) {
	template, path := spool(t)
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(path+".new", nil, 0o600)
				_ = os.Rename(path+".new", path)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 200 {
		f, err := template.OpenLocked(groucho, time.Minute)
		try(t, err)
		f.Close()
	}
	// What is locked is what names calls the mailbox.
	at, err := template.place(groucho)
	try(t, err)
	defer at.close()
	f, err := at.open(groucho.UID)
	try(t, err)
	defer f.Close()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if same, err := at.names(f, groucho.UID); err != nil || !same {
			try(t, err)
			return
		}
	}
	t.Error("a replaced file is taken for the mailbox")
}

func TestLockOfNone(t *testing.T) {
	template, path := spool(t)
	try(t, os.Remove(path))
	if f, err := template.OpenLocked(groucho, time.Minute); f != nil || !errors.Is(err, ErrNone) {
		t.Errorf("%v, %v", f, err)
	}
	try(t, os.Symlink("/etc/passwd", path))
	if f, err := template.OpenLocked(groucho, time.Minute); f != nil || err == nil || errors.Is(err, ErrNotLocked) {
		t.Errorf("%v, %v", f, err)
	}
}

// lease takes a write lease on the file and returns it; it is given back at its Close.
func lease(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	try(t, err)
	t.Cleanup(func() { f.Close() })
	signal.Ignore(unix.SIGIO) // by which the kernel asks for it
	t.Cleanup(func() { signal.Reset(unix.SIGIO) })
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("lease: %v", err)
	}
	return f
}

// leased returns the lease that is left: while it is being ended, the kind to which.
func leased(t *testing.T, f *os.File) int {
	t.Helper()
	kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
	try(t, err)
	return kind
}

// A program such as smbd gives its lease back when somebody else opens the file: that is
// waited for like a lock.
func TestLeaseIsWaitedFor(t *testing.T) {
	template, path := spool(t)
	holder := lease(t, path)
	given := make(chan struct{})
	go func() {
		defer close(given)
		for leased(t, holder) == unix.F_WRLCK { // nobody has asked for it
			time.Sleep(time.Millisecond)
		}
		_, _ = unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}()
	f, err := template.OpenLocked(groucho, time.Minute)
	try(t, err)
	f.Close()
	<-given
}

func TestLeaseThatIsKeptIsRefused(t *testing.T) {
	template, path := spool(t)
	lease(t, path)
	f, err := template.OpenLocked(groucho, 20*time.Millisecond)
	if f != nil || !errors.Is(err, ErrRefused) || err.Error() != "refused: under a lease" {
		t.Errorf("%v, %v", f, err)
	}
}

// Who has the dotlock gets the other locks at once, however long somebody waits for
// them: Postfix that doesn't waits for a second.
func TestDotlockFirst(t *testing.T) {
	template, path := spool(t)
	try(t, os.WriteFile(path+".lock", nil, 0o600))
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	try(t, err)
	defer writer.Close()
	waits := make(chan bool)
	go func() {
		defer close(waits)
		if f, err := template.OpenLocked(groucho, 200*time.Millisecond); err == nil {
			t.Error("locked")
		} else {
			f.Close()
		}
	}()
	for {
		fcntl := unix.FcntlFlock(writer.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK))
		flock := unix.Flock(int(writer.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if fcntl != nil || flock != nil {
			t.Errorf("in its way: %v, %v", fcntl, flock)
		}
		unlock(int(writer.Fd()))
		select {
		case <-waits:
			return
		default:
		}
	}
}

// killstorm waits for the lock while no memory may be allocated.
func TestWaitingNeedsNothing(t *testing.T) {
	template, path := spool(t)
	hold(t, "fcntl", path)
	l := template.Lock(groucho)
	defer l.Close()
	if n := testing.AllocsPerRun(100, func() {
		if f, err := l.Try(); f != nil || err != errHeld {
			t.Error("not held")
		}
	}); n > 0 {
		t.Errorf("%v allocations a try", n)
	}
}

func TestLockLosesNoDescriptor(t *testing.T) {
	template, path := spool(t)
	count := func() int {
		all, err := filepath.Glob("/proc/self/fd/*")
		try(t, err)
		return len(all)
	}
	before := count()
	for range 20 {
		f, err := template.OpenLocked(groucho, 0)
		try(t, err)
		f.Close()
		try(t, os.WriteFile(path+".lock", nil, 0o600))
		f, err = template.OpenLocked(groucho, 0)
		if err == nil {
			t.Fatal("locked")
		}
		f.Close()
		try(t, os.Remove(path+".lock"))
		holder := lease(t, path)
		if f, err := template.OpenLocked(groucho, 0); f != nil || err == nil {
			t.Fatalf("under a lease: %v, %v", f, err)
		}
		holder.Close()
	}
	if after := count(); after > before+2 { // the runtime's own may come up
		t.Errorf("%d descriptors, then %d", before, after)
	}
}
