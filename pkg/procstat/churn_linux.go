package procstat

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// What a churn remembers. It forgets the names of processes that have ended, and nobody
// can make it grow.
const (
	churnWindow   = 60      // seconds that the column started is about
	churnSlots    = 1 << 16 // processes
	churnNames    = 4096    // pairs of a uid and a name
	churnNamesUID = 512     // of one uid
	churnReads    = 300     // names that are read a second
	churnBurst    = 30      // names that are read at once
	churnKept     = 10      // of them, those that are kept for parents: without one a start isn't counted
	churnPause    = time.Millisecond
	churnRoom     = 8 << 20                // bytes of events that wait: some 30,000
	churnDrained  = 250 * time.Millisecond // how often those are received that nothing waits for
)

// churnApart says that execs are received on their own if the kernel can separate them: a
// variable for tests.
var churnApart = true

// A churnKey is a pair of a uid and a name: 15 bytes and a NUL at most.
type churnKey struct {
	uid  uint32
	comm [16]byte
}

func (k *churnKey) name() string {
	n := 0
	for n < len(k.comm) && k.comm[n] != 0 {
		n++
	}
	return string(k.comm[:n])
}

// A churnName counts the processes that were started under one name.
type churnName struct {
	churnKey
	used   bool
	age    uint32              // changes when the place is used for another name
	total  uint32              // of the window
	second [churnWindow]uint32 // by second modulo churnWindow

	// Of those, processes that then ran another program whose name wasn't read; and which
	// names were read last.
	unread       uint32
	unreadSecond [churnWindow]uint32
	read         uint32
	sample       [128]uint16

	// The parent of most of them, by the majority vote of Boyer and Moore.
	parent, votes int32
}

// A churnProcess is a process that was seen. A later one with the same place takes it.
type churnProcess struct {
	pid    int32
	parent int32
	name   uint16 // index of its churnName
	age    uint32 // of that one
	second uint32 // in which it was started; 0 if before
}

// A churn counts the processes that are started, by the kernel's process events.
type churn struct {
	table *proc.Table

	// A program's name can be read only until it ends, so execs are received at once. All
	// other events wait until an exec comes, a snapshot is taken or some time has passed,
	// because waking up costs the most. Before Linux 6.6 the kernel can't separate them, and
	// urgent receives all.
	urgent *proc.Events
	others *proc.Events // nil: urgent receives them
	ending chan struct{}
	ended  sync.WaitGroup // for the goroutines that receive

	mutex     sync.Mutex
	processes [churnSlots]churnProcess
	names     [churnNames]churnName
	free      []uint16
	index     map[churnKey]uint16
	ofUID     map[uint32]int
	second    uint64  // to which all windows have been moved
	forgot    uint64  // in which names were forgotten last
	reads     float64 // names that may be read now
	readAt    time.Time
	forks     uint64 // events of processes and threads
	base      uint64 // /proc/stat's count when they began
	lost      bool   // the kernel had no room for some, which aren't counted yet
	missed    uint64 // events that were lost and not reported yet
	of        uint64 // so many
	estimated bool
}

