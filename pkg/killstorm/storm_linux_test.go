package killstorm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/internal/testproc"
)

// TestMain puts all tests into a PID namespace of their own where it can, so that
// no mistake ends anybody else; and this binary is the victims, too.
func TestMain(m *testing.M) {
	testproc.Play()
	if role, is := os.LookupEnv("KILLSTORM_ROLE"); is {
		play(role)
		return
	}
	testproc.Main(m)
}

// play is what a victim does until its input ends or a minute is over.
func play(role string) {
	role, name, _ := strings.Cut(role, " ")
	if role == "killstorm" {
		Prepare(os.Args)
		filter.Main(App())
	}
	if role == "freezer" {
		freezeAndWait(name)
		return
	}
	testproc.Rename(name)
	switch role {
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "leaderless": // the first thread ends, the others live on
		runtime.LockOSThread()
		if syscall.Gettid() != os.Getpid() {
			panic("not the first thread")
		}
		go func() {
			fmt.Println("ready")
			time.Sleep(time.Minute)
			os.Exit(0)
		}()
		syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "setuid": // a program of 54321's that 54322 runs
		must(syscall.Setresuid(54322, 54321, 54322))
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGUSR1)
		go func() {
			<-signals
			must(syscall.Setresuid(54321, 54321, 54321))
		}()
	case "spawner": // never lets the number of its children fall
		testproc.Rename("spawner")
		fmt.Println("ready")
		for range 4 {
			go func() {
				for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
					_ = testproc.Self(uint32(os.Geteuid()), "KILLSTORM_ROLE=quiet "+name).Run()
				}
			}()
		}
		time.Sleep(5 * time.Second)
		return
	case "chameleon":
		fmt.Println("ready")
		go func() {
			for n := 0; ; n++ {
				testproc.Rename([]string{"other", name}[n%2])
				time.Sleep(time.Millisecond)
			}
		}()
		io.Copy(io.Discard, os.Stdin)
		return
	case "comets": // a shell that forks and ends, and keeps its name; no zombie of it stays
		testproc.Rename("comets")
		must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		signal.Ignore(syscall.SIGCHLD)
		must(exec.Command("sh", "-c", `printf %s "$1" >/proc/$$/comm; n=900
			hop() { n=$((n - 1)); [ $n -eq 0 ] || [ ! -e "$LASTS" ] || hop "$@" & }; hop "$@"`, "sh", name).Start())
	case "titled":
		speak()
		return
	case "quiet":
		time.Sleep(10 * time.Second)
		return
	}
	testproc.Serve()
}

