package procstat

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/proc"
)

// newCount returns a churn that receives nothing, with a parent, PID 7.
func newCount(t testing.TB) (*churn, *proc.Table) {
	t.Helper()
	table := openTable(t)
	c := &churn{table: table, index: map[churnKey]uint16{}, ofUID: map[uint32]int{}}
	for i := range c.names {
		c.free = append(c.free, uint16(churnNames-1-i))
	}
	c.move(1000)
	c.put(7, named(1004, "loop"), 1, 0)
	return c, table
}

func named(uid uint32, comm string) churnKey {
	k := churnKey{uid: uid}
	copy(k.comm[:15], comm)
	return k
}

func (c *churn) totalOf(k churnKey) uint32 {
	if i, known := c.index[k]; known {
		return c.names[i].total
	}
	return 0
}

func TestChurnCounts(t *testing.T) {
	c, _ := newCount(t)
	for i := range 100 {
		c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: 7, PID: 2000 + i})
		c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: 7, PID: 7, Thread: true}) // never started
	}
	for i := range 10 { // these name themselves, and these change their uid
		c.take(&proc.Event{Kind: proc.EventComm, Second: 1001, PID: 2000 + i, Comm: []byte("worker")})
		c.take(&proc.Event{Kind: proc.EventUID, Second: 1001, PID: 2010 + i, UID: 1005})
	}
	if loop, worker, other := c.totalOf(named(1004, "loop")), c.totalOf(named(1004, "worker")), c.totalOf(named(1005, "loop")); loop != 80 || worker != 10 || other != 10 {
		t.Errorf("loop %d, worker %d, of another uid %d", loop, worker, other)
	}
	if c.forks != 200 {
		t.Errorf("%d forks of processes and threads", c.forks)
	}
	c.take(&proc.Event{Kind: proc.EventFork, Second: 1059, Parent: 7, PID: 5})
	if got := c.totalOf(named(1004, "loop")); got != 81 {
		t.Errorf("after 59 s: %d", got)
	}
	c.move(1060)
	if got := c.totalOf(named(1004, "loop")); got != 1 {
		t.Errorf("after 60 s: %d", got)
	}
	c.move(5000)
	if got := c.totalOf(named(1004, "loop")); got != 0 {
		t.Errorf("long after: %d", got)
	}
}

// Hostile names take no memory, and leave room for others.
func TestChurnIsBounded(t *testing.T) {
	c, _ := newCount(t)
	for uid := range uint32(3) {
		c.put(100+int(uid), named(uid, "parent"), 1, 0)
	}
	n := 0
	event, comm := &proc.Event{}, make([]byte, 3)
	took := testing.AllocsPerRun(20000, func() {
		*event = proc.Event{Kind: proc.EventFork, Second: uint64(1000 + n/5000), Parent: 100, PID: 1000 + n%30000}
		c.take(event)
		comm[0], comm[1], comm[2] = byte(n), byte(n>>8), byte(n>>16)
		*event = proc.Event{Kind: proc.EventComm, Second: uint64(1000 + n/5000), PID: 1000 + n%30000, Comm: comm}
		c.take(event)
		n++
	})
	if took > 0.1 || c.ofUID[0] > churnNamesUID || len(c.index) > churnNames {
		t.Errorf("%v allocations; %d names of one uid, %d in all", took, c.ofUID[0], len(c.index))
	}
	c.put(101, named(1, "parent"), 1, 0) // it may have been forgotten, and is read again
	c.take(&proc.Event{Kind: proc.EventFork, Second: 1005, Parent: 101, PID: 50000})
	c.take(&proc.Event{Kind: proc.EventComm, Second: 1005, PID: 50000, Comm: []byte("honest")})
	if c.totalOf(named(1, "honest")) != 1 {
		t.Error("another uid's name found no place")
	}
	var sum uint32
	for i := range c.names {
		sum += c.names[i].total
	}
	if int(sum) != n+1 {
		t.Errorf("%d counted of %d started", sum, n+1)
	}
}

