package procstat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
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
	"stormcheck/pkg/trusted"
)

// TestMain makes this binary procstat, if the environment says so.
func TestMain(m *testing.M) {
	testproc.Play()
	if args, is := os.LookupEnv("PROCSTAT_ARGS"); is {
		os.Args = append([]string{"procstat"}, strings.Fields(args)...)
		filter.Main(App())
	}
	os.Exit(m.Run())
}

// procstat starts procstat as a process, and returns what it prints.
func procstat(t *testing.T, args string, change func(*exec.Cmd)) (*exec.Cmd, *bufio.Reader, *strings.Builder) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PROCSTAT_ARGS="+args, "GORACE=atexit_sleep_ms=10")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewReader(out), &problems
}

// unlessBusy returns what a standing procstat wrote to standard error, without what it
// also writes on a busy machine.
func unlessBusy(problems *strings.Builder) string {
	return beatsSkipped.ReplaceAllString(problems.String(), "")
}

var beatsSkipped = regexp.MustCompile(`procstat: a snapshot takes longer than \w+: beats are skipped\n`)

const first = "time,host,user,uid,proc,count,zombies,recent,account,parent,oldest,started\n"

// snapshot reads the rows of one snapshot, to the next one's header.
func snapshot(t *testing.T, in *bufio.Reader) (rows []string) {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		if line == first {
			return rows
		}
		rows = append(rows, line)
	}
}