func init() {
	if strings.HasPrefix(os.Getenv("KILLSTORM_ROLE"), "leaderless") {
		runtime.LockOSThread()
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// who is the uid that victims run under: as root one that nobody else has.
func who(t *testing.T) uint32 {
	uid := uint32(os.Geteuid())
	if uid == 0 {
		return 54321
	}
	if (Options{}).spares(uidOnly(uid)) != nil {
		t.Skipf("uid %d is one that is spared", uid)
	}
	return uid
}

// user is the row's user for a uid.
func user(uid uint32) string {
	if known, _ := account.ByUIDs([]uint32{uid}); known[uid].Name != "" {
		return known[uid].Name
	}
	return strconv.Itoa(int(uid))
}

// name is a process name that nothing but this test's victims has.
func name(suffix string) string { return fmt.Sprintf("s%d%s", os.Getppid()%10000, suffix) }

// victims starts n processes of a name that play a role.
func victims(t *testing.T, n int, uid uint32, role, name string, change func(*exec.Cmd)) (all []*exec.Cmd) {
	t.Helper()
	for range n {
		cmd := testproc.Self(uid, "KILLSTORM_ROLE="+role+" "+name)
		if change != nil {
			change(cmd)
		}
		testproc.Start(t, cmd)
		all = append(all, cmd)
	}
	return all
}

// state is a process's in /proc, "" when it has gone.
func state(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := bytes.Cut(text, []byte("\nState:\t"))
	if len(rest) == 0 {
		return ""
	}
	return string(rest[:1])
}

// ended reports whether nothing is left of a process but its zombie: its first thread
// is one while others still end.
func ended(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return bytes.Contains(text, []byte("\nState:\tZ")) && bytes.Contains(text, []byte("\nThreads:\t1\n"))
}

// living counts those that are neither gone nor zombies.
func living(all []*exec.Cmd) (n int) {
	for _, cmd := range all {
		if s := state(cmd.Process.Pid); s != "" && s != "Z" && s != "X" {
			n++
		}
	}
	return n
}

var now = time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)

const header = "time,host,user,uid,proc,count,actions,killed,remaining,notes,errors\n"

// due is a row about uid's processes of that name, due for kill from limit on.
func due(uid uint32, proc, limit string) string {
	return fmt.Sprintf("2000-04-25T05:17:02Z,moscow,%s,%d,%s,404,log=1 kill=%s,,,,\n", user(uid), uid, proc, limit)
}

// runOn takes a stream through killstorm, and returns what was reported.
func runOn(t *testing.T, in io.Reader, out io.Writer, change func(*Options)) (reported string) {
	t.Helper()
	o := Options{Signal: syscall.SIGKILL, Timeout: 20 * time.Second, Host: func() string { return "moscow" }, Syslog: "/nowhere/log", Now: func() time.Time { return now }}
	if change != nil {
		change(&o)
	}
	if err := Run(o, filter.Env{In: in, Out: out, Report: func(err error) { reported += err.Error() + "\n" }}); err != nil {
		t.Error(err)
	}
	return reported
}

// filled names the cells that killstorm fills, the last four, without those that are empty.
func filled(cells []string) string {
	var all []string
	for i, cell := range cells[len(cells)-4:] {
		if cell != "" {
			all = append(all, [...]string{"killed", "remaining", "notes", "errors"}[i]+"="+cell)
		}
	}
	return strings.Join(all, " ")
}

// run1 takes one row through killstorm: what it fills, and what was reported.
func run1(t *testing.T, row string, change func(*Options)) (cells, reported string) {
	t.Helper()
	var out bytes.Buffer
	reported = runOn(t, strings.NewReader(header+row), &out, change)
	got, passed := strings.CutPrefix(out.String(), header)
	all := strings.Split(strings.TrimSuffix(got, "\n"), ",")
	if !passed || len(all) != 11 || !strings.HasPrefix(row, strings.Join(all[:7], ",")) {
		t.Fatalf("out %q", out.String())
	}
	return filled(all), reported
}

func TestEndsTheStormAndNobodyElse(t *testing.T) {
	uid := who(t)
	storm := victims(t, 30, uid, "plain", name("imapd"), nil)
	bystanders := victims(t, 1, uid, "plain", name("imap"), nil)
	bystanders = append(bystanders, victims(t, 1, uid, "plain", name("imapd2"), nil)...)
	if os.Geteuid() == 0 {
		bystanders = append(bystanders, victims(t, 1, uid+1, "plain", name("imapd"), nil)...)
		bystanders = append(bystanders, victims(t, 1, 0, "plain", name("imapd"), nil)...)
	}
	cells, reported := run1(t, due(uid, name("imapd"), "30"), nil)
	if cells != "killed=30 remaining=0" || reported != "" {
		t.Errorf("row %s, reported %q", cells, reported)
	}
	if living(storm) != 0 || living(bystanders) != len(bystanders) {
		t.Errorf("%d of the storm live, %d of %d bystanders", living(storm), living(bystanders), len(bystanders))
	}
	for _, cmd := range bystanders {
		if s := state(cmd.Process.Pid); s != "S" && s != "R" {
			t.Errorf("a bystander is in state %s", s)
		}
	}
}

// The zombies of a parent that never reaps can't be killed, and need not be.
func TestZombiesAreNotAlive(t *testing.T) {
	uid := who(t)
	storm := victims(t, 5, uid, "plain", name("z"), nil) // this test doesn't reap them either
	cells, reported := run1(t, due(uid, name("z"), "5"), nil)
	if cells != "killed=5 remaining=0" || reported != "" {
		t.Errorf("row %s, reported %q", cells, reported)
	}
	for _, cmd := range storm {
		if s := state(cmd.Process.Pid); s != "Z" {
			t.Errorf("state %q, want a zombie", s)
		}
	}
	if cells, _ := run1(t, due(uid, name("z"), "1"), nil); !strings.HasPrefix(cells, "killed=0 notes=killstorm: subsided to 0 (5 zombies: no kill ends them - their parent ") {
		t.Errorf("a storm of zombies: %s", cells)
	}
}

func TestProcessWithoutItsFirstThreadEnds(t *testing.T) {
	uid := who(t)
	storm := victims(t, 2, uid, "leaderless", name("l"), nil)
	for i := 0; state(storm[0].Process.Pid) != "Z" || state(storm[1].Process.Pid) != "Z"; i++ {
		if time.Sleep(10 * time.Millisecond); i > 6000 {
			t.Fatal("the leaders don't end")
		}
	}
	if cells, reported := run1(t, due(uid, name("l"), "2"), nil); cells != "killed=2 remaining=0" || reported != "" {
		t.Errorf("row %s, reported %q", cells, reported)
	}
}

func TestProcessesOfHostileNamesEnd(t *testing.T) {
	uid := who(t)
	for comm, proc := range map[string]string{
		"imapd)": "imapd)", ") Z 1 1 1": ") Z 1 1 1", "x) 5": "x) 5", "a b": "a b", "nl\nimapd": `nl\x0aimapd`, "\xff\xfe": `\xff\xfe`,
		`a\b`: `a\\b`, "*": `\x2a`, "\x1b[2J": `\x1b[2J`, "": "",
	} {
		storm := victims(t, 2, uid, "plain", comm, nil)
		cells, _ := run1(t, due(uid, proc, "2"), nil)
		if cells != "killed=2 remaining=0" || living(storm) != 0 {
			t.Errorf("%q: row %s, %d live", comm, cells, living(storm))
		}
	}
}

func TestSubsidedStormIsLeftAlone(t *testing.T) {
	uid := who(t)
	storm := victims(t, 3, uid, "plain", name("s"), nil)
	for limit, want := range map[string]string{
		"4":     "killed=0 notes=killstorm: subsided to 3",
		"+4":    "killed=0 notes=killstorm: subsided to 3",
		"4|+10": "killed=0 notes=killstorm: subsided to 3",
	} {
		if cells, reported := run1(t, due(uid, name("s"), limit), nil); cells != want || reported != "" || living(storm) != 3 {
			t.Errorf("%s: row %s, reported %q, %d live", limit, cells, reported, living(storm))
		}
	}
	// One of two limits is enough.
	if cells, _ := run1(t, due(uid, name("s"), "100|+3"), nil); cells != "killed=3 remaining=0" {
		t.Errorf("row %s", cells)
	}
}

func TestDryRunSignalsNothing(t *testing.T) {
	uid := who(t)
	storm := victims(t, 22, uid, "plain", name("d"), nil)
	cells, reported := run1(t, due(uid, name("d"), "22"), func(o *Options) { o.DryRun = true })
	want := "notes=killstorm: would kill 22 (dry run): pids"
	for _, cmd := range storm[:20] {
		want += fmt.Sprint(" ", cmd.Process.Pid)
	}
	if cells != want+" and 2 more" || reported != "" {
		t.Errorf("row %s\nwant %s and 2 more", cells, want)
	}
	for _, cmd := range storm {
		if s := state(cmd.Process.Pid); s != "S" && s != "R" {
			t.Errorf("state %s", s)
		}
	}
	cells, _ = run1(t, due(uid, name("d"), "23"), func(o *Options) { o.DryRun = true })
	if cells != "notes=killstorm: subsided to 22" {
		t.Errorf("row %s", cells)
	}
}

// Who is asked to end first has time for it; who doesn't is killed.
func TestGraceBeforeTheKill(t *testing.T) {
	uid := who(t)
	willing := victims(t, 3, uid, "plain", name("t"), nil)
	stubborn := victims(t, 2, uid, "stubborn", name("t"), nil)
	start := time.Now()
	cells, reported := run1(t, due(uid, name("t"), "5"), func(o *Options) { o.Signal, o.Grace = syscall.SIGTERM, 500*time.Millisecond })
	if cells != "killed=5 remaining=0" || reported != "" || time.Since(start) < 500*time.Millisecond {
		t.Errorf("row %s, reported %q, after %s", cells, reported, time.Since(start))
	}
	ended := func(all []*exec.Cmd, want string) {
		for _, cmd := range all {
			if err := cmd.Wait(); err == nil || err.Error() != want {
				t.Errorf("%v; want %s", err, want)
			}
		}
	}
	ended(willing, "signal: terminated")
	ended(stubborn, "signal: killed")
	_ = victims(t, 2, uid, "plain", name("u"), nil)
	start = time.Now()
	cells, _ = run1(t, due(uid, name("u"), "2"), func(o *Options) { o.Signal, o.Grace, o.Timeout = syscall.SIGTERM, 10*time.Minute, 10*time.Minute })
	if cells != "killed=2 remaining=0" || time.Since(start) > time.Minute {
		t.Errorf("row %s after %s: the grace isn't waited out when all are gone", cells, time.Since(start))
	}
}

// A storm that doesn't end while killstorm looks is given up in time.
func TestStormThatDoesNotEndIsGivenUpInTime(t *testing.T) {
	uid := who(t)
	victims(t, 1, uid, "spawner", name("r"), nil)
	for i := 0; ; i++ {
		if cells, _ := run1(t, due(uid, name("r"), "4"), func(o *Options) { o.DryRun = true }); strings.Contains(cells, "would kill 4") {
			break
		}
		if i > 6000 {
			t.Fatal("the spawner spawns nobody")
		}
	}
	start := time.Now()
	cells, _ := run1(t, due(uid, name("r"), "1"), func(o *Options) { o.Timeout = 300 * time.Millisecond })
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %s", took)
	}
	var killed int
	if fmt.Sscanf(cells, "killed=%d", &killed); killed < 4 {
		t.Errorf("row %s", cells)
	}
	stopped(t, name("r"))
}