// Names that weren't read are estimated from those that were.
func TestChurnEstimates(t *testing.T) {
	c, _ := newCount(t)
	loop := &c.names[c.index[named(1004, "loop")]]
	curl, _ := c.place(named(1004, "curl"))
	grep, _ := c.place(named(1004, "grep"))
	for i := range 900 {
		c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: 7, PID: 2000 + i})
	}
	loop.unread, loop.read = 600, 4
	copy(loop.sample[:], []uint16{curl, curl, curl, grep})
	totals := make([]float64, churnNames)
	for i := range c.names {
		c.share(totals, &c.names[i], i)
	}
	if totals[curl] != 450 || totals[grep] != 150 || totals[c.index[named(1004, "loop")]] != 300 {
		t.Errorf("curl %v, grep %v, loop %v", totals[curl], totals[grep], totals[c.index[named(1004, "loop")]])
	}
}

// Real processes that have ended have their number, under their own name. They live for
// seconds, so that a busy machine has the time to read it.
func TestChurnOfRealProcesses(t *testing.T) {
	events, err := proc.OpenEvents(churnRoom, proc.EventFork)
	if err != nil {
		t.Skip(err)
	}
	events.Close()
	cmd, out, problems := procstat(t, "--every 200ms --churn --no-realtime --host h --min 20", nil)
	snapshot(t, out)
	snapshot(t, out)
	const begun = 30
	dir := t.TempDir()
	churned := fmt.Sprint("churn", os.Getpid())
	program := dir + "/" + churned
	sleep, err := exec.LookPath("sleep")
	if err == nil {
		err = os.Symlink(sleep, program)
	}
	if err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s 3 & i=$((i + 1)); done; wait", begun, program)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var ended []string // the last row of them when none was left

	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); { // for a minute they are counted
		for _, row := range snapshot(t, out) {
			cells := strings.Split(strings.TrimSpace(row), ",")
			if cells[4] != churned || cells[5] != "0" {
				continue
			}
			if ended = cells; cells[11] == fmt.Sprint(begun) && strings.HasPrefix(cells[9], fmt.Sprint(begun, ":")) {
				return
			}
		}
	}
	cmd.Process.Kill()
	_ = cmd.Wait() // killed
	if strings.Contains(problems.String(), "estimated") && ended != nil {
		t.Skipf("this machine starts too many programs to read each one's name: %q", ended)
	}
	t.Errorf("not %d of them in any snapshot; the last is %q; %s", begun, ended, problems)
}

// A process with the number of one that has ended is another, and so is one that takes its
// place in the table.
func TestChurnOfReusedPIDs(t *testing.T) {
	c, _ := newCount(t)
	c.put(8, named(1005, "other"), 1, 0)
	fork := func(parent, pid int) {
		c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: parent, PID: pid})
	}
	comm := func(pid int, name string) {
		c.take(&proc.Event{Kind: proc.EventComm, Second: 1000, PID: pid, Comm: []byte(name)})
	}
	fork(7, 2000)
	comm(2000, "first")
	fork(8, 2000)
	comm(2000, "second")
	fork(7, 2000+churnSlots)
	comm(2000, "third") // it isn't known any more
	for _, k := range []churnKey{named(1004, "first"), named(1005, "second"), named(1004, "loop")} {
		if got := c.totalOf(k); got != 1 {
			t.Errorf("%d %s: %d", k.uid, k.name(), got)
		}
	}
	if len(c.index) != 4 {
		t.Errorf("%d names", len(c.index))
	}
}

