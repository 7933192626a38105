package mailarchive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/mailbox"
)

func TestUnfitArchiveDirectoryIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make func(s *stage)
		want string
	}{
		"missing": {want: "no such file or directory", make: func(s *stage) {
			s.try(os.Remove(s.archive))
		}},
		"link": {want: "not a directory or a symbolic link to one", make: func(s *stage) {
			s.try(os.Rename(s.archive, s.top+"/elsewhere"))
			s.try(os.Symlink("elsewhere", s.archive))
		}},
		"file": {want: "not a directory or a symbolic link to one", make: func(s *stage) {
			s.try(os.Remove(s.archive))
			s.write(s.archive, "")
		}},
		"world-writable": {want: "writable by group or others", make: func(s *stage) {
			s.try(os.Chmod(s.archive, 0o702))
		}},
		"group-writable": {want: "writable by group or others", make: func(s *stage) {
			s.try(os.Chmod(s.archive, 0o720))
		}},
		"sticky": {want: "writable by group or others", make: func(s *stage) {
			s.try(os.Chmod(s.archive, 0o777|fs.ModeSticky))
		}},
		"another's": {want: "belongs to uid 4242 and not to 0", make: func(s *stage) {
			if err := os.Chown(s.archive, 4242, 0); err != nil {
				s.Skipf("chown: %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.write(s.mailbox, "From chico\n")
			c.make(s)
			s.gives("", "", "mailarchive: "+s.archive+": "+c.want)
			if entries, _ := os.ReadDir(s.archive); len(entries) > 0 {
				t.Errorf("copied: %v", entries)
			}
		})
	}
	s := newStage(t)
	s.write(s.mailbox, "")
	s.try(os.Chmod(s.archive, 0o755)) // its readers are the administrator's choice
	s.gives(s.archive+"/"+groucho+"."+epoch, "", "")
}

// notmpfile runs f where the file system seems to have no O_TMPFILE: to this process,
// as on an old kernel, and to those that f starts.
func notmpfile(t *testing.T, f func()) {
	defer func(was int) { unnamed = was }(unnamed)
	unnamed = unix.O_DIRECTORY
	const flags = 16 + 2*8 // where seccomp_data has openat's third argument, seccomp(2)
	if err := testproc.Filtered([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_OPENAT},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: unix.O_TMPFILE &^ unix.O_DIRECTORY},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EOPNOTSUPP)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, f); err != nil {
		t.Skipf("seccomp: %v", err)
	}
}

// eachWay runs f with the two ways to make a file.
func eachWay(t *testing.T, f func(s *stage)) {
	t.Run("O_TMPFILE", func(t *testing.T) { f(newStage(t)) })
	t.Run("O_EXCL", func(t *testing.T) {
		s := newStage(t)
		s.around = func(run func()) { notmpfile(t, run) }
		f(s)
	})
}

func TestTemporaryName(t *testing.T) {
	s := newStage(t)
	d, err := openDirectory(s.archive)
	s.try(err)
	defer d.Close()
	var f, g *draft
	notmpfile(t, func() {
		f, err = d.draft("x")
		s.try(err)
		g, err = d.draft("x")
	})
	s.try(err)
	s.archiveHolds(fmt.Sprintf(".x.1.tmp%d", os.Getpid()), fmt.Sprintf(".x.2.tmp%d", os.Getpid()))
	f.discard()
	g.discard()
	s.archiveHolds()
}

func TestReadOnlyArchiveFailsEachRow(t *testing.T) {
	eachWay(t, func(s *stage) {
		s.tmpfs("ro")
		s.write(s.mailbox, "From chico\n")
		if archived, _, errors := s.row(); archived != "" || !strings.HasSuffix(errors, ": read-only file system") {
			s.Errorf("archived %q, errors %q", archived, errors)
		}
	})
}