// newChurn subscribes to process events, of which so many bytes may wait, and receives them
// from then on.
func newChurn(table *proc.Table, room int) (*churn, error) {
	c := &churn{
		table: table, ending: make(chan struct{}),
		index: make(map[churnKey]uint16, 2*churnNames), ofUID: make(map[uint32]int, churnNames),
	}
	for i := range c.names {
		c.free = append(c.free, uint16(churnNames-1-i))
	}
	if err := c.subscribe(room); err != nil {
		if c.others != nil {
			c.others.Close()
		}
		return nil, err
	}
	var err error
	if c.base, err = table.Forks(); err == nil {
		err = table.Scan(func(_ int, p *proc.Process) {
			k := churnKey{uid: p.UID}
			copy(k.comm[:15], p.Comm)
			c.mutex.Lock()
			defer c.mutex.Unlock()
			c.put(p.PID, k, p.PPID, 0)
		})
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.ended.Add(1)
	go c.receive()
	if c.others != nil {
		c.ended.Add(1)
		go c.drainRegularly()
	}
	return c, nil
}

// subscribe subscribes to execs last, so that the start of whatever is executed is known.
func (c *churn) subscribe(room int) (err error) {
	const rest = proc.EventFork | proc.EventUID | proc.EventComm
	if c.others, err = proc.OpenEvents(room, rest); err != nil {
		return err
	}
	if churnApart && c.others.Filtered {
		c.urgent, err = proc.OpenEvents(room, proc.EventExec)
	} else {
		c.others.Close()
		c.others = nil
		c.urgent, err = proc.OpenEvents(room, rest|proc.EventExec)
	}
	if err == nil {
		err = c.urgent.Watch()
	}
	return err
}

// close ends the receiving.
func (c *churn) close() {
	close(c.ending)
	c.urgent.Close() // which ends a Read
	c.ended.Wait()
	if c.others != nil {
		c.others.Close()
	}
}

// receive receives urgent events as they come.
func (c *churn) receive() {
	defer c.ended.Done()
	lock := func() {
		c.mutex.Lock()
		c.drain() // what came before
	}
	var last time.Time
	for {
		more, err := c.urgent.Read(c.take, lock, c.mutex.Unlock)
		lost := errors.Is(err, proc.ErrEventsLost)
		if err != nil && !lost {
			return
		}
		if time.Since(last) < churnPause && !more {
			proc.Pause(churnPause) // more come at once then, and each costs less
		}
		last = time.Now()
		c.mutex.Lock()
		if c.lost = c.lost || lost; c.lost && !more {
			c.countLoss() // now that none waits
		}
		c.mutex.Unlock()
	}
}

// drainRegularly keeps events that nothing waits for from filling their room.
func (c *churn) drainRegularly() {
	defer c.ended.Done()
	tick := time.NewTicker(churnDrained)
	defer tick.Stop()
	for {
		select {
		case <-c.ending:
			return
		case <-tick.C:
		}
		c.mutex.Lock()
		if c.drain(); c.lost {
			c.countLoss() // now that none waits
		}
		c.mutex.Unlock()
	}
}

// drain receives the events that nothing waits for. mutex is held.
func (c *churn) drain() {
	if c.others == nil {
		return
	}
	for errors.Is(c.others.Drain(c.take), proc.ErrEventsLost) {
		c.lost = true
	}
}

// take counts one event.
func (c *churn) take(e *proc.Event) {
	c.move(e.Second)
	switch {
	case e.Kind == proc.EventFork:
		c.forks++
		if !e.Thread {
			c.fork(e)
		}
	case e.Thread:
	case e.Kind == proc.EventExec:
		c.exec(e.PID)
	case e.Kind == proc.EventUID, e.Kind == proc.EventComm:
		p := c.find(e.PID)
		if p == nil {
			return
		}
		k := c.names[p.name].churnKey
		if e.Kind == proc.EventUID {
			k.uid = e.UID
		} else {
			k.comm = [16]byte{}
			copy(k.comm[:15], e.Comm)
		}
		c.rename(p, k)
	}
}

// move moves all windows to a second.
func (c *churn) move(second uint64) {
	if c.second == 0 || second > c.second+churnWindow {
		c.second = max(c.second, second-min(second, churnWindow))
	}
	for ; c.second < second; c.second++ {
		at := (c.second + 1) % churnWindow
		for i := range c.names {
			n := &c.names[i]
			n.total -= n.second[at]
			n.unread -= n.unreadSecond[at]
			n.second[at], n.unreadSecond[at] = 0, 0
		}
	}
}

// fork counts a new process under its parent's name.
func (c *churn) fork(e *proc.Event) {
	parent := c.find(e.Parent)
	if parent == nil { // it has ended, or another has taken its place
		var k churnKey
		ok := c.mayRead(0) && c.table.CommOf(e.Parent, &k.comm)
		if ok {
			k.uid, ok = c.table.UIDOf(e.Parent)
		}
		if !ok {
			return
		}
		if parent = c.put(e.Parent, k, 0, 0); parent == nil {
			return
		}
	}
	name := parent.name
	p := &c.processes[uint(e.PID)%churnSlots]
	*p = churnProcess{pid: int32(e.PID), parent: int32(e.Parent), name: name, age: c.names[name].age, second: uint32(e.Second)}
	c.count(name, p, 1)
}

// count adds n to a name's second in which a process was started.
func (c *churn) count(name uint16, p *churnProcess, n int32) {
	if !c.isRecent(p) {
		return
	}
	to := &c.names[name]
	to.second[p.second%churnWindow] += uint32(n)
	to.total += uint32(n)
	switch {
	case n < 0:
	case to.votes == 0 || to.parent == p.parent:
		to.parent = p.parent
		to.votes++
	default:
		to.votes--
	}
}

// isRecent reports whether a process was started in the window.
func (c *churn) isRecent(p *churnProcess) bool {
	return p.second > 0 && uint64(p.second)+churnWindow > c.second
}

// exec reads the new name of a process that runs another program.
func (c *churn) exec(pid int) {
	p := c.find(pid)
	if p == nil {
		return
	}
	from := &c.names[p.name]
	if !c.mayRead(churnKept) {
		if c.isRecent(p) {
			from.unread++
			from.unreadSecond[p.second%churnWindow]++
			c.estimated = true
		}
		return
	}
	k := from.churnKey // an event says if it gets another uid
	if c.table.CommOf(pid, &k.comm) {
		c.rename(p, k)
	}
	if c.isRecent(p) {
		from.sample[from.read%uint32(len(from.sample))] = p.name
		from.read++
	}
}

// mayRead reports whether one more name may be read now, and so many are kept.
func (c *churn) mayRead(kept float64) bool {
	now := time.Now()
	c.reads = min(churnBurst, c.reads+churnReads*now.Sub(c.readAt).Seconds())
	c.readAt = now
	if c.reads < 1+kept {
		return false
	}
	c.reads--
	return true
}

// rename counts a process under another name. If there is no place for the name it stays
// where it is.
func (c *churn) rename(p *churnProcess, k churnKey) {
	if c.names[p.name].churnKey == k {
		return
	}
	name, ok := c.place(k)
	if !ok {
		return
	}
	c.count(p.name, p, -1)
	p.name, p.age = name, c.names[name].age
	c.count(name, p, 1)
}

// find returns a process whose name is known.
func (c *churn) find(pid int) *churnProcess {
	p := &c.processes[uint(pid)%churnSlots]
	if int(p.pid) != pid || p.age != c.names[p.name].age || !c.names[p.name].used {
		return nil
	}
	return p
}

// put notes a process that was there before.
func (c *churn) put(pid int, k churnKey, parent int, second uint32) *churnProcess {
	name, ok := c.place(k)
	if !ok {
		return nil
	}
	p := &c.processes[uint(pid)%churnSlots]
	*p = churnProcess{pid: int32(pid), parent: int32(parent), name: name, age: c.names[name].age, second: second}
	return p
}

// place returns the place of a name, a new one if there is one for its uid.
func (c *churn) place(k churnKey) (name uint16, ok bool) {
	if name, ok = c.index[k]; ok {
		return name, true
	}
	if len(c.free) == 0 || c.ofUID[k.uid] >= churnNamesUID {
		c.forget()
	}
	if len(c.free) == 0 || c.ofUID[k.uid] >= churnNamesUID {
		return 0, false
	}
	name, c.free = c.free[len(c.free)-1], c.free[:len(c.free)-1]
	n := &c.names[name]
	*n = churnName{churnKey: k, used: true, age: n.age}
	c.index[k] = name
	c.ofUID[k.uid]++
	return name, true
}

// forget frees the places of names under which nothing was started, once a second at
// most: whoever takes all places mustn't take the time too. Processes that have such a
// name are looked up again when they start one.
func (c *churn) forget() {
	if c.forgot == c.second {
		return
	}
	c.forgot = c.second
	for i := range c.names {
		n := &c.names[i]
		if !n.used || n.total > 0 {
			continue
		}
		delete(c.index, n.churnKey)
		if c.ofUID[n.uid]--; c.ofUID[n.uid] == 0 {
			delete(c.ofUID, n.uid)
		}
		n.used = false
		n.age++
		c.free = append(c.free, uint16(i))
	}
}

// A startedCount is what was started under a name.
type startedCount struct {
	count  int64
	parent rows.Parentage
}

// started returns what was started in the last minute, by uid and name.
func (c *churn) started(report func(error)) map[key]startedCount {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.drain()
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	c.move(uint64(now.Sec))
	totals := make([]float64, churnNames)
	for i := range c.names {
		c.share(totals, &c.names[i], i)
	}
	found := map[key]startedCount{}
	for i := range c.names {
		n := &c.names[i]
		if total := int64(totals[i] + 0.5); n.used && total > 0 {
			found[key{uid: n.uid, name: n.name()}] = startedCount{total, c.parentage(n, total)}
		}
	}
	if c.estimated {
		report(fmt.Errorf("more than %d programs started a second: their names are estimated from as many", churnReads))
		c.estimated = false
	}
	c.reportLoss(report)
	return found
}

// share adds what was started under a name to totals. Of those that ran another program
// whose name wasn't read, each name that was read gets its share.
func (c *churn) share(totals []float64, n *churnName, i int) {
	totals[i] += float64(n.total)
	samples := min(int(n.read), len(n.sample))
	if n.unread == 0 || samples == 0 {
		return
	}
	// Of the count that is left under this name, as many as weren't read.
	away := min(float64(n.total), float64(n.unread))
	totals[i] -= away
	for _, name := range n.sample[:samples] {
		to := int(name)
		if !c.names[to].used {
			to = i
		}
		totals[to] += away / float64(samples)
	}
}

func (c *churn) parentage(n *churnName, total int64) rows.Parentage {
	if n.votes <= 0 {
		return rows.Parentage{}
	}
	name := ""
	if p := c.find(int(n.parent)); p != nil {
		name = c.names[p.name].name()
	}
	return rows.Parentage{Count: min(int64(n.votes), total), PID: int64(n.parent), Name: rows.EscapeName(name)}
}

// countLoss counts the events that were lost, by the kernel's own count of processes and
// threads.
func (c *churn) countLoss() {
	c.drain()
	all, err := c.table.Forks()
	if err != nil {
		return // and is tried again
	}
	c.lost = false
	if all > c.base+c.forks {
		c.missed += all - c.base - c.forks
		c.of += all - c.base
	}
	c.base, c.forks = all, 0
}

// reportLoss reports how many events were lost.
func (c *churn) reportLoss(report func(error)) {
	if c.lost { // so many come that some always wait
		c.countLoss()
	}
	if c.missed > 0 {
		report(fmt.Errorf("%d of %d process events were lost: started is too small", c.missed, c.of))
	}
	c.missed, c.of = 0, 0
}