// churnDay feeds names from hell, which no two processes share, for so many seconds, and
// sees that memory stays flat from a 24th of them on.
func churnDay(t testing.TB, seconds, renames int) {
	c, _ := newCount(t)
	c.move(c.second + 1<<30) // later than now, which started moves to
	from := c.second
	event, comm := &proc.Event{}, make([]byte, 15)
	random := rand.New(rand.NewPCG(1, 2))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	pid := 0
	for second := range seconds {
		for i := range renames {
			if pid = pid%4_000_000 + 1; pid%churnSlots == 7 {
				pid++ // their parent stays known
			}
			*event = proc.Event{Kind: proc.EventFork, Second: from + uint64(second), Parent: 7, PID: pid}
			c.take(event)
			for at := 0; at < len(comm); at += 8 {
				bits := random.Uint64()
				for j := at; j < min(at+8, len(comm)); j++ {
					comm[j] = byte(bits>>(8*(j-at))) | 1
				}
			}
			*event = proc.Event{Kind: proc.EventComm, Second: from + uint64(second), PID: pid, Comm: comm}
			c.take(event)
			if i%16 == 0 {
				*event = proc.Event{Kind: proc.EventExec, Second: from + uint64(second), PID: pid}
				c.take(event)
				*event = proc.Event{Kind: proc.EventUID, Second: from + uint64(second), PID: pid, UID: uint32(bits(pid))}
				c.take(event)
			}
		}
		if second%5 == 0 {
			var sum int64
			for _, s := range c.started(func(error) {}) {
				sum += s.count
			}
			if want := int64(min(second+1, churnWindow) * renames); sum < want*99/100 || sum > want*101/100 {
				t.Fatalf("after %d s: %d started, want %d", second, sum, want)
			}
		}
		if second == seconds/24 {
			before = heap()
		}
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("%d bytes after the first hour, %d at the end", before, after)
	}
	if len(c.index) > churnNames || len(c.ofUID) > churnNames {
		t.Errorf("%d names, %d uids", len(c.index), len(c.ofUID))
	}
	runtime.KeepAlive(c)
}

// bits makes a number of few different ones.
func bits(n int) int { return int(uint32(n) * 2654435761 % 5000) }

func TestChurnIsFlat(t *testing.T) { churnDay(t, 200, 1000) }

// 24 hours at 5,000 renames a second: go test -run ^$ -bench ChurnDay -benchtime 1x ./pkg/procstat
func BenchmarkChurnDay(b *testing.B) {
	for b.Loop() {
		churnDay(b, 24*60*60, 5000)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(24*60*60*5000), "ns/rename")
}

// However many programs are executed, a parent that isn't known can be looked up.
func TestChurnKeepsReadsForParents(t *testing.T) {
	c, _ := newCount(t)
	for i := range 100 {
		c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: 7, PID: 5_000_000 + i})
		c.take(&proc.Event{Kind: proc.EventExec, Second: 1000, PID: 5_000_000 + i})
	}
	if c.reads >= churnKept+2 {
		t.Errorf("%.0f reads are left: nothing was executed", c.reads)
	}
	c.take(&proc.Event{Kind: proc.EventFork, Second: 1000, Parent: os.Getpid(), PID: 5_000_200})
	if p := c.find(5_000_200); p == nil || int(p.parent) != os.Getpid() {
		t.Errorf("it isn't counted: %+v", p)
	}
}

// startChurn returns a churn of real events, of which so many bytes may wait.
func startChurn(t *testing.T, room int) *churn {
	t.Helper()
	c, err := newChurn(openTable(t), room)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(c.close)
	return c
}

// startedAs returns how many were started by a uid under a name.
func (c *churn) startedAs(uid int, name string) int64 {
	return c.started(func(error) {})[key{uid: uint32(uid), name: name}].count
}

// anyKernel runs a test with execs apart, and as a kernel before Linux 6.6 has it.
func anyKernel(t *testing.T, test func(*testing.T)) {
	defer func(was bool) { churnApart = was }(churnApart)
	for _, churnApart = range []bool{true, false} {
		t.Run(fmt.Sprintf("apart=%v", churnApart), test)
	}
}

// Events that the kernel had no room for are counted, and threads aren't lost.
func TestChurnCountsLostEvents(t *testing.T) { anyKernel(t, countsLostEvents) }

func countsLostEvents(t *testing.T) {
	c := startChurn(t, 1) // the least that the kernel gives: a few events
	const loops = 300
	name := fmt.Sprint("lost", os.Getpid())
	cmd := exec.Command("sh", "-c", fmt.Sprintf("printf %s >/proc/$$/comm; read go; i=0; while [ $i -lt %d ]; do (:); i=$((i + 1)); done", name, loops))
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.mutex.Lock() // nothing is received meanwhile
	fmt.Fprintln(in)
	err = cmd.Wait()
	c.mutex.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c.mutex.Lock()
		missed, of, counted := c.missed, c.of, uint64(c.totalOf(named(uint32(os.Geteuid()), name)))
		c.mutex.Unlock()
		if missed+counted >= loops && counted < loops && of >= loops {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d lost of %d, %d counted of %d", missed, of, counted, loops)
		}
	}
	var said string
	quiet, _ := newCount(t) // receives none meanwhile
	quiet.missed, quiet.of = 300, 400
	quiet.started(func(err error) { said += err.Error() + "\n" })
	quiet.started(func(err error) { said += err.Error() + "\n" })
	if want := "300 of 400 process events were lost: started is too small\n"; !strings.Contains(said, want) || strings.Count(said, "lost") != 1 {
		t.Errorf("said %q", said)
	}
}

