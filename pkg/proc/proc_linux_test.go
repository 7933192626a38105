package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ps "github.com/mitchellh/go-ps"

	"stormcheck/pkg/internal/testproc"
)

// rest is a stat line behind the name: state, ppid 4, pgrp 5, flags, 20 threads, 22 start.
func rest(state string, flags, threads, start int) string {
	return fmt.Sprintf("%s 4 5 6 0 -1 %d 10 11 12 13 14 15 16 17 20 0 %d 0 %d 23 24 25", state, flags, threads, start)
}

// hostile are names that processes can have: any bytes but NUL, 15 at most.
var hostile = []string{
	"imapd", "", " ", ")", "(", "))", "(sd-pam)", "imapd)", ") Z 1 1 1", "imapd) S 1 1 1", "x) 5", "()()()())))((()",
	"a b c", "nl\nimapd", "\x1b[2Jimapd", "\xff\xfe", "a\\b", "averyverylongpr", "1 (x) R 1 1 1", "foo) Z ", "\u202edpami", ",\"", "*",
}

func TestParseStat(t *testing.T) {
	for _, name := range hostile {
		var p Process
		if err := parseStat([]byte("4711 ("+name+") "+rest("S", 0, 1, 99)+"\n"), &p); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if p.PID != 4711 || string(p.Comm) != name || p.State != 'S' || p.PPID != 4 || p.PGID != 5 || p.Start != 99 || p.Zombie || p.Kernel {
			t.Errorf("%q: %+v, comm %q", name, p, p.Comm)
		}
	}
	for _, c := range []struct {
		rest           string
		zombie, kernel bool
	}{
		{rest("Z", 0, 1, 1), true, false},
		{rest("X", 0, 0, 1), true, false},
		{rest("Z", 0, 2, 1), false, false}, // the leader has ended, a thread lives
		{rest("D", 0, 1, 1), false, false},
		{rest("I", 0x04208060, 1, 1), false, true},
		{rest("S", 0x00400140, 1, 1), false, false},
	} {
		var p Process
		if parseStat([]byte("1 (x) "+c.rest), &p) != nil || p.Zombie != c.zombie || p.Kernel != c.kernel {
			t.Errorf("%s: %+v", c.rest, p)
		}
	}
	for _, text := range []string{"", "1", "1 (x", "1 x) S", "1 (x)", "1 (x) ", "1 (x) S", "1 (x) S 4 5", "x (y) " + rest("S", 0, 1, 1),
		"-1 (x) " + rest("S", 0, 1, 1), "1 (x) S -4 5 6 0 -1 0 10 11 12 13 14 15 16 17 20 0 1 0 1 23", "(x) S 1"} {
		if err := parseStat([]byte(text), &Process{}); err != syscall.EBADMSG {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What the kernel shows of a process that it is just letting go.
func TestParseStatOfOneThatEnds(t *testing.T) {
	for _, state := range []string{"X", "Z"} {
		err := parseStat([]byte("4711 (imapd) "+state+" 0 -1 -1 0 -1 4228108 10 11 12 13 14 15 16 17 20 0 0 0 99 0 0"), &Process{})
		if err != syscall.ESRCH {
			t.Errorf("%s: %v", state, err)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	for _, name := range hostile {
		f.Add([]byte("4711 (" + name + ") " + rest("S", 0, 1, 99)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var p Process
		if parseStat(text, &p) == nil && !bytes.HasPrefix(text[bytes.IndexByte(text, '('):], append([]byte("("), p.Comm...)) {
			t.Errorf("%q: name %q", text, p.Comm)
		}
	})
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tTgid:\t9 Uid:\t0\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nNgid:\t0\nPid:\t7\n" +
		"Uid:\t1004\t1005\t1006\t1005\nGid:\t0\t0\t0\t0\nNSpid:\t7\t1\nCapEff:\t0\n"
	id := Identity{Process: Process{PID: 7}, status: []byte(text)}
	if id.parseStatus() != nil || id.Real != 1004 || id.UID != 1005 || id.Saved != 1006 || !id.Leader || !id.Inner {
		t.Errorf("%+v", id)
	}
	id = Identity{Process: Process{PID: 8}, status: []byte(strings.Replace(text, "7\t1", "8", 1))}
	if id.parseStatus() != nil || id.Leader || id.Inner {
		t.Errorf("a thread: %+v", id)
	}
	long := strings.Replace(text, "NSpid", "Groups:\t"+strings.Repeat("4 ", 65536)+"\nNSpid", 1)
	if id.status = []byte(long); id.parseStatus() != nil || !id.Inner {
		t.Errorf("in many groups: %+v", id.Process)
	}
	for _, cut := range []string{"", "Name:\tx\n", "\nTgid:\t7\nUid:\t1\t2\n", "\nTgid:\t7\nUid:\t1\t2\t-3\t4\n"} {
		id.status = []byte(cut)
		if id.parseStatus() == nil {
			t.Errorf("%q: taken", cut)
		}
	}
}

// TestMain makes this binary a victim, one under another uid than it was started with,
// or one that is stuck.
func TestMain(m *testing.M) {
	testproc.Play()
	if uid, is := os.LookupEnv("PROC_TEST_UID"); is {
		number, err := strconv.Atoi(uid)
		if err == nil {
			err = syscall.Setuid(number)
		}
		if err != nil {
			panic(err)
		}
		testproc.Serve()
		return
	}
	if path, is := os.LookupEnv("PROC_TEST_STUCK"); is {
		stick(path)
		return
	}
	os.Exit(m.Run())
}

// start starts a process of that name with the tests' own uid.
func start(t *testing.T, name string) *testproc.Process {
	t.Helper()
	return testproc.Start(t, testproc.Victim(uint32(os.Geteuid()), name))
}

// scan returns a copy of the table, by PID.
func scan(t *testing.T) map[int]Process {
	t.Helper()
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var mutex sync.Mutex
	all := map[int]Process{}
	err = table.Scan(func(worker int, p *Process) {
		mutex.Lock()
		defer mutex.Unlock()
		if worker < 0 || worker >= Workers() {
			t.Errorf("worker %d", worker)
		}
		if _, twice := all[p.PID]; twice {
			t.Errorf("process %d twice", p.PID)
		}
		own := *p
		own.Comm = bytes.Clone(p.Comm)
		all[p.PID] = own
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A second look passes what has come since the first, and nothing else.
func TestScanNew(t *testing.T) {
	before := start(t, "before")
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if err := table.Scan(func(int, *Process) {}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		since := start(t, "since")
		times := map[int]int{}
		if err := table.ScanNew(func(_ int, p *Process) { times[p.PID]++ }); err != nil {
			t.Fatal(err)
		}
		if times[since.Process.Pid] != 1 || times[before.Process.Pid] != 0 || times[os.Getpid()] != 0 {
			t.Errorf("passed %v; %d is new", times, since.Process.Pid)
		}
	}
}

// Nobody can hide from a scan, and go-ps agrees on every process that it sees at all.
func TestScan(t *testing.T) {
	want := map[int]string{}
	for _, name := range hostile {
		cmd := start(t, name)
		want[cmd.Process.Pid] = name
	}
	before, err := ps.Processes()
	if err != nil {
		t.Fatal(err)
	}
	all := scan(t)
	for pid, name := range want {
		p, seen := all[pid]
		if !seen || string(p.Comm) != name || p.PPID != os.Getpid() || p.UID != uint32(os.Geteuid()) || p.PGID != pid {
			t.Errorf("%q: seen %v, %+v, comm %q", name, seen, p, p.Comm)
		}
		if !p.Recent(Now()) || p.Recent(Now()+61*ticksPerSecond) {
			t.Errorf("%q: started at %d, now %d", name, p.Start, Now())
		}
	}
	agreed := 0
	for _, their := range before {
		after, _ := ps.FindProcess(their.Pid())
		if after == nil || after.Executable() != their.Executable() {
			continue // it has ended, or become another program
		}
		ours, seen := all[their.Pid()]
		switch {
		case !seen:
			t.Errorf("go-ps has %d %q, the scan had not", their.Pid(), their.Executable())
		case bytes.ContainsAny(ours.Comm, "()"): // go-ps ends names at ")"
		case ours.Kernel: // a kworker is named after the work that it does just then
		case string(ours.Comm) != their.Executable() && !agree(t, their.Pid()):
			t.Errorf("%d: %q, for go-ps %q", their.Pid(), ours.Comm, their.Executable())
		default:
			agreed++
		}
	}
	if agreed < 10 {
		t.Errorf("go-ps saw only %d", agreed)
	}
}

// agree reports whether a scan and go-ps have one name for a process, unless it has
// ended: one that runs several programs in a row may have had its names in between.
func agree(t *testing.T, pid int) bool {
	t.Helper()
	for range 5 {
		ours, seen := scan(t)[pid]
		theirs, _ := ps.FindProcess(pid)
		if !seen || theirs == nil || string(ours.Comm) == theirs.Executable() {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// An imapd starts as root and becomes the user. The files in its directory still
// belong to root then, but it is the user's.
func TestEffectiveUID(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	cmd := testproc.Start(t, testproc.Self(0, "PROC_TEST_UID=54321"))
	info, err := os.Stat(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its files don't belong to root: %v", err)
	}
	if p := scan(t)[cmd.Process.Pid]; p.UID != 54321 {
		t.Errorf("%+v", p)
	}
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	h, err := table.Process(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var id Identity
	if err := h.Identify(&id); err != nil || id.UID != 54321 || id.Real != 54321 || id.Saved != 54321 {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestZombie(t *testing.T) {
	cmd := start(t, "imapd")
	cmd.End()
	for range 1000 {
		p := scan(t)[cmd.Process.Pid]
		if p.Zombie {
			if string(p.Comm) != "imapd" || p.State != 'Z' {
				t.Errorf("%+v, comm %q", p, p.Comm)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no zombie after 10 s")
}

func TestKernelThreads(t *testing.T) {
	kernel := 0
	for _, p := range scan(t) {
		if p.Kernel {
			kernel++
		}
	}
	if _, err := os.Stat("/proc/2"); err != nil || kernel == 0 {
		t.Skip("no kernel threads in this PID namespace")
	}
	if p := scan(t)[2]; !p.Kernel || string(p.Comm) != "kthreadd" {
		t.Errorf("kthreadd: %+v", p)
	}
}

func TestHandle(t *testing.T) {
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, name := range hostile {
		cmd := start(t, name)
		h, err := table.Process(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		var id Identity
		err = h.Identify(&id)
		uid := uint32(os.Geteuid())
		if err != nil || id.PID != cmd.Process.Pid || string(id.Comm) != name || id.UID != uid || id.Real != uid || id.Saved != uid || !id.Leader || id.Inner {
			t.Errorf("%q: %+v, comm %q, %v", name, id, id.Comm, err)
		}
		if err := h.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Errorf("%q: %v", name, err)
		}
		// The handle is of the process that was, whoever has its PID now.
		if err := h.Identify(&id); err != ErrGone {
			t.Errorf("%q: when it has gone: %v", name, err)
		}
		if err := h.Signal(syscall.SIGKILL); err != ErrGone {
			t.Errorf("%q: a signal when it has gone: %v", name, err)
		}
	}
	if _, err := table.Process(1 << 22); err != ErrGone {
		t.Errorf("no such process: %v", err)
	}
}

// A thread answers in /proc by its own number, but it isn't a process.
func TestHandleOfThread(t *testing.T) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, task := range tasks {
		var tid int
		fmt.Sscan(task.Name(), &tid)
		h, err := table.Process(tid)
		if err != nil {
			continue
		}
		var id Identity
		err = h.Identify(&id)
		h.Close()
		if err != nil || id.Leader != (tid == os.Getpid()) {
			t.Errorf("thread %d of %d: leader %v, %v", tid, os.Getpid(), id.Leader, err)
		}
	}
}

// inNamespaces runs the test of that name in namespaces of its own, after a shell
// script there.
func inNamespaces(t *testing.T, test, script string) (output string) {
	t.Helper()
	if os.Geteuid() != 0 || !testproc.CanUnshare() {
		t.Skip("needs root: makes namespaces")
	}
	cmd := exec.Command("unshare", append(testproc.Unshare(), "sh", "-ec", script, os.Args[0])...)
	cmd.Env = append(os.Environ(), "PROC_TEST_INSIDE="+test, "GORACE=atexit_sleep_ms=10")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return string(text)
}

// What keeps processes from being seen is an error, for a storm could be there.
func TestPartialView(t *testing.T) {
	if os.Getenv("PROC_TEST_INSIDE") != "" {
		table, err := Open()
		if err == nil {
			err = table.Scan(func(int, *Process) {})
		}
		fmt.Println("result:", err)
		return
	}
	const hidden = "mounted with hidepid: the processes of other users can't be seen"
	const merged = "accounts can't be told apart in this user namespace: run it in that of PID 1 as root"
	for _, c := range []struct{ script, want string }{
		{`"$0" -test.run=TestPartialView`, "<nil>"}, // a container's own table is whole
		{`umount /proc; "$0" -test.run=TestPartialView`, ""},
		{`mount -t tmpfs x /proc; "$0" -test.run=TestPartialView`, "/proc: no proc file system is mounted there"},
		{`mount -o remount,hidepid=2 /proc; "$0" -test.run=TestPartialView`, "<nil>"}, // root sees all the same
		{`mount -o remount,hidepid=2 /proc; setpriv --reuid 12345 --regid 12345 --clear-groups "$0" -test.run=TestPartialView`, "/proc: " + hidden},
		{`mount -o remount,hidepid=1 /proc; setpriv --reuid 12345 --regid 12345 --clear-groups "$0" -test.run=TestPartialView`, "/proc: " + hidden},
		{`mount -o remount,hidepid=4 /proc; setpriv --reuid 12345 --regid 12345 --clear-groups "$0" -test.run=TestPartialView`, "/proc: " + hidden},
		{`mount -o remount,hidepid=2,gid=777 /proc; setpriv --reuid 12345 --regid 12345 --groups 777 "$0" -test.run=TestPartialView`, "<nil>"},
		{`mount -o remount,hidepid=4,gid=777 /proc; setpriv --reuid 12345 --regid 12345 --groups 777 "$0" -test.run=TestPartialView`, "/proc: " + hidden},
		{`setpriv --reuid 12345 --regid 12345 --clear-groups "$0" -test.run=TestPartialView`, "<nil>"},
		{`unshare --user --map-root-user "$0" -test.run=TestPartialView`, "/proc: " + merged},
		{`unshare --user "$0" -test.run=TestPartialView`, "/proc: " + merged},
		{`setpriv --reuid 12345 --regid 12345 --clear-groups unshare --user --map-root-user "$0" -test.run=TestPartialView`, "/proc: " + merged},
		{`setpriv --reuid 12345 --regid 12345 --clear-groups unshare --user "$0" -test.run=TestPartialView`, "/proc: " + merged},
		// A container of its own, whose PID 1 is in the same user namespace.
		{`unshare --user --map-root-user --pid --fork --kill-child --mount-proc "$0" -test.run=TestPartialView`, "<nil>"},
		{`setpriv --reuid 12345 --regid 12345 --clear-groups unshare --user --map-current-user --pid --fork --kill-child --mount-proc "$0" -test.run=TestPartialView`, "<nil>"},
	} {
		out := inNamespaces(t, "TestPartialView", "chmod 755 \"${0%/*}\" \"${0%/*/*}\"; "+c.script)
		if _, result, _ := strings.Cut(out, "result: "); c.want != "" && !strings.HasPrefix(result, c.want+"\n") {
			t.Errorf("%s: %q; want %s", c.script, out, c.want)
		} else if c.want == "" && (strings.HasPrefix(result, "<nil>") || result == "") {
			t.Errorf("%s: %q; want an error", c.script, out)
		}
	}
}

func TestOutOfHandles(t *testing.T) {
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	err = table.Scan(func(int, *Process) {})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v; want %v", err, syscall.EMFILE)
	}
}

// What is done for each process of a storm takes no memory, once it has been done.
func TestHandleTakesNoMemory(t *testing.T) {
	table, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var id Identity
	took := testing.AllocsPerRun(100, func() {
		h, err := table.Process(os.Getpid())
		if err == nil {
			err = h.Identify(&id)
		}
		if err == nil {
			err = h.Signal(0)
		}
		h.Close()
		if err != nil || !id.Leader || id.Inner {
			t.Errorf("%+v, %v", id, err)
		}
	})
	if took != 0 {
		t.Errorf("%v allocations", took)
	}
}