// In a pipe that stands the archive directory may be made anew, or only then, or
// come to be unfit.
func TestArchiveDirectoryMayChangeWhileThePipeStands(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.try(os.Remove(s.archive))
	in, feed := io.Pipe()
	read, out := io.Pipe()
	go func() {
		_ = Run(s.Options, filter.Env{In: in, Out: out, Report: func(error) {}})
		out.Close()
	}()
	lines := bufio.NewReader(read)
	at := night
	next := func(want string) {
		t.Helper()
		at = at.Add(time.Second)
		go func() {
			_, _ = io.WriteString(feed, strings.Replace(due(groucho, groucho), "2000-04-25T05:17:02Z", at.Format(time.RFC3339), 1))
		}()
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Errorf("%v: %s; want %s", err, line, want)
		}
	}
	go func() { _, _ = io.WriteString(feed, header) }()
	_, _ = lines.ReadString('\n')
	next(s.archive + ": no such file or directory")
	s.try(os.Mkdir(s.archive, 0o700))
	next(s.name(night) + ",")
	s.try(os.Rename(s.archive, s.archive+"2"))
	s.try(os.Mkdir(s.archive, 0o700))
	next(s.name(night) + ",")
	s.holds(s.name(night), "From chico\n")
	s.try(os.Chmod(s.archive, 0o777))
	next(s.archive + ": writable by group or others")
	feed.Close()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestTakenNameGetsANumber(t *testing.T) {
	eachWay(t, func(s *stage) {
		s.write(s.mailbox, "From chico\n")
		s.write(s.top+"/victim", "victim")
		name := s.archive + "/" + groucho + "." + epoch
		s.write(name, "older copy")
		s.try(os.Symlink(s.top+"/victim", name+".1"))
		s.try(os.Symlink(s.top+"/nowhere", name+".2"))
		s.try(os.Link(s.top+"/victim", name+".3"))
		s.try(os.Mkdir(name+".4", 0o700))
		s.try(unix.Mkfifo(name+".5", 0o600))
		victim := s.stat(s.top + "/victim")
		s.gives(name+".6", "", "")
		s.holds(name+".6", "From chico\n")
		s.holds(name, "older copy")
		if now := s.stat(s.top + "/victim"); now != victim {
			s.Errorf("the victim was %+v, is %+v", victim, now)
		}
		if _, err := os.Lstat(s.top + "/nowhere"); err == nil {
			s.Error("a dangling link was written through")
		}
		if entries, _ := os.ReadDir(name + ".4"); len(entries) > 0 {
			s.Errorf("in the directory: %v", entries)
		}
		base := filepath.Base(name)
		s.archiveHolds(base, base+".1", base+".2", base+".3", base+".4", base+".5", base+".6")
	})
}

func TestCopiesOfOneSecondHaveNumbers(t *testing.T) {
	eachWay(t, func(s *stage) {
		name := s.archive + "/" + groucho + "." + epoch
		s.write(s.pop, "first")
		s.gives(name+".pop", "", "")
		s.write(s.pop, "second")
		s.gives(name+".pop.1", "", "")
		s.holds(name+".pop", "first")
		s.holds(name+".pop.1", "second")
	})
}

func TestNoFreeNameIsAnError(t *testing.T) {
	eachWay(t, func(s *stage) {
		s.write(s.mailbox, "")
		name := s.archive + "/" + groucho + "." + epoch
		s.try(os.Symlink("x", name))
		for n := 1; n < 999; n++ {
			s.try(os.Symlink("x", fmt.Sprintf("%s.%d", name, n)))
		}
		s.gives(name+".999", "", "")
		s.gives("", "", "mailarchive: "+s.mailbox+": link "+name+": file exists")
		if names := s.names(); len(names) != 1000 {
			s.Errorf("%d names in the archive", len(names))
		}
	})
}

// tmpfs puts a file system of that size in the archive directory's place.
func (s *stage) tmpfs(options string) {
	s.Helper()
	if err := unix.Mount("tmpfs", s.archive, "tmpfs", 0, "mode=700,"+options); err != nil {
		s.Skipf("mount: %v", err)
	}
	s.Cleanup(func() { _ = unix.Unmount(s.archive, unix.MNT_DETACH) })
}