// called returns the PIDs of the live processes of that name.
func called(name string) (pids []int) {
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	must(err)
	for _, path := range all {
		comm, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if s := state(pid); string(comm) == name+"\n" && s != "" && s != "Z" && s != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// stopped fails the test if a process of that name is frozen.
func stopped(t *testing.T, name string) {
	t.Helper()
	for _, pid := range called(name) {
		if state(pid) == "T" {
			t.Errorf("%d is left stopped", pid)
		}
	}
}

// After a termination signal while nothing is frozen it kills nothing more. The row says
// what was done, and it ends though its input doesn't.
func TestSignalEndsItBetweenRows(t *testing.T) {
	uid := who(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1} {
		comm := name("e")
		stubborn := victims(t, 8, uid, "stubborn", comm, nil)
		willing := victims(t, 1, uid, "plain", comm, nil)[0]
		next := victims(t, 9, uid, "plain", name("n"), nil)
		cmd, in, out, problems := start(t, []string{"--signal", "TERM"}, nil)
		row := fresh(due(uid, comm, "9"))
		io.WriteString(in, header+row+header+strings.Replace(row, comm, name("n"), 1)) // and one that must not be begun
		for i := 0; !ended(willing.Process.Pid); i++ {                                 // then it is in the midst of its 5 s of grace
			if time.Sleep(10 * time.Millisecond); i > 6000 {
				t.Fatalf("%s: it doesn't begin: %s%s", sig, out, problems)
			}
		}
		must(cmd.Process.Signal(sig))
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s: %v", sig, err)
		}
		want := ",1,8,,killstorm: 8 remaining: 8 not yet gone; killstorm: ended early by a signal: " + sig.String()
		if !strings.Contains(out.String(), want) || living(stubborn) != 8 {
			t.Errorf("%s: %d live; out %q, %q", sig, living(stubborn), out.String(), problems.String())
		}
		if living(next) != 9 || strings.Count(out.String(), "killstorm: ended early by a signal: ") != 1 {
			t.Errorf("%s: %d of the next storm live; out %q", sig, living(next), out.String())
		}
		stopped(t, comm)
		for _, cmd := range stubborn {
			must(cmd.Process.Kill())
		}
	}
}

// After a termination signal in the middle it leaves nothing frozen.
func TestSignalInTheMiddleLeavesNothingStopped(t *testing.T) {
	uid := who(t)
	comm := name("7")
	victims(t, 1, uid, "spawner", comm, nil) // it goes on for as long as it may
	first := victims(t, 1, uid, "plain", comm, nil)
	cmd, in, out, problems := start(t, nil, nil)
	io.WriteString(in, header+fresh(due(uid, comm, "1")))
	for i := 0; living(first) > 0; i++ {
		if time.Sleep(time.Millisecond); i > 60000 {
			t.Fatalf("it doesn't begin: %s%s", out, problems)
		}
	}
	must(cmd.Process.Signal(syscall.SIGTERM))
	err := cmd.Wait()
	// It may have been done already and waited for rows, where the signal just ends it.
	done := strings.Contains(out.String(), ",0,killstorm: no mailbox to lock,\n")
	if cells := out.String(); err != nil && !done && !strings.Contains(cells, "killstorm: ended early by a signal: terminated") {
		t.Errorf("%v: %s%s", err, cells, problems)
	}
	stopped(t, comm)
}

// A second signal ends it though its reader has stopped, with its pipe full.
func TestSecondSignalEndsItThoughNothingIsRead(t *testing.T) {
	r, w, err := os.Pipe()
	must(err)
	defer r.Close()
	defer w.Close()
	cmd, in, _, _ := start(t, nil, func(cmd *exec.Cmd) { cmd.Stdout = w })
	row := strings.Replace(fresh(due(4242, "x", "1")), "kill=1", "alert=1", 1)
	go io.WriteString(in, header+strings.Repeat(row, 10000))
	until(t, "the pipe is full", func() bool {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/wchan", cmd.Process.Pid))
		n, _ := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		return n >= 60<<10 || strings.Contains(string(text), "pipe_write")
	})
	must(cmd.Process.Signal(syscall.SIGTERM))
	time.Sleep(100 * time.Millisecond)
	must(cmd.Process.Signal(syscall.SIGTERM))
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it doesn't end")
	}
}

