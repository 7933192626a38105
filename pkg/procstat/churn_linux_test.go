package procstat

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/proc"
)

// newCount returns a churn that receives nothing, with a parent, PID 7.
func newCount(t *testing.T) (*churn, *proc.Table) {
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

// A real loop of short-lived processes has its number, under their own name.
func TestChurnOfRealProcesses(t *testing.T) {
	events, err := proc.OpenEvents()
	if err != nil {
		t.Skip(err)
	}
	events.Close()
	cmd, out, problems := procstat(t, "--every 200ms --churn --no-realtime --host h --min 20", nil)
	snapshot(t, out)
	snapshot(t, out)
	const loops = 30 // in less than a minute, on a busy machine too
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
	if text, err := exec.Command("sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s 0.05; i=$((i + 1)); done", loops, program)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for _, row := range snapshot(t, out) {
			cells := strings.Split(strings.TrimSpace(row), ",")
			if cells[4] == churned && cells[5] == "0" && cells[11] == fmt.Sprint(loops) && strings.HasPrefix(cells[9], fmt.Sprint(loops, ":")) {
				cmd.Process.Kill()
				return
			}
			if cells[4] == churned {
				t.Log(row)
			}
		}
		if time.Now().After(end.Add(-30 * time.Second)) {
			break
		}
	}
	t.Errorf("not %d of them in any snapshot; %s", loops, problems)
}

// In a PID namespace there are no events: there is one line, an empty column, and everything else.
func TestChurnWithoutEvents(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a PID namespace")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", append(testproc.Unshare(), self)...)
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
	if len(rows) == 0 || !strings.HasSuffix(rows[0], "Z,\n") || strings.Count(problems.String(), "\n") != 1 || !strings.HasSuffix(problems.String(), "the column started is empty\n") {
		t.Errorf("%q, said %q", rows, problems.String())
	}
}