// What doesn't fit takes no block, and the next mailbox has its try.
func TestWhatDoesNotFitTakesNoBlock(t *testing.T) {
	for name, c := range map[string]struct {
		size    int64
		sparse  bool
		minFree Share
		maxSize int64
		want    string
	}{
		"as large as is free": {size: 1 << 20},
		"larger":              {size: 1<<20 + 1, want: "no space: needs 1.0M where 1.0M is free and 0 bytes reserved"},
		"sparse":              {size: 3 << 40, sparse: true, want: "oversized: sparse: needs 3.0T where 1.0M is free and 0 bytes reserved"},
		"up to the reserve":   {size: 1<<20 - 100<<10, minFree: Share{Bytes: 100 << 10}},
		"into the reserve":    {size: 1<<20 - 100<<10 + 1, minFree: Share{Bytes: 100 << 10}, want: "no space: needs 924.0K where 1.0M is free and 100.0K reserved"},
		"into half":           {size: 600 << 10, minFree: Share{Percent: 50}, want: "no space: needs 600.0K where 1.0M is free and 512.0K reserved"},
		"all has to stay":     {size: 1, minFree: Share{Percent: 100}, want: "no space: needs 1 bytes where 1.0M is free and 1.0M reserved"},
		"up to the limit":     {size: 1 << 10, maxSize: 1 << 10},
		"over the limit":      {size: 1<<10 + 1, maxSize: 1 << 10, want: "refused: 1.0K is more than 1.0K"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.tmpfs("size=1m")
			s.MinFree, s.MaxSize = c.minFree, c.maxSize
			if c.sparse {
				s.write(s.mailbox, "From chico\n")
				if err := os.Truncate(s.mailbox, c.size); err != nil {
					t.Skipf("truncate: %v", err)
				}
			} else {
				s.write(s.mailbox, strings.Repeat("x", int(c.size)))
			}
			name := s.archive + "/" + groucho + "." + epoch
			if c.want == "" {
				s.gives(name, "", "")
				return
			}
			s.gives("", "", "mailarchive: "+s.mailbox+": "+c.want)
			s.archiveHolds()
			if c.minFree != (Share{}) {
				return
			}
			s.write(s.pop, "From harpo\n")
			if archived, _, errors := s.row(); archived != name+".pop" || !strings.HasPrefix(errors, "mailarchive: "+s.mailbox+": "+c.want[:len("oversized: ")]) {
				t.Errorf("archived %q, errors %q", archived, errors)
			}
		})
	}
}

// box is the user's mailbox beside directory d, to be copied as far as ctx allows.
func (s *stage) box(ctx context.Context, d *directory, o Options) *box {
	s.Helper()
	template, err := mailbox.Parse(s.spool + "/{user}")
	s.try(err)
	return newBox(&job{archiver: &archiver{Options: o, running: s.Context()}, ctx: ctx, dir: d, user: mailbox.User{Name: groucho}}, template)
}

// What was free may be taken by others meanwhile.
func TestSpaceThatOthersTakeMeanwhileIsAnError(t *testing.T) {
	eachWay(t, func(s *stage) {
		s.tmpfs("size=64k")
		s.write(s.mailbox, strings.Repeat("x", 100_000))
		d, err := openDirectory(s.archive)
		s.try(err)
		defer d.Close()
		from, err := os.Open(s.mailbox)
		s.try(err)
		defer from.Close()
		b := s.box(t.Context(), d, Options{})
		s.around(func() {
			to, err := d.draft("x")
			s.try(err)
			c := copier{to: int(to.Fd()), from: int(from.Fd())}
			if err := c.copy(0, 100_000); !errors.Is(err, unix.ENOSPC) {
				s.Error(err)
			}
			to.discard()
		})
		s.archiveHolds()
		if room, err := b.room(); err != nil || room.free != 64<<10 {
			s.Errorf("%+v, %v", room, err)
		}
	})
}

// While it copies it leaves the reserve alone, and ends in time.
func TestReserveIsLeftAloneWhileCopying(t *testing.T) {
	s := newStage(t)
	s.tmpfs("size=64m")
	d, err := openDirectory(s.archive)
	s.try(err)
	defer d.Close()
	s.write(s.archive+"/copy", strings.Repeat("x", 24<<20))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for want, b := range map[string]*box{
		"no space: 24.0M of 40.0M copied (40.0M is free and 42.0M reserved)": s.box(t.Context(), d, Options{MinFree: Share{Bytes: 42 << 20}}),
		"given up after 1s: 24.0M of 40.0M copied":                           s.box(over, d, Options{Timeout: time.Second}),
	} {
		if err := b.mayGoOn(24<<20, 40<<20); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestNameThatIsTooLongIsAnError(t *testing.T) {
	eachWay(t, func(s *stage) {
		suffix := strings.Repeat("x", 250-len(groucho))
		s.boxes("{user}" + suffix)
		s.write(s.mailbox+suffix, "")
		if archived, _, errors := s.row(); archived != "" || !strings.HasSuffix(errors, "file name too long") {
			s.Errorf("archived %q, errors %q", archived, errors)
		}
		s.archiveHolds()
	})
}
