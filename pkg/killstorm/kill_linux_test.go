package killstorm

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
)

// rowsIn takes rows that come together through killstorm: what it fills of each.
func rowsIn(t *testing.T, change func(*Options), rows ...string) (cells []string, reported string) {
	t.Helper()
	var out bytes.Buffer
	reported = runOn(t, strings.NewReader(header+strings.Join(rows, "")), &out, change)
	for _, line := range strings.Split(strings.TrimSpace(strings.TrimPrefix(out.String(), header)), "\n") {
		cells = append(cells, filled(strings.Split(line, ",")))
	}
	return cells, reported
}

// Rows that are there already end in common sweeps, and keep their order. A second
// row for the same processes finds them gone.
func TestRowsThatAreThereEndInCommonSweeps(t *testing.T) {
	uid := who(t)
	a := victims(t, 5, uid, "plain", name("a"), nil)
	b := victims(t, 7, uid, "plain", name("b"), nil)
	cells, reported := rowsIn(t, nil, due(uid, name("a"), "5"),
		strings.Replace(due(uid, name("a"), "5"), "kill=5", "alert=5", 1), // not due, and not before its time
		due(uid, name("b"), "7"), due(uid, name("a"), "5"), due(uid, name("nobody"), "1"))
	if at := strings.Index(cells[3], " (5 zombies"); at > 0 { // this test doesn't reap them
		cells[3] = cells[3][:at]
	}
	want := []string{"killed=5 remaining=0", "", "killed=7 remaining=0", "killed=0 notes=killstorm: subsided to 0", "killed=0 notes=killstorm: subsided to 0"}
	if fmt.Sprint(cells) != fmt.Sprint(want) || reported != "" || living(a)+living(b) != 0 {
		t.Errorf("%q, reported %q; %d live", cells, reported, living(a)+living(b))
	}
}

// The worst is the first.
func TestWorstStormEndsFirst(t *testing.T) {
	uid := who(t)
	k := killer{}
	var all []*filter.Due
	for _, n := range []int64{3, 9, 5} {
		d := &filter.Due{}
		d.Row.User, d.Row.Proc, d.Row.Count.N = user(uid), fmt.Sprint(n), n
		d.Row.UID.N, d.Row.UID.Known = int64(uid), true
		all = append(all, d)
	}
	got := ""
	for _, s := range k.storms(all) {
		got += s.comm
	}
	if got != "953" {
		t.Errorf("%q, %v", got, all[0].Err)
	}
}

// What may be allowed and refused by flags.
func TestFlagsAllowAndRefuse(t *testing.T) {
	uid := who(t)
	comm := name("v")
	storm := victims(t, 3, uid, "plain", comm, nil)
	row := due(uid, comm, "3")
	archive := strings.Replace(row, "kill=3", "archive=3 kill=3", 1)
	for _, c := range []struct {
		row, want string
		change    func(*Options)
	}{
		{row, "killed=0 errors=killstorm: refused: 3 are more than --max 2", func(o *Options) { o.Max = 2 }},
		{row, "notes=killstorm: a protected user's processes are left alone", func(o *Options) { o.Protect.UIDs = map[uint32]bool{uid: true} }},
		{row, "notes=killstorm: a protected user's processes are left alone", func(o *Options) { o.Protect.Names = map[string]bool{user(uid): true} }},
		{archive, "errors=killstorm: not killed: the mail isn't saved: mailarchive has not seen the row", func(o *Options) { o.RequireArchive = true }},
		{strings.Replace(archive, ",,\n", ",,mailarchive: /var/mail/g: no space left on device\n", 1),
			"errors=mailarchive: /var/mail/g: no space left on device; killstorm: not killed: the mail isn't saved: /var/mail/g: no space left on device",
			func(o *Options) { o.RequireArchive = true }},
	} {
		if cells, _ := run1(t, c.row, c.change); cells != c.want {
			t.Errorf("row %s; want %s", cells, c.want)
		}
		if living(storm) != 3 {
			t.Fatalf("%s: %d live", c.want, living(storm))
		}
	}
	// A mailbox that is too large for its share spares no storm.
	if cells, _ := run1(t, strings.Replace(archive, ",,\n", ",,mailarchive: /var/mail/g: "+rows.FormatOversized("needs 9G")+"\n", 1),
		func(o *Options) { o.RequireArchive, o.Max = true, 2 }); !strings.Contains(cells, "refused: 3 are more than --max 2") {
		t.Errorf("row %s", cells)
	}
	// One who plants what isn't a mailbox in its place doesn't keep his storm.
	cells, _ := run1(t, strings.Replace(archive, ",,\n", ",,mailarchive: /var/mail/g: a symbolic link\n", 1),
		func(o *Options) { o.RequireArchive, o.Max = true, 3 })
	if cells != "killed=3 remaining=0 errors=mailarchive: /var/mail/g: a symbolic link" {
		t.Errorf("row %s", cells)
	}
}