// comets starts processes of that name that all the time fork and end, until end is called.
func comets(t *testing.T, n int, uid uint32, comm string) (end func()) {
	dir := t.TempDir()
	must(os.Chmod(filepath.Dir(dir), 0o755)) // the account looks into it
	lasts := filepath.Join(dir, "lasts")
	must(os.WriteFile(lasts, nil, 0o644))
	victims(t, n, uid, "comets", comm, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "LASTS="+lasts) })
	return func() {
		must(os.Remove(lasts))
		for len(called(comm)) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// A process that all the time forks and ends is easily missed. Whatever is said of
// it must be true.
func TestProcessThatForksAndEndsIsReportedRightly(t *testing.T) {
	uid := who(t)
	comm := name("k")
	for range 3 {
		victims(t, 3, uid, "plain", comm, nil)
		end := comets(t, 2, uid, comm)
		cells, _ := run1(t, due(uid, comm, "3"), func(o *Options) { o.Timeout = 700 * time.Millisecond })
		left := 0
		for range 20 {
			left = max(left, len(called(comm)))
			time.Sleep(5 * time.Millisecond)
		}
		if strings.Contains(cells, "remaining=0") && left > 0 {
			t.Errorf("row %s, and yet %d live", cells, left)
		}
		end()
	}
}

func TestUnfitRowsKillNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	comm := name("c")
	refused := victims(t, 1, uid, "plain", comm, func(cmd *exec.Cmd) { // a container
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	})
	refused = append(refused, victims(t, 1, uid, "plain", comm, func(cmd *exec.Cmd) { // this test's own group
		cmd.SysProcAttr.Setpgid = false
	})...)
	refused = append(refused, victims(t, 1, 0, "setuid", comm, nil)...)
	storm := victims(t, 2, uid, "plain", comm, nil)
	const notes, failure = "killstorm: refused: 1 in containers and 1 of another real uid", "refused: 1 of its own process group or above"
	line := "<stdin>:2: " + user(uid) + ": " + failure
	// They are there, but no other ends for the many of somebody else.
	cells, reported := run1(t, due(uid, comm, "3"), nil)
	const few = " - too few others: 2"
	if want := "killed=0 notes=" + notes + few + " errors=killstorm: " + failure + few; cells != want || reported != line+few+"\n" || living(storm) != 2 {
		t.Errorf("row %s, reported %q; %d of the storm live", cells, reported, living(storm))
	}
	cells, reported = run1(t, due(uid, comm, "2"), nil)
	want := "killed=2 remaining=0 notes=" + notes + " errors=killstorm: " + failure
	if cells != want || reported != line+"\n" || living(storm) != 0 || living(refused) != 3 {
		t.Errorf("row %s, reported %q; %d of the storm live, %d refused", cells, reported, living(storm), living(refused))
	}
	for _, cmd := range refused {
		if s := state(cmd.Process.Pid); s != "S" && s != "R" {
			t.Errorf("one that was refused is in state %s", s)
		}
	}
}