// Threads are never started processes, and the kernel's count has them.
func TestChurnKnowsThreads(t *testing.T) {
	c := startChurn(t, churnRoom)
	const threads = 500
	c.mutex.Lock()
	before := c.forks
	c.mutex.Unlock()
	for range threads + 100 { // the first ones may get a thread that is there
		done := make(chan bool)
		go func() {
			runtime.LockOSThread() // it ends with its thread
			close(done)
		}()
		<-done
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c.mutex.Lock()
		got := c.forks - before
		c.mutex.Unlock()
		if got >= threads {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d threads seen of %d", got, threads)
		}
	}
	self, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.startedAs(os.Geteuid(), strings.TrimSpace(string(self))); got >= threads {
		t.Errorf("%d threads were counted as started", got)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.countLoss(); c.missed >= threads {
		t.Errorf("%d events are missed, though none is lost", c.missed)
	}
}

// A process counts for the uid that it takes, and under the name of its program.
func TestChurnOfChangedUIDs(t *testing.T) { anyKernel(t, countsChangedUIDs) }

func countsChangedUIDs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	const uid, begun = 60482, 5
	var c *churn
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c == nil {
			c = startChurn(t, churnRoom)
			script := fmt.Sprintf("for i in $(seq %d); do setpriv --reuid=%d --clear-groups sleep 3 & done; wait", begun, uid) // 3 s: a busy machine can read each name
			if text, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
		byName := map[string]int64{}
		var problem error
		for k, s := range c.started(func(err error) { problem = err }) {
			if k.uid == uid {
				byName[k.name] = s.count
			}
		}
		switch {
		case len(byName) == 1 && byName["sleep"] == begun:
			return
		case time.Now().After(end):
			t.Fatalf("of uid %d: %v, want %d sleep; reported %v", uid, byName, begun, problem)
		case problem != nil: // others have started too many programs: once more
			c = nil
		}
	}
}

// When no process and no thread can be started any more, at real-time priority, what
// others start is counted.
func TestChurnInAFullGroup(t *testing.T) {
	startChurn(t, churnRoom)
	group := testproc.NewGroup(t)
	cmd, out, problems := procstat(t, "--every 50ms --churn --host h --min 20", nil)
	snapshot(t, out)
	snapshot(t, out)
	group.Full(t, cmd.Process.Pid)
	name := fmt.Sprint("full", os.Getpid())
	if text, err := exec.Command("sh", "-c", fmt.Sprintf("printf %s >/proc/$$/comm; i=0; while [ $i -lt 100 ]; do (:); i=$((i + 1)); done", name)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for _, row := range snapshot(t, out) {
			if cells := strings.Split(strings.TrimSpace(row), ","); cells[4] == name && cells[11] == "101" /* and the shell */ {
				return
			}
		}
	}
	t.Errorf("not counted; %s", problems)
}

// In namespaces there are no events: there is one line, an empty column, and everything else.
func TestChurnWithoutEvents(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes namespaces")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"--pid", "--fork", "--kill-child", "--mount-proc"}, {"--net"},
		{"--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"}} {
		cmd := exec.Command("unshare", append(flags, self)...)
		cmd.Env = append(os.Environ(), "PROCSTAT_ARGS=--every 100ms --churn --no-realtime --host h", "GORACE=atexit_sleep_ms=10")
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		snapshot(t, in)
		rows := snapshot(t, in)
		cmd.Process.Kill()
		cmd.Wait()
		const want = "procstat: process events: the kernel has none for this namespace: the column started is empty\n"
		if len(rows) == 0 || !strings.HasSuffix(rows[0], "Z,\n") || unlessBusy(&problems) != want {
			t.Errorf("%v: %q, said %q", flags, rows, problems.String())
		}
	}
}