// A dynamic uid of systemd's is the system's, unless a person's account has it.
func TestDynamicUIDIsASystemAccountUnlessItsOwnerCanLogIn(t *testing.T) {
	for _, c := range []struct {
		uid    uint32
		shell  string
		system bool
	}{
		{61183, "", false}, {61184, "", true}, {63000, "", true}, {65519, "", true}, {65520, "", false},
		{61184, "/bin/bash", false}, {65519, "/usr/sbin/nologin", true}, {61184, "/bin/false", true},
		{5000, "/usr/sbin/nologin", false}, {999, "/bin/bash", true}, {65534, "/bin/bash", true},
	} {
		one := target{user: mailbox.User{UID: c.uid}, owner: account.Account{UID: c.uid, Shell: c.shell}}
		if got := (Options{}).spares(one) != nil; got != c.system {
			t.Errorf("uid %d, shell %q: spared %v", c.uid, c.shell, got)
		}
		if err := (Options{AllowSystem: true}).spares(one); err != nil {
			t.Errorf("uid %d, --allow-system: %v", c.uid, err)
		}
	}
	one := target{user: mailbox.User{UID: 62000}, owner: account.Account{UID: 62000, Home: "/home/groucho"}} // an empty shell is /bin/sh
	if err := (Options{}).spares(one); err != nil {
		t.Error(err)
	}
}

