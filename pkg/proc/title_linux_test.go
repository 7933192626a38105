package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"stormcheck/pkg/internal/testproc"

	"golang.org/x/sys/unix"
)

// titled starts a process whose arguments, its own name first, are those.
func titled(t *testing.T, uid int, args ...string) Process {
	t.Helper()
	cmd := testproc.Victim(uint32(uid), "imap")
	cmd.Args = args
	if os.Geteuid() != 0 {
		uid = os.Geteuid()
	}
	return Process{PID: testproc.Start(t, cmd).Process.Pid, UID: uint32(uid), Start: 1}
}

// readTitles returns the titles of processes by index.
func readTitles(t *testing.T, r *TitleReader, within time.Duration, of ...Process) (map[int]string, int) {
	t.Helper()
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var mutex sync.Mutex
	titles := map[int]string{}
	unread := r.Read(table, of, within, func(i int, title []byte) {
		mutex.Lock()
		defer mutex.Unlock()
		if len(title) > 0 {
			titles[i] = string(title)
		}
	})
	return titles, unread
}

func TestTitles(t *testing.T) {
	full := strings.Repeat("x", MaxTitle-6)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"dovecot/imap [groucho@example.org 192.0.2.7 IDLE]"}, "dovecot/imap [groucho@example.org 192.0.2.7 IDLE]"},
		{[]string{"imap", "-a", "", "b", "", ""}, "imap -a  b"},
		{[]string{"\n\x1b[2J\xff]"}, "\n\x1b[2J\xff]"},
		{[]string{""}, ""},
		{[]string{"imap", full}, "imap " + full},
		{[]string{"imap", full + "xx"}, ""},
		{[]string{"imap", strings.Repeat("x", 10<<10)}, ""},
	} {
		p := titled(t, 54323, c.args...)
		got, unread := readTitles(t, &TitleReader{}, time.Minute, p)
		if got[0] != c.want || unread != 0 {
			t.Errorf("%.50q: %.50q of %d bytes, %d unread", c.args, got[0], len(got[0]), unread)
		}
		other := p
		other.UID++
		zombie := p
		zombie.Zombie = true
		if got, unread := readTitles(t, &TitleReader{}, time.Minute, other, zombie, Process{PID: 1 << 30, UID: p.UID}); len(got) != 0 || unread != 0 {
			t.Errorf("of another uid, a zombie, none: %q, %d unread", got, unread)
		}
	}
}

// Who runs a setuid program chooses its arguments: it isn't heard, by either way that
// uids are read.
func TestTitleOfSetuid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a setuid program")
	}
	dir, err := os.MkdirTemp("", "titles")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cat, err := os.ReadFile("/bin/cat")
	path := dir + "/imap"
	for _, err := range []error{err, os.Chmod(dir, 0o755), os.WriteFile(path, cat, 0o755), os.Chown(path, 54324, 54324), os.Chmod(path, 0o755|os.ModeSetuid)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, c := range []struct {
		runner uint32
		want   string
	}{{54324, "dovecot/imap"}, {54325, ""}} {
		cmd := exec.Command(path)
		cmd.Args = []string{"dovecot/imap"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.runner, Gid: c.runner}}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Skipf("no setuid program can be run here: %v", err)
		}
		p := Process{PID: cmd.Process.Pid, UID: 54324}
		if got := scan(t)[p.PID].UID; got != p.UID {
			t.Skipf("set-user-ID isn't heeded there: uid %d", got)
		}
		buffer := make([]byte, MaxTitle+1)
		table.noInfo.Store(false)
		if got := string(table.title(&p, buffer)); got != c.want {
			t.Errorf("run by %d: %q", c.runner, got)
		}
		if got := string(table.titleWithout(unix.ENOTTY, &p, buffer)); got != c.want {
			t.Errorf("run by %d, by handle: %q", c.runner, got)
		}
		in.Close()
		cmd.Wait()
		if got := table.titleWithout(unix.ENOTTY, &p, buffer); got != nil {
			t.Errorf("gone: %q", got)
		}
	}
}

