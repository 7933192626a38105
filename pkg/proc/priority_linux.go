package proc

import (
	"runtime"

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