// A protected name that is all digits is a name, and a uid as well.
func TestProtectedNameOfDigits(t *testing.T) {
	p, err := protect([]string{"20231777"}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := target{user: mailbox.User{Name: "20231777", UID: 3501}, owner: account.Account{UID: 3501}}
	if (Options{Protect: p}).spares(one) == nil || (Options{Protect: p}).spares(uidOnly(20231777)) == nil {
		t.Error("not protected")
	}
}

// uidOnly is a target of which only the uid matters.
func uidOnly(uid uint32) target {
	return target{user: mailbox.User{UID: uid}, owner: account.Account{UID: uid}}
}

func TestAllowFlagsEndWhatIsLeftAloneElse(t *testing.T) {
	root, daemon := uidOnly(0), uidOnly(1)
	o := Options{AllowRoot: true}
	if o.spares(root) != nil || o.spares(daemon) == nil {
		t.Errorf("--allow-root: %v, %v", o.spares(root), o.spares(daemon))
	}
	o = Options{AllowSystem: true}
	if o.spares(root) == nil || o.spares(daemon) != nil {
		t.Errorf("--allow-system: %v, %v", o.spares(root), o.spares(daemon))
	}
	p, err := protect([]string{"root", "4242"}, false, nil)
	if err != nil || !p.UIDs[0] || !p.UIDs[4242] || len(p.UIDs) != 2 {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := protect([]string{"no-such-account"}, false, nil); err == nil {
		t.Error("an account that isn't there is protected")
	}
	if p, err = protect([]string{"groucho@example.org"}, true, nil); err != nil || !p.Names["groucho@example.org"] {
		t.Errorf("a user that titles may name: %v, %v", p, err)
	}
	// People behind one uid: a system one's may be ended, root's and protected ones' not.
	one := uidOnly(2)
	one.user.Name, one.named = "groucho", "groucho"
	if o := (Options{Protect: p}); o.spares(one) != nil {
		t.Error(o.spares(one))
	}
	for _, o := range []Options{{Protect: Protected{UIDs: map[uint32]bool{2: true}}}, {Protect: Protected{Names: map[string]bool{"groucho": true}}}} {
		if o.spares(one) == nil {
			t.Error("a protected one isn't spared")
		}
	}
	if one.user.UID = 0; o.spares(one) == nil {
		t.Error("root's are not spared")
	}
	// A row of one of several people needs a table.
	d := &filter.Due{}
	d.Row.User, d.Row.Account = "groucho", "nobody"
	if _, err := (Options{AllowSystem: true}).target(d); err == nil || !strings.Contains(err.Error(), "no table of titles") {
		t.Error(err)
	}
}

// Those that a run before this left stopped are ended, and are not taken for ended.
func TestProcessesLeftStoppedByAnotherRunAreEnded(t *testing.T) {
	uid := who(t)
	storm := victims(t, 3, uid, "plain", name("o"), nil)
	for _, cmd := range storm {
		must(cmd.Process.Signal(syscall.SIGSTOP))
	}
	if cells, reported := run1(t, due(uid, name("o"), "3"), nil); cells != "killed=3 remaining=0" || reported != "" || living(storm) != 0 {
		t.Errorf("row %s, reported %q; %d live", cells, reported, living(storm))
	}
}

// A PID that another process has by now is that one's, though it is of the same uid
// and name.
func TestReusedPIDIsNotKilled(t *testing.T) {
	uid := who(t)
	comm := name("q")
	first := victims(t, 1, uid, "plain", comm, nil)[0]
	pid := first.Process.Pid
	b := fight{killer: newKiller(Options{}), byUID: map[uint32][]*storm{}}
	s := &storm{target: target{user: mailbox.User{UID: uid}, comm: comm}, naming: naming{comm: comm}, index: map[id]int{}}
	b.storms, b.byUID[uid], b.visit = []*storm{s}, []*storm{s}, func(_ int, p *proc.Process) { b.see(p) }
	table, err := proc.Open()
	must(err)
	b.table = table
	defer table.Close()
	must(b.sweep())
	if len(s.processes) != 1 || s.processes[0].pid != pid {
		t.Fatalf("found %+v", s.processes)
	}
	must(first.Process.Kill())
	_ = first.Wait()
	for proc.Now() <= s.processes[0].start+1 {
		time.Sleep(time.Millisecond) // no PID comes round within a tick of the clock
	}
	begin := time.Now()
	var second *exec.Cmd
	for second == nil || second.Process.Pid != pid {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("the PID doesn't come round")
		}
		// Where the next PID is known, it needn't be waited for.
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Skip(err)
		}
		second = victims(t, 1, uid, "plain", comm, nil)[0]
	}
	if stopped, _ := b.stop(); stopped != 0 {
		t.Errorf("stopped %d", stopped)
	}
	b.send(syscall.SIGKILL)
	if s := state(pid); s != "S" && s != "R" {
		t.Errorf("the one that has its PID now is in state %q", s)
	}
	if s.processes[0].stage != gone || s.processes[0].sent != 0 {
		t.Errorf("%+v", s.processes[0])
	}
}

// One that takes another name before it is stopped is somebody else. What is said of
// it is true.
func TestProcessOfAnotherNameIsNotKilled(t *testing.T) {
	uid := who(t)
	comm := name("w")
	storm := victims(t, 20, uid, "chameleon", comm, nil)
	cells, _ := run1(t, due(uid, comm, "1"), func(o *Options) { o.Timeout = 2 * time.Second })
	var killed int
	fmt.Sscanf(cells, "killed=%d", &killed)
	if left := living(storm); killed+left != 20 {
		t.Errorf("row %s, and %d live", cells, left)
	}
	for _, cmd := range storm {
		if state(cmd.Process.Pid) == "T" {
			t.Errorf("%d is left stopped", cmd.Process.Pid)
		}
	}
}

// Once it fights it takes no memory from the system, and none to speak of from its own.
func TestFightTakesNoMemory(t *testing.T) {
	uid := who(t)
	storm := victims(t, 50, uid, "plain", name("m"), nil)
	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: 20 * time.Second})
	d := &filter.Due{}
	s := &storm1{target: target{user: mailbox.User{UID: uid}, comm: name("m")}, due: d}
	d.Limit.Count = 50
	b, err := newFight(k, []*storm1{s}, time.Now().Add(20*time.Second))
	must(err)
	defer b.table.Close()
	must(b.look())
	if d.Err != nil {
		t.Fatal(d.Err)
	}
	s.reserve()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	must(b.kill(freeze(b)))
	runtime.ReadMemStats(&after)
	if living(storm) != 0 {
		t.Errorf("%d live", living(storm))
	}
	if took := after.TotalAlloc - before.TotalAlloc; after.Sys > before.Sys || took > 256<<10 {
		t.Errorf("%d more bytes of the system's, %d of its own", after.Sys-before.Sys, took)
	}
}

type storm1 = storm // where a variable has that name

