package mailbox

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"

	"golang.org/x/sys/unix"
)

// ways are the ways to open, each to be as safe as the others.
var ways = map[string]func(t *testing.T, template Template, u User) (*os.File, error){
	"openat2": func(_ *testing.T, template Template, u User) (*os.File, error) { return template.Open(u) },
	"ENOSYS":  without(unix.ENOSYS),
	"EPERM":   without(unix.EPERM),
}

func without(errno unix.Errno) func(t *testing.T, template Template, u User) (*os.File, error) {
	return func(t *testing.T, template Template, u User) (f *os.File, err error) {
		if err := testproc.Denied(unix.SYS_OPENAT2, errno, func() { f, err = template.Open(u) }); err != nil {
			t.Skipf("seccomp: %v", err)
		}
		return f, err
	}
}

// groucho has the tests' own uid, so that they pass whoever runs them.
var groucho = User{Name: "groucho", UID: uint32(os.Geteuid())}

func parse(t *testing.T, path string) Template {
	t.Helper()
	template, err := Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string) {
	t.Helper()
	try(t, os.WriteFile(path, []byte("From chico\n"), 0o600))
}

// A spool that is missing isn't a mailbox that is: nobody's mail would be found.
func TestNoSpool(t *testing.T) {
	top := t.TempDir()
	for path, want := range map[string]error{
		"/typo/{user}":      errNoSpool,
		"/typo/x/{user}":    errNoSpool,
		"/{user}":           ErrNone,
		"/{user}/typo/mbox": ErrNone, // that is the user's
	} {
		template := parse(t, top+path)
		if _, err := template.Open(groucho); err != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if what, err := template.RemoveDotlock(groucho, nil, time.Now()); what != "" || err != nil {
			t.Errorf("%s: a dotlock: %q, %v", path, what, err)
		}
	}
	home := groucho
	home.Home = top + "/home"
	if _, err := parse(t, "{home}/mbox").Open(home); err != ErrNone {
		t.Errorf("no home: %v", err)
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, path string) // what lies at the mailbox's path
		error string                          // "" if it must open
		is    error
	}{
		{name: "mailbox", make: write},
		{name: "nothing", make: func(*testing.T, string) {}, error: "no such mailbox", is: ErrNone},
		{name: "link", error: "refused: a symbolic link", is: ErrRefused, make: func(t *testing.T, path string) {
			write(t, path+"2")
			try(t, os.Symlink("groucho2", path))
		}},
		{name: "dangling link", error: "refused: a symbolic link", is: ErrRefused, make: func(t *testing.T, path string) {
			try(t, os.Symlink("nowhere", path))
		}},
		{name: "link to a directory", error: "refused: a symbolic link", is: ErrRefused, make: func(t *testing.T, path string) {
			try(t, os.Symlink("/", path))
		}},
		{name: "Maildir", error: "a directory", is: ErrDirectory, make: func(t *testing.T, path string) {
			try(t, os.Mkdir(path, 0o700))
		}},
		{name: "FIFO", error: "refused: not a regular file", is: ErrRefused, make: func(t *testing.T, path string) {
			try(t, unix.Mkfifo(path, 0o600))
		}},
		{name: "socket", error: "refused: not a regular file", is: ErrRefused, make: func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			try(t, err)
			t.Cleanup(func() { l.Close() })
		}},
		{name: "device", error: "refused: not a regular file", is: ErrRefused, make: func(t *testing.T, path string) {
			if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
				t.Skipf("mknod: %v", err)
			}
		}},
		{name: "lease", error: "refused: under a lease", is: ErrRefused, make: func(t *testing.T, path string) {
			write(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			try(t, err)
			t.Cleanup(func() { f.Close() })
			if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
				t.Skipf("lease: %v", err)
			}
		}},
		{name: "second link", make: func(t *testing.T, path string) {
			if os.Geteuid() == 0 {
				t.Skip("root may not have one: TestOpenOfRoot")
			}
			write(t, path)
			try(t, os.Link(path, path+"2"))
		}},
	} {
		for way, open := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				dir, err := os.MkdirTemp("", "spool") // t.TempDir is too long for a socket
				try(t, err)
				t.Cleanup(func() { os.RemoveAll(dir) })
				c.make(t, filepath.Join(dir, "groucho"))
				begin := time.Now()
				f, err := open(t, parse(t, dir+"/{user}"), groucho)
				if took := time.Since(begin); took > 10*time.Second {
					t.Errorf("took %s", took)
				}
				if c.error == "" {
					try(t, err)
					text, err := io.ReadAll(f)
					if f.Close(); err != nil || string(text) != "From chico\n" {
						t.Errorf("read %q, %v", text, err)
					}
					return
				}
				if f != nil || err == nil || err.Error() != c.error || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got %v, %v; want %q", f, err, c.error)
				}
			})
		}
	}
}