// TestTitleStuck reads the titles of processes that wait for a file system with their
// memory locked: whoever reads them waits too. All others are read in time, and the
// stuck ones aren't tried again and again, until they are stuck no more.
func TestTitleStuck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a file system")
	}
	var all []Process
	for i := range 20 {
		all = append(all, titled(t, 54326, fmt.Sprint("imap ", i)))
	}
	answer := make(chan bool)
	once := sync.OnceFunc(func() { close(answer) })
	defer once()
	for range 3 {
		fs := mountStuck(t, answer)
		stuck := testproc.Start(t, testproc.Self(54326, "PROC_TEST_STUCK="+fs.path))
		p := Process{PID: stuck.Process.Pid, UID: 54326, Start: 1}
		for patience := 50; ; patience-- {
			if _, unread := readTitles(t, &TitleReader{}, 100*time.Millisecond, p); unread == 1 {
				break
			}
			if patience == 0 {
				t.Skip("this kernel doesn't get stuck so")
			}
		}
		all = append([]Process{p}, all...)
	}
	r := &TitleReader{}
	for i := range 3 {
		got, unread := readTitles(t, r, time.Second, all...)
		if len(got) != 20 || unread != 3 || len(r.stuck) != 3 {
			t.Errorf("round %d: %q, %d unread, %d threads left behind", i, got, unread, len(r.stuck))
		}
	}
	once()
	for range 500 {
		if got, unread := readTitles(t, r, time.Second, all...); unread == 0 && len(got) == 23 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("still stuck")
}

// A stuckFS is a file system of one file that answers nothing before the test lets it.
type stuckFS struct {
	path   string
	answer chan bool
}

// mountStuck mounts one: the least of FUSE, fuse(4) and include/uapi/linux/fuse.h.
func mountStuck(t *testing.T, answer chan bool) *stuckFS {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	dir, err := os.MkdirTemp("", "titles")
	if err != nil {
		t.Fatal(err)
	}
	s := &stuckFS{path: dir + "/args", answer: answer}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(s.path, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	// The root of this file system is the file.
	if err := unix.Mount("titles", s.path, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=100644,user_id=0,group_id=0,allow_other", fd)); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	go s.serve(fd)
	t.Cleanup(func() {
		unix.Unmount(s.path, unix.MNT_DETACH)
		unix.Close(fd)
	})
	return s
}

// The operations of FUSE that are answered, and how long their answers are.
const (
	fuseGetattr, fuseOpen, fuseRead, fuseWrite, fuseInit = 3, 14, 15, 16, 26
)

// serve answers all but writes at once.
func (s *stuckFS) serve(fd int) {
	request := make([]byte, 1<<20)
	for {
		n, err := unix.Read(fd, request)
		if err == unix.EINTR || err == unix.ENOENT {
			continue
		}
		if err != nil || n < 40 {
			return
		}
		head := binary.NativeEndian
		var body []byte
		switch head.Uint32(request[4:]) {
		case fuseInit:
			body = make([]byte, 64)
			head.PutUint32(body, 7)
			head.PutUint32(body[4:], 31)
			head.PutUint32(body[20:], 4096) // the most that is written at once
		case fuseGetattr:
			body = make([]byte, 104)
			head.PutUint64(body[16:], 1)        // inode
			head.PutUint64(body[24:], 4096)     // size
			head.PutUint32(body[76:], 0o100666) // mode
			head.PutUint32(body[80:], 1)        // links
			head.PutUint32(body[96:], 4096)     // block size
		case fuseOpen:
			body = make([]byte, 16)
		case fuseRead:
			body = make([]byte, 4096)
		case fuseWrite:
			body = make([]byte, 8)
			head.PutUint32(body, head.Uint32(request[40+16:]))
		}
		answer := append(make([]byte, 16), body...)
		head.PutUint32(answer, uint32(len(answer)))
		head.PutUint64(answer[8:], head.Uint64(request[8:]))
		if head.Uint32(request[4:]) == fuseWrite {
			go func() { <-s.answer; unix.Write(fd, answer) }()
			continue
		}
		unix.Write(fd, answer)
	}
}

// stick is a process that holds its own address space locked, for it waits for a write
// to that file to end.
func stick(path string) {
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	var size unix.Stat_t
	if err := unix.Fstat(fd, &size); err != nil { // or it is empty
		panic(err)
	}
	page, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	page[0] = 1
	fmt.Println("ready")
	_, _, _ = unix.RawSyscall6(unix.SYS_MMAP, uintptr(unsafe.Pointer(&page[0])), 4096, unix.PROT_READ,
		unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0), 0)
	io.Copy(io.Discard, os.Stdin)
}