// Without a file handle to look with nobody is stopped.
func TestNothingIsStoppedWithoutAFileHandle(t *testing.T) {
	uid := who(t)
	storm := victims(t, 3, uid, "plain", name("f"), nil)
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	few := limit
	held, err := os.Open("/")
	must(err)
	defer held.Close()
	for _, more := range []uint64{0, 1, 2, 3} {
		few.Cur = uint64(held.Fd()) + more
		must(unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
		cells, reported := run1(t, due(uid, name("f"), "3"), nil)
		must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		if cells == "killed=3 remaining=0" && reported == "" {
			break // these were enough
		}
		if !strings.Contains(reported, "too many open files") || living(storm) != 3 {
			t.Errorf("%d: row %s, reported %q", more, cells, reported)
		}
		for _, cmd := range storm {
			if s := state(cmd.Process.Pid); s == "T" {
				t.Errorf("%d: one is stopped", more)
			}
		}
	}
}

// start starts killstorm as a process, which reads from in.
func start(t *testing.T, args []string, change func(*exec.Cmd)) (cmd *exec.Cmd, in io.WriteCloser, out, problems *bytes.Buffer) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe", append([]string{"--host", "moscow"}, args...)...)
	cmd.Env = append(os.Environ(), "KILLSTORM_ROLE=killstorm", "GORACE=atexit_sleep_ms=10")
	out, problems = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, problems
	in, err := cmd.StdinPipe()
	must(err)
	if change != nil {
		change(cmd)
	}
	must(cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, in, out, problems
}

// fresh gives a row the time of now.
func fresh(row string) string {
	return strings.Replace(row, "2000-04-25T05:17:02Z", time.Now().UTC().Format(time.RFC3339), 1)
}

// What isn't permitted is said, and not called killed.
func TestWhatIsNotPermittedIsNotCalledKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	storm := victims(t, 2, uid, "plain", name("x"), nil)
	cmd, in, out, _ := start(t, []string{"--timeout", "200ms"}, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid + 1, Gid: uid + 1}}
	})
	io.WriteString(in, header+fresh(due(uid, name("x"), "2")))
	in.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Error(err)
	}
	if !strings.HasSuffix(out.String(), ",0,2,killstorm: no mailbox to lock,killstorm: 2 remaining: 2 not permitted\n") || living(storm) != 2 {
		t.Errorf("%s, %d live", out, living(storm))
	}
}

// policies returns the scheduling policies of all threads, proc_pid_stat(5), field 41.
func policies(pid int) (all []string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range files {
		text, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(text), ") ")
		if words := strings.Fields(rest); len(words) > 38 {
			all = append(all, words[38])
		}
	}
	return all
}