// Links are followed in the administrator's part of the path, and nowhere else.
func TestOpenFollows(t *testing.T) {
	top := t.TempDir()
	try(t, os.MkdirAll(top+"/real/groucho/in", 0o700))
	write(t, top+"/real/mbox")
	write(t, top+"/real/groucho/in/mbox")
	try(t, os.Symlink("real", top+"/spool"))
	try(t, os.Symlink("groucho", top+"/real/chico"))
	try(t, os.Symlink("in", top+"/real/groucho/out"))
	chico, home, lost := groucho, groucho, groucho
	chico.Name = "chico"
	home.Home = top + "/spool"
	lost.Home = "real"
	for way, open := range ways {
		for _, c := range []struct {
			template string
			user     User
			fits     bool
		}{
			{top + "/spool/{user}/in/mbox", groucho, true},
			{"{home}/mbox", home, true},
			{"{home}/{user}/in/mbox", home, true},
			{"{home}/chico/in/mbox", home, false},
			{top + "/spool/{user}/in/mbox", chico, false},
			{top + "/spool/{user}/out/mbox", groucho, false},
			{top + "/spool/{user}/mbox/mbox", groucho, false},
			{"{home}/mbox", groucho, false},
			{"{home}/mbox", lost, false},
		} {
			f, err := open(t, parse(t, c.template), c.user)
			if f != nil {
				f.Close()
			}
			if (err == nil) != c.fits {
				t.Errorf("%s: %s of %+v: %v", way, c.template, c.user, err)
			}
		}
	}
}

func TestOpenOfAnother(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/chico")
	chico := User{Name: "chico", UID: groucho.UID + 1}
	for way, open := range ways {
		if f, err := open(t, parse(t, dir+"/{user}"), chico); f != nil || !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, %v", way, f, err)
		}
	}
}

func TestOpenOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a file of root's")
	}
	dir := t.TempDir()
	write(t, dir+"/shadow")
	try(t, os.Link(dir+"/shadow", dir+"/root"))
	f, err := parse(t, dir+"/{user}").Open(User{Name: "root"})
	if f != nil || err == nil || !strings.Contains(err.Error(), "2 links") {
		t.Errorf("linked: %v, %v", f, err)
	}
	try(t, os.Chown(dir+"/root", 12345, 12345))
	f, err = parse(t, dir+"/{user}").Open(User{Name: "root", UID: 12345})
	try(t, err)
	f.Close()
}

func TestOpenChecksTheName(t *testing.T) {
	dir := t.TempDir()
	try(t, os.Mkdir(dir+"/spool", 0o700))
	write(t, dir+"/mbox")
	write(t, dir+"/spool/.mbox")
	for _, name := range []string{"../mbox", ".mbox", dir + "/mbox", ""} {
		if f, err := parse(t, dir+"/spool/{user}").Open(User{Name: name, UID: groucho.UID}); err == nil {
			f.Close()
			t.Errorf("%q: opened", name)
		}
	}
}

// O_NOATIME is for a file's owner and the privileged only.
func TestOpenOfWhatIsReadable(t *testing.T) {
	for way, open := range ways {
		f, err := open(t, parse(t, "/etc/{user}"), User{Name: "passwd"})
		if err != nil {
			t.Fatalf("%s: /etc/passwd: %v", way, err)
		}
		f.Close()
	}
}

func TestOpenKeepsAtime(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/groucho"
	write(t, path)
	old := time.Now().Add(-time.Hour)
	try(t, os.Chtimes(path, old, time.Now()))
	for way, open := range ways {
		f, err := open(t, parse(t, dir+"/{user}"), groucho)
		try(t, err)
		_, err = io.ReadAll(f)
		try(t, err)
		f.Close()
		var st unix.Stat_t
		try(t, unix.Stat(path, &st))
		if got := time.Unix(st.Atim.Unix()); !got.Equal(old) {
			t.Errorf("%s: atime is %s, was %s", way, got, old)
		}
	}
}

// A pipe may stand for weeks: no descriptor must be lost.
func TestOpenLosesNoDescriptor(t *testing.T) {
	dir := t.TempDir()
	try(t, os.MkdirAll(dir+"/groucho/in", 0o700))
	count := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		try(t, err)
		return len(all)
	}
	before := count()
	for range 20 {
		for _, open := range ways {
			for _, path := range []string{"/{user}", "/{user}/in", "/{user}/out", "/x/{user}"} {
				if _, err := open(t, parse(t, dir+path), groucho); err == nil {
					t.Fatalf("%s: opened", path)
				}
			}
		}
	}
	if after := count(); after > before+2 { // the runtime's own may come up
		t.Errorf("%d descriptors, then %d", before, after)
	}
}