func TestStanding(t *testing.T) {
	cmd, out, problems := procstat(t, "--every 1s --host moscow", nil)
	if rows := snapshot(t, out); len(rows) != 0 {
		t.Errorf("rows before the first header: %q", rows)
	}
	var stamps []time.Time
	for range 3 {
		rows := snapshot(t, out)
		if len(rows) == 0 {
			t.Fatal("no rows")
		}
		stamp, err := time.Parse(time.RFC3339, strings.Split(rows[0], ",")[0])
		for _, row := range rows {
			if err != nil || !strings.HasPrefix(row, stamp.Format(time.RFC3339)+",moscow,") {
				t.Errorf("row %q, %v", row, err)
			}
		}
		stamps = append(stamps, stamp)
	}
	// A beat of one second, in whole seconds: none comes twice, however slow the day.
	for i := range stamps[1:] {
		if !stamps[i+1].After(stamps[i]) {
			t.Errorf("snapshots at %s", stamps)
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	rest, err := io.ReadAll(out)
	if len(rest) > 0 && !strings.HasSuffix(string(rest), first) {
		t.Errorf("ended within a snapshot: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil || unlessBusy(problems) != "" {
		t.Errorf("after SIGTERM: %v, %q", err, problems)
	}
}

func TestStandingEndsWithItsReader(t *testing.T) {
	cmd := exec.Command("sh", "-c", `/proc/$PPID/exe | head -n 1; wait`)
	cmd.Env = append(os.Environ(), "PROCSTAT_ARGS=--every 1s")
	out, err := cmd.Output()
	if err != nil || string(out) != first {
		t.Errorf("%q, %v", out, err)
	}
}

// goesOn sees two hundred snapshots more, and that procstat ends after SIGTERM.
func goesOn(t *testing.T, cmd *exec.Cmd, out *bufio.Reader, problems *strings.Builder) {
	t.Helper()
	for range 200 {
		snapshot(t, out)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	go io.Copy(io.Discard, out)
	err := cmd.Wait()
	// Another test's process may be of an account that isn't known yet, and without a
	// free slot nobody can be asked.
	unasked := strings.Contains(problems.String(), "procstat: name service: no answer within 2s\n")
	if err != nil && !(unasked && cmd.ProcessState.ExitCode() == 1) {
		t.Errorf("%v, %q", err, problems)
	}
}

// When nothing new can be started it goes on.
func TestStandingWithoutFreeSlots(t *testing.T) {
	other := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // root may have any number of processes
		other.Credential = &syscall.Credential{Uid: 54321, Gid: 54321}
	}
	cmd, out, problems := procstat(t, "--every 10ms", func(cmd *exec.Cmd) { cmd.SysProcAttr = other })
	snapshot(t, out)
	snapshot(t, out)
	limit := exec.Command("prlimit", "--pid", strconv.Itoa(cmd.Process.Pid), "--nproc=1:1")
	limit.SysProcAttr = other
	if text, err := limit.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	goesOn(t, cmd, out, problems)
}

// The same in a control group that is full, which binds root too.
func TestStandingInAFullGroup(t *testing.T) {
	group := testproc.NewGroup(t)
	cmd, out, problems := procstat(t, "--every 10ms", nil)
	snapshot(t, out)
	snapshot(t, out)
	group.Full(t, cmd.Process.Pid)
	goesOn(t, cmd, out, problems)
}

// It starts where threads are scarce.
func TestFewThreads(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: an account of its own has no other processes")
	}
	dir, err := os.MkdirTemp("", "procstat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(dir+"/procstat", self, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		cmd := exec.Command("setpriv", "--reuid", "54322", "--regid", "54322", "--clear-groups", "prlimit", "--nproc=8", dir+"/procstat")
		cmd.Env = append(os.Environ(), "PROCSTAT_ARGS=--host h", "GORACE=atexit_sleep_ms=10")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), first) {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// Memory and handles stay as they are however long it stands.
func TestStandingIsFlat(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	seen, used := 0, [2]uint64{}
	out := writerFunc(func(p []byte) (int, error) {
		switch seen++; seen {
		case 200, 1200:
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			used[seen/1200] = m.HeapAlloc
			if seen == 1200 {
				stop()
			}
		}
		return len(p), nil
	})
	handles := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	before := handles()
	err := Stand(ctx, Options{Min: 1, Host: "h", Now: time.Now, Report: func(error) {}, Warn: func(error) {}}, time.Millisecond, out)
	if err != nil || used[1] > used[0]+1<<20 || handles() > before+2 {
		t.Errorf("%v; %d then %d bytes, %d then %d handles", err, used[0], used[1], before, handles())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestStandingSkipsBeats(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	var reports []error
	out := writerFunc(func(p []byte) (int, error) { time.Sleep(5 * time.Millisecond); return len(p), nil })
	defer stop()
	time.AfterFunc(time.Minute, stop)
	report := func(err error) {
		reports = append(reports, err)
		time.AfterFunc(50*time.Millisecond, stop)
	}
	err := Stand(ctx, Options{Min: 1, Now: time.Now, Warn: report}, time.Millisecond, out)
	if err != nil || len(reports) != 1 || reports[0].Error() != "a snapshot takes longer than 1ms: beats are skipped" {
		t.Errorf("%v; reported %v", err, reports)
	}
}

// Each snapshot has the host name of its time.
func TestStandingReadsHostNameAgain(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	n, seen := 0, ""
	name := func() string { n++; return fmt.Sprint("host", n) }
	out := writerFunc(func(p []byte) (int, error) {
		if seen += string(p); strings.Contains(seen, "Z,host3,") {
			stop()
		}
		return len(p), nil
	})
	o := Options{Min: 1, NodeName: name, Now: time.Now, Report: func(error) {}, Warn: func(error) {}}
	if err := Stand(ctx, o, time.Millisecond, out); err != nil || !strings.Contains(seen, "Z,host1,") || !strings.Contains(seen, "Z,host2,") {
		t.Errorf("%v; %.300q", err, seen)
	}
}

// The beat doesn't drift: late as a wait may be, the next is counted from the first.
func TestBeat(t *testing.T) {
	start := time.Now()
	b := newBeat(20 * time.Millisecond)
	for range 10 {
		time.Sleep(3 * time.Millisecond)
		b.wait(context.Background())
	}
	if since := b.next.Sub(start); since.Round(time.Millisecond)%(20*time.Millisecond) > time.Millisecond {
		t.Errorf("the next beat is %s after the start", since)
	}
}

func TestStandingRaisesItsPriority(t *testing.T) {
	for _, args := range []string{"--every 1s", "--every 1s --no-realtime"} {
		cmd, out, _ := procstat(t, args, nil)
		snapshot(t, out)
		snapshot(t, out)
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
		if err != nil || len(threads) < 16 {
			t.Errorf("%s: %d threads, %v", args, len(threads), err)
		}
		for _, thread := range threads {
			var tid int
			fmt.Sscan(thread.Name(), &tid)
			attr, err := unix.SchedGetAttr(tid, 0)
			want := uint32(unix.SCHED_RR)
			if strings.Contains(args, "no-realtime") || os.Geteuid() != 0 {
				want = unix.SCHED_NORMAL
			}
			if err == nil && attr.Policy != want {
				t.Errorf("%s: thread %d has policy %d; want %d", args, tid, attr.Policy, want)
			}
		}
		cmd.Process.Kill()
	}
}

func TestNameCache(t *testing.T) {
	now := time.Now()
	n := nameCache{now: func() time.Time { return now }}
	if got, err := n.byUIDs([]uint32{0, 4242424242}); got[0].Name != "root" || len(got) != 1 || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	n.known[0] = account.Account{Name: "remembered"}
	n.known[4242424242] = account.Account{Name: "remembered too"}
	if got, _ := n.byUIDs([]uint32{0, 4242424242}); got[0].Name != "remembered" || len(got) != 2 {
		t.Errorf("%v", got)
	}
	now = now.Add(namesLast + time.Second)
	if got, _ := n.byUIDs([]uint32{0, 4242424242}); got[0].Name != "root" || len(got) != 1 {
		t.Errorf("ten minutes later: %v", got)
	}
}

func TestOnChange(t *testing.T) {
	n := 0
	report := onChange(func(error) { n++ })
	for _, text := range []string{"a", "a", "b", "b", "a"} {
		report(errors.New(text))
	}
	if n != 3 {
		t.Errorf("reported %d times", n)
	}
}

// Metrics that can't be written hold up no snapshot, and are written when they can.
func TestStandingWithMetrics(t *testing.T) {
	path := t.TempDir() + "/x.prom"
	lock, err := os.Create(path + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	if err := trusted.Lock(lock, time.Second); err != nil {
		t.Fatal(err)
	}
	cmd, out, problems := procstat(t, "--every 100ms --host moscow --metrics "+path, nil)
	for range 6 {
		snapshot(t, out)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("written while another had the lock")
	}
	lock.Close()
	stamp := func() string {
		text, _ := os.ReadFile(path)
		_, stamp, _ := strings.Cut(string(text), "\nstormcheck_scan_timestamp_seconds")
		return stamp
	}
	for before := range 2 { // the file comes, and is written again
		for old, deadline := stamp(), time.Now().Add(time.Minute); stamp() == old; snapshot(t, out) {
			if time.Now().After(deadline) {
				t.Fatalf("file %d isn't written", before+1)
			}
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	io.Copy(io.Discard, out)
	cmd.Wait()
	if want := path + ": not written yet: a snapshot is left out\n"; strings.Count(problems.String(), want) != 1 {
		t.Errorf("said %q; want once %q", problems, want)
	}
}