// Every thread is above all others, unless that isn't wanted. Then none is, also if it
// was started so.
func TestEveryThreadHasThePriority(t *testing.T) {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || os.Geteuid() != 0 || unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0) != nil {
		t.Skip("real-time priority isn't to be had here")
	}
	must(unix.SchedSetAttr(0, attr, 0))
	chrt, err := exec.LookPath("chrt")
	if err != nil {
		t.Skip("needs chrt(1)")
	}
	check := func(what string, cmd *exec.Cmd, want string) {
		for i := 0; ; i++ {
			all := policies(cmd.Process.Pid)
			if len(all) >= 16 && strings.Join(all, "") == strings.Repeat(want, len(all)) {
				break
			}
			if i > 6000 {
				t.Errorf("%s: policies of threads %q", what, all)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for flag, want := range map[string]string{"--timeout=9s": "2", "--no-realtime": "0", "--no-realtime=true": "0", "--no-realtime=false": "2"} { // SCHED_RR, SCHED_OTHER
		cmd, in, _, _ := start(t, []string{flag}, nil)
		check(flag, cmd, want)
		in.Close()
		_ = cmd.Wait()
		// The same under the priority that its parent has.
		cmd, in, _, _ = start(t, nil, func(cmd *exec.Cmd) {
			self, err := os.Executable()
			must(err)
			cmd.Path, cmd.Args = chrt, []string{chrt, "--rr", "1", self, flag}
		})
		check("under SCHED_RR "+flag, cmd, want)
		in.Close()
		_ = cmd.Wait()
	}
	// A nice value that it was given stays.
	cmd, in, _, _ := start(t, nil, func(cmd *exec.Cmd) {
		self, err := os.Executable()
		must(err)
		nice, err := exec.LookPath("nice")
		must(err)
		cmd.Path, cmd.Args = nice, []string{nice, "-n", "5", chrt, "--rr", "1", self, "--no-realtime"}
	})
	check("at nice 5", cmd, "0")
	kernels, err := unix.Getpriority(unix.PRIO_PROCESS, cmd.Process.Pid) // 20 less nice, see getpriority(2)
	if kernels != 20-5 {
		t.Errorf("nice %d, %v; want 5", 20-kernels, err)
	}
	in.Close()
	_ = cmd.Wait()
}

// With no free slot for a thread or a process it does its work.
func TestKillsWithNoFreeSlot(t *testing.T) {
	group := testproc.NewGroup(t)
	const uid = 65534 // the name service need not be asked for it
	storm := victims(t, 40, uid, "plain", name("g"), nil)
	cmd, in, out, problems := start(t, []string{"--allow-system"}, nil)
	io.WriteString(in, header)
	for i := 0; len(policies(cmd.Process.Pid)) < 17; i++ {
		if time.Sleep(10 * time.Millisecond); i > 6000 {
			t.Fatal("it makes no threads")
		}
	}
	group.Full(t, cmd.Process.Pid)
	io.WriteString(in, fresh(due(uid, name("g"), "40")))
	in.Close()
	if err := cmd.Wait(); err != nil || !strings.HasSuffix(out.String(), ",40,0,killstorm: no mailbox to lock,\n") || living(storm) != 0 {
		t.Errorf("%v: %s%s; %d live", err, out, problems, living(storm))
	}
}

// syslogd listens as syslogd does.
func syslogd(t *testing.T) (*net.UnixConn, string) {
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(err)
	t.Cleanup(func() { c.Close() })
	return c, path
}

// No name of a user, a process or its parent can look like a field of the audit's line,
// nor begin another line.
func TestAuditFieldsAreNotForged(t *testing.T) {
	hostile := []string{"x pid=1", " ", "", "a  b", "x\tuid=0", "x\npid=1", "x\r", "=", "pid=1", "*", "?", `\`, `\x20`, "\x00pid=1", "x\u00a0pid=1", "x\u2003y", "x\u2028y", "x\u0085y", "\x1b[2J"}
	for b := range 256 {
		hostile = append(hostile, "x"+string([]byte{byte(b)})+"uid=0")
	}
	log, path := syslogd(t)
	uid := who(t)
	want := "uid user proc pid start state ppid parent"
	for i, comm := range hostile {
		parent := hostile[len(hostile)-1-i]
		p := process{id: id{12, 1}}
		s := storm{target: target{user: mailbox.User{Name: parent, UID: uid}, comm: comm}}
		s.audited = map[id]string{p.id: " state=S ppid=7 parent=" + field(parent)}
		to := syslog.Open(path, "killstorm")
		if unsent, err := s.audit(to, []process{p}); unsent > 0 {
			t.Fatal(err)
		}
		to.Close()
		line := make([]byte, 4096)
		must(log.SetReadDeadline(time.Now().Add(time.Minute)))
		n, err := log.Read(line)
		must(err)
		_, text, _ := strings.Cut(string(line[:n]), "killed ")
		var keys []string
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
			key, value, _ := strings.Cut(word, "=")
			if keys = append(keys, key); key == "proc" && value != field(comm) {
				t.Errorf("%q: proc=%s", comm, value)
			}
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%q, parent %q: fields %q of %q", comm, parent, got, text)
		}
	}
	// The parent's name, as read from the table.
	own, err := os.ReadFile("/proc/self/comm")
	must(err)
	victims(t, 1, uid, "plain", name("i"), nil)
	b, s := ready(t, uid, name("i"), nil)
	must(os.WriteFile("/proc/self/comm", []byte("x pid=1 uid=0"), 0))
	b.keepAudit(s)
	must(os.WriteFile("/proc/self/comm", own[:len(own)-1], 0))
	for _, text := range s.audited {
		if !strings.HasSuffix(text, fmt.Sprintf(` ppid=%d parent=x\x20pid=1\x20uid=0`, os.Getpid())) {
			t.Errorf("of a process: %q", text)
		}
	}
	if len(s.audited) != 1 {
		t.Errorf("%d kept", len(s.audited))
	}
}

func TestAuditNamesWhatWasKilled(t *testing.T) {
	uid := who(t)
	log, path := syslogd(t)
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for line := make([]byte, 1024); ; {
			n, err := log.Read(line)
			if err != nil {
				return
			}
			lines <- string(line[:n])
		}
	}()
	storm := victims(t, 53, uid, "plain", name(",y"), nil)
	if cells, _ := run1(t, due(uid, strings.Replace(name(",y"), ",", `\x2c`, 1), "53"), func(o *Options) { o.Syslog = path }); cells != "killed=53 remaining=0" {
		t.Errorf("row %s", cells)
	}
	whose := fmt.Sprintf("]: killed uid=%d user=%s proc=%s", uid, user(uid), strings.Replace(name(",y"), ",", `\x2c`, 1))
	for i := range 51 {
		line := ""
		select {
		case line = <-lines:
		case <-time.After(time.Minute):
			t.Fatalf("%d lines", i)
		}
		want := whose + " and 3 more"
		if i < 50 {
			want = fmt.Sprintf("%s pid=%d start=2", whose, storm[i].Process.Pid)
		}
		story := strings.Contains(line, fmt.Sprintf(" state=S ppid=%d parent=", os.Getpid()))
		if !strings.HasPrefix(line, "<29>") || !strings.Contains(line, want) || story != (i < 20) {
			t.Errorf("line %d: %q; want %s", i, line, want)
		}
	}
}

// A log that nobody reads keeps it from nothing, and what is lost is counted.
func TestLogThatNobodyReadsDelaysNothing(t *testing.T) {
	uid := who(t)
	log, path := syslogd(t)
	must(log.SetReadBuffer(1))
	victims(t, 40, uid, "plain", name("j"), nil)
	begin := time.Now()
	cells, reported := run1(t, due(uid, name("j"), "40"), func(o *Options) { o.Syslog = path })
	if !strings.HasPrefix(cells, "killed=40 remaining=0") || reported != "" || time.Since(begin) > time.Minute {
		t.Errorf("row %s, reported %q", cells, reported)
	}
	var lost, got int
	if _, err := fmt.Sscanf(cells, "killed=40 remaining=0 notes=killstorm: %d lines for syslog not sent: resource temporarily unavailable", &lost); err != nil && cells != "killed=40 remaining=0" {
		t.Errorf("row %s: %v", cells, err)
	}
	must(log.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
	for _, err := log.Read(make([]byte, 1024)); err == nil; _, err = log.Read(make([]byte, 1024)) {
		got++
	}
	if got+lost != 40 {
		t.Errorf("%d lines came, %d are said to be lost", got, lost)
	}
}

// box makes a mailbox of uid's in a directory of its own.
func box(t *testing.T, uid uint32) (path string, hold []mailbox.Template) {
	dir := t.TempDir()
	path = filepath.Join(dir, user(uid))
	must(os.WriteFile(path, []byte("From x\n\n"), 0o600))
	if os.Geteuid() == 0 {
		must(os.Chown(path, int(uid), int(uid)))
	}
	template, err := mailbox.Parse(dir + "/{user}")
	must(err)
	return path, []mailbox.Template{template}
}

// lockedBox makes a mailbox of uid's that is locked until the test ends.
func lockedBox(t *testing.T, uid uint32) (path string, hold []mailbox.Template) {
	path, hold = box(t, uid)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	t.Cleanup(func() { f.Close() })
	must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	return path, hold
}

// tryLock tries for the lock that a mail program writes under.
func tryLock(t *testing.T, path string) (free bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	defer f.Close()
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}) == nil
}

// The mailbox is locked while its owner's processes end, and not after that.
func TestMailboxIsLockedWhileItsProcessesEnd(t *testing.T) {
	uid := who(t)
	path, hold := box(t, uid)
	victims(t, 1, uid, "spawner", name("h"), nil) // it goes on for as long as it may
	for i := 0; len(called(name("h"))) < 2; i++ {
		if time.Sleep(10 * time.Millisecond); i > 6000 {
			t.Fatal("the spawner spawns nobody")
		}
	}
	done := make(chan bool)
	locked := 0
	go func() {
		defer close(done)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if !tryLock(t, path) {
				locked++
			} else if locked > 0 {
				return
			}
		}
	}()
	cells, _ := run1(t, due(uid, name("h"), "1"), func(o *Options) {
		o.Hold, o.HoldTimeout, o.Timeout = hold, 3*time.Second, 500*time.Millisecond
	})
	<-done
	if locked == 0 || !tryLock(t, path) || strings.Contains(cells, "not locked") {
		t.Errorf("found locked %d times; row %s", locked, cells)
	}
}

// Who locks the mailbox for good doesn't keep his storm.
func TestMailboxLockedForGoodSparesNoStorm(t *testing.T) {
	uid := who(t)
	path, hold := lockedBox(t, uid)
	storm := victims(t, 3, uid, "plain", name("1"), nil)
	begin := time.Now()
	cells, reported := run1(t, due(uid, name("1"), "3"), func(o *Options) { o.Hold, o.HoldTimeout = hold, 300*time.Millisecond })
	want := fmt.Sprintf("killed=3 remaining=0 notes=killstorm: %s: not locked (held by pid %d)", path, os.Getpid())
	if cells != want || reported != "" || living(storm) != 0 || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("row %s, reported %q; want %s", cells, reported, want)
	}
}

// The lock file of one who was killed is removed, no other is.
func TestDotlockOfAKilledProcessIsRemoved(t *testing.T) {
	uid := who(t)
	path, hold := box(t, uid)
	lock := path + ".lock"
	for _, c := range []struct {
		text func(pid int) string
		note string // with the PID
		left bool
	}{
		{func(pid int) string { return fmt.Sprint(pid) }, "removed " + lock + " of killed pid %d", false},
		{func(pid int) string { return fmt.Sprintf("%d:elsewhere", pid) }, "", true},
		{func(int) string { return "1" }, "", true},
	} {
		storm := victims(t, 2, uid, "plain", name("2"), nil)
		pid := storm[1].Process.Pid
		must(os.WriteFile(lock, []byte(c.text(pid)), 0o600))
		if os.Geteuid() == 0 {
			must(os.Chown(lock, int(uid), int(uid)))
		}
		time.Sleep(20 * time.Millisecond) // the kernel's clock for files is a coarse one
		cells, reported := run1(t, due(uid, name("2"), "2"), func(o *Options) { o.Hold, o.HoldTimeout = hold, time.Millisecond })
		want := ""
		if c.note != "" {
			want = fmt.Sprintf(c.note, pid)
		}
		_, err := os.Stat(lock)
		if !strings.HasPrefix(cells, "killed=2 remaining=0 notes=killstorm: "+path+": not locked (held by ") || !strings.Contains(cells, want) || reported != "" || (err == nil) != c.left {
			t.Errorf("row %s, reported %q; lock: %v; want %s", cells, reported, err, want)
		}
		for _, cmd := range storm {
			_ = cmd.Wait()
		}
		os.Remove(lock)
	}
}

// Killed is what was signalled and seen gone, and nothing else; what is left is reported
// with the reason.
func TestKilledIsWhatWasSignalledAndSeenGone(t *testing.T) {
	const sweep = 9
	all := []process{
		{id: id{10, 1}, sweep: 3, sent: syscall.SIGKILL, stage: gone},
		{id: id{11, 1}, sweep: 3, stage: gone},                                                     // ended by somebody else
		{id: id{12, 1}, sweep: 9, state: 'D', sent: syscall.SIGKILL, stage: signalled},             // and still there
		{id: id{13, 1}, sweep: 3, state: 'S', sent: syscall.SIGKILL, stage: signalled, late: true}, // under another name
		{id: id{14, 1}, sweep: 9, denied: unix.EPERM},
		{id: id{15, 1}, sweep: 9, claim: refused, why: inContainer},
		{id: id{16, 1}, sweep: 3}, // gone before it was looked at
		{id: id{17, 1}, sweep: 9, unseen: unix.EMFILE},
	}
	var out bytes.Buffer
	err := filter.Acting{
		Tool: "killstorm", Action: "kill", Host: func() string { return "moscow" }, Now: func() time.Time { return now },
		Fills: []rows.Column{rows.Killed, rows.Remaining},
		Together: func(due []*filter.Due) {
			s := storm{due: due[0], processes: all, sweep: sweep}
			s.report(syslog.Open("/nowhere/log", "killstorm"))
		},
	}.Run(filter.Env{In: strings.NewReader(header + due(4242, "imapd", "1")), Out: &out, Report: func(error) {}})
	must(err)
	const want = ",1,4,killstorm: refused: 1 in containers," +
		"killstorm: 4 remaining: 1 not permitted and 1 respawned and 1 too many open files and 1 uninterruptible (D)\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("%s; want %s", out.String(), want)
	}
}
