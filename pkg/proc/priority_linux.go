package proc

import (
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// AtNormalPriority calls start, which makes a child, so that the child doesn't
// inherit a raised priority: the pipe may run above all else so as to get through
// a storm, the mail system needn't. On Linux priority belongs to the thread.
func AtNormalPriority(start func() error) error {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || own.Nice >= 0 && !isRealtime(own.Policy) {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	normal := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	if unix.SchedSetAttr(0, normal, 0) == nil {
		defer func() { _ = unix.SchedSetAttr(0, own, 0) }()
	}
	return start()
}

func isRealtime(policy uint32) bool { return policy == unix.SCHED_FIFO || policy == unix.SCHED_RR }

// RaisePriority puts all threads of this process, and those that they start, above
// everybody else's: at the lowest real-time priority, or where that isn't allowed at
// nice -20, or as it is. A real-time process that always has work would lock up the
// machine: the caller has to wait for something now and then.
func RaisePriority() {
	realtime := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	raised := map[int]bool{}
	for more := true; more; { // until no thread has come meanwhile from one that wasn't raised
		more = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil || raised[tid] {
				continue
			}
			raised[tid], more = true, true
			if unix.SchedSetAttr(tid, realtime, 0) != nil {
				_ = unix.Setpriority(unix.PRIO_PROCESS, tid, -20)
			}
		}
	}
}

// MakeThreads makes the threads that the Go runtime may want later. In a storm
// there may be no free slot in the process table for one, and a Go program that
// can't have a thread dies.
func MakeThreads() {
	const enough = 16
	var all sync.WaitGroup
	all.Add(enough)
	for range enough {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait() // so that none serves two
		}()
	}
	all.Wait()
}
