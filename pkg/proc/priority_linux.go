package proc

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// AtNormalPriority calls start, which makes a child, so that the child doesn't
// inherit a raised priority: the pipe may run above all else so as to get through
// a storm, the mail system needn't. On Linux priority belongs to the thread.
func AtNormalPriority(start func() error) error { return at(0, start) }

// AtSharedPriority calls work, which may need the processor for long: if the priority
// is raised, at nice -20, the most that still leaves others their share.
func AtSharedPriority(work func() error) error { return at(-20, work) }

// at calls do with the thread at a nice value, if its priority is raised.
func at(nice int32, do func() error) error {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || !isRaised(own) {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.SchedSetAttr(0, normal(nice), 0) == nil {
		defer func() { _ = unix.SchedSetAttr(0, own, 0) }()
	}
	return do()
}

// Briefly calls work that somebody else can make long. If this thread is at real-time
// priority, and work has used the processor for longer than most, the rest of it runs at
// nice -20, even within a system call. Then the thread has its priority again.
func Briefly(most time.Duration, work func()) {
	own, err := unix.SchedGetAttr(0, 0)
	if err != nil || !isRealtime(own.Policy) {
		work()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid, over, watched := unix.Gettid(), make(chan struct{}), make(chan struct{})
	end := used(tid) + most
	go func() {
		defer close(watched)
		look := time.NewTimer(most)
		defer look.Stop()
		for {
			select {
			case <-over:
				return
			case <-look.C:
			}
			left := end - used(tid)
			if left <= 0 {
				left = most // work may raise it again
				if now, err := unix.SchedGetAttr(tid, 0); err == nil && isRealtime(now.Policy) {
					_ = unix.SchedSetAttr(tid, normal(-20), 0)
				}
			}
			look.Reset(max(left, time.Millisecond)) // the thread can't reach end before
		}
	}()
	defer func() {
		close(over)
		<-watched
		_ = unix.SchedSetAttr(0, own, 0)
	}()
	work()
}

// used returns how long a thread of this process has used the processor, by its clock. For
// the clock's number see CPUCLOCK_PERTHREAD_MASK in Linux's
// include/linux/posix-timers_types.h.
func used(tid int) time.Duration {
	const perThread, scheduler = 4, 2
	var now unix.Timespec
	_ = unix.ClockGettime(int32(^tid<<3|perThread|scheduler), &now) // the clock exists as long as the thread
	return time.Duration(now.Nano())
}

// normal is a new value for each call: SchedSetAttr writes to its argument.
func normal(nice int32) *unix.SchedAttr {
	return &unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: nice}
}

func isRaised(a *unix.SchedAttr) bool { return a.Nice < 0 || isRealtime(a.Policy) }

func isRealtime(policy uint32) bool { return policy == unix.SCHED_FIFO || policy == unix.SCHED_RR }

// RaisePriority puts all threads of this process, and those that they start, above
// everybody else's: at the lowest real-time priority, or at nice -20 where that isn't
// allowed. Where neither is, nothing changes. A real-time process that always has work would
// lock up the machine: the caller has to wait for something now and then.
func RaisePriority() {
	raise(0) // the one that is needed first: all else may take a storm's while
	eachThread(raise)
}

// NormalPriority puts all threads of this process, and those that they start, back to
// normal priority, if it was started at a raised one. A positive nice value stays.
func NormalPriority() {
	eachThread(func(tid int) {
		if now, err := unix.SchedGetAttr(tid, 0); err == nil && isRaised(now) {
			kernels, _ := unix.Getpriority(unix.PRIO_PROCESS, tid) // 20 less nice, see getpriority(2)
			_ = unix.SchedSetAttr(tid, normal(max(0, 20-int32(kernels))), 0)
		}
	})
}

// eachThread passes all threads of this process to do, which sets the priority of one:
// the threads that it starts then have the same. The thread IDs of a /proc that belongs to
// another PID namespace would be strangers' here.
func eachThread(do func(tid int)) {
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return
	}
	done := map[int]bool{}
	for more := true; more; { // until no thread has come meanwhile from one that wasn't done
		more = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil || done[tid] {
				continue
			}
			done[tid], more = true, true
			do(tid)
		}
	}
}

// raise raises one thread, unless it has been put as high before.
func raise(tid int) {
	if now, err := unix.SchedGetAttr(tid, 0); err == nil && isRealtime(now.Policy) {
		return
	}
	realtime := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if unix.SchedSetAttr(tid, realtime, 0) != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, tid, -20)
	}
}

// LockMemory keeps what this process has in memory, and will have, from being put
// aside, page by page as it is used: all at once a Go program would be 46 MB. It does
// so only where no limit binds, for past that limit memory would be refused.
func LockMemory() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && (limit.Cur == unix.RLIM_INFINITY || capable(unix.CAP_IPC_LOCK)) {
		_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
}

// capable reports whether this process has a capability, capabilities(7).
func capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[capability/32].Effective&(1<<(capability%32)) != 0
}

// WithoutNetAdmin calls start, which makes a child, so that the child can't have
// CAP_NET_ADMIN: it is taken from the bounding set, and CAP_SETPCAP, which that takes,
// with it. A thread can't get them back, so it is always the same one.
func WithoutNetAdmin(start func() error) error {
	if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_NET_ADMIN, 0, 0, 0); err == nil && has == 0 {
		return start()
	}
	done := make(chan error)
	bounded() <- func() { done <- start() }
	return <-done
}

// bounded returns what the thread calls whose children lack CAP_NET_ADMIN.
var bounded = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for _, capability := range []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SETPCAP} {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0) // not allowed without CAP_SETPCAP
		}
		for call := range calls {
			call()
		}
	}()
	return calls
})

// SurviveOOM makes the kernel choose others when memory has run out, where it is
// allowed to: proc_pid_oom_score_adj(5). Children inherit that.
func SurviveOOM() {
	if fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		_, _ = unix.Write(fd, []byte("-1000"))
		unix.Close(fd)
	}
}

// MakeThreads makes the threads that the Go runtime may want later, and lets no more
// than half of them run at a time, however many processors there are. In a storm there
// may be no free slot in the process table for one, and a Go program that can't have a
// thread dies.
func MakeThreads() {
	const enough = 16
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), enough/2))
	var all, idle sync.WaitGroup
	all.Add(enough)
	idle.Add(enough)
	for range enough {
		go func() {
			defer idle.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait() // so that none serves two
		}()
	}
	idle.Wait() // a thread that is still locked serves nobody else
}