// Rows that must not lead to a kill, and what is said of each.
func TestRowsThatMustNotLeadToAKill(t *testing.T) {
	uid := who(t)
	comm := name("i")
	storm := victims(t, 1, uid, "plain", comm, nil)
	good := due(uid, comm, "1")
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	as := func(user, uid string) string {
		return fmt.Sprintf("2000-04-25T05:17:02Z,moscow,%s,%s,%s,404,kill=1,,,,\n", user, uid, comm)
	}
	daemon, err := account.ByName("daemon")
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ row, want, reported string }{
		{replace("kill=1", "alert=1"), "", ""},
		{replace("moscow", "mail2"), "notes=killstorm: not this host", ""},
		{replace(","+comm+",", ",*,"), "notes=killstorm: a --total row names no process to kill", ""},
		{as("root", "0"), "notes=killstorm: root's processes are left alone", ""},
		{as("root", ""), "notes=killstorm: root's processes are left alone", ""},
		{as("daemon", strconv.Itoa(int(daemon.UID))), "notes=killstorm: a system account's processes are left alone", ""},
		{as("nobody", ""), "notes=killstorm: a system account's processes are left alone", ""},
		{as("65534", "65534"), "errors=killstorm: uid 65534 is account nobody", "uid 65534 is account nobody"},
		{as("root", "54321"), "errors=killstorm: account root has uid 0 and not 54321", "account root has uid 0 and not 54321"},
		{as("no-such-account", "54321"), "errors=killstorm: user no-such-account: no such account", "user no-such-account: no such account"},
		{as(`\x2`, "54321"), `errors=killstorm: user: bad escape in '\\x2'`, `user: bad escape in "\\x2"`},
		{replace(","+comm+",", `,a\b,`), `errors=killstorm: proc: bad escape in 'a\\b'`, `proc: bad escape in "a\\b"`},
		{replace("05:17:02", "05:07:01"), "errors=killstorm: the row is 10m1s old", "the row is 10m1s old"},
		{replace("05:17:02", "05:18:03"), "errors=killstorm: the row is 1m1s in the future", "the row is 1m1s in the future"},
		{replace("2000-04-25T05:17:02Z", ""), "errors=killstorm: time: empty", "time: empty"},
		{replace("kill=1", "kill"), "errors=killstorm: actions: kill has no limit", "actions: kill has no limit"},
		{replace("kill=1", "kill=0"), "errors=killstorm: actions: kill=0 has no limit", "actions: kill=0 has no limit"},
		{replace("kill=1", "kill=x"), "errors=killstorm: actions: kill=x has no limit", "actions: kill=x has no limit"},
	} {
		cells, reported := run1(t, c.row, nil)
		if c.reported != "" {
			c.reported = "<stdin>:2: " + strings.Split(c.row, ",")[2] + ": " + c.reported + "\n"
		}
		if cells != c.want || reported != c.reported {
			t.Errorf("%srow %s, reported %q; want %s, %q", c.row, cells, reported, c.want, c.reported)
		}
	}
	if living(storm) != 1 {
		t.Error("and yet it was killed")
	}
	if cells, _ := run1(t, good, nil); cells != "killed=1 remaining=0" {
		t.Errorf("the good row: %s", cells)
	}
}

// broken is a reader that has gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestFinishesWhenItsReaderHasGone(t *testing.T) {
	uid := who(t)
	storm := victims(t, 3, uid, "plain", name("p"), nil)
	app := App()
	var problems bytes.Buffer
	row := strings.Replace(due(uid, name("p"), "3"), "2000-04-25T05:17:02Z", time.Now().UTC().Format(time.RFC3339), 1)
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(header+row), broken{}, &problems
	status := filter.Status(app, []string{"killstorm", "--host", "moscow"})
	if status != 1 || problems.String() != "killstorm: <stdout>: broken pipe\n" || living(storm) != 0 {
		t.Errorf("status %d, %q, %d live", status, problems.String(), living(storm))
	}
}

func TestUnfitFlagsAreRefused(t *testing.T) {
	for text, want := range map[string]Signal{"KILL": 9, "SIGKILL": 9, "9": 9, "TERM": 15, "15": 15, "HUP": 1, "USR1": 10} {
		if got, err := parseSignal(text, true); got != want || err != nil {
			t.Errorf("--signal %s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "STOP", "CONT", "19", "kill", "64", "-9", "CHLD"} {
		if got, err := parseSignal(text, true); err == nil {
			t.Errorf("--signal %s: %v", text, got)
		}
	}
}
