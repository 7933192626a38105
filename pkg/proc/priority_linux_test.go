package proc

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A child runs at normal priority however high its parent does, long work at nice -20,
// and the parent goes on as it was.
func TestAtLowerPriority(t *testing.T) {
	for _, attr := range []unix.SchedAttr{
		{Nice: 0}, {Nice: 5}, {Nice: -5}, {Policy: unix.SCHED_RR, Priority: 1}, {Policy: unix.SCHED_FIFO, Priority: 1},
	} {
		attr.Size = unix.SizeofSchedAttr
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
				t.Logf("%+v: %v", attr, err)
				return
			}
			// Fields 19 and 41 of proc_pid_stat(5): nice and scheduling policy.
			cmd := exec.Command("sh", "-c", `read -r stat </proc/self/stat; set -- $stat; shift 18; echo $1 ${23}`)
			var is bytes.Buffer
			cmd.Stdout = &is
			if err := AtNormalPriority(cmd.Start); err != nil {
				t.Error(err)
				return
			}
			want := "0 0\n"
			if attr.Nice > 0 {
				want = "5 0\n" // lowered on purpose
			}
			if err := cmd.Wait(); err != nil || is.String() != want {
				t.Errorf("%+v: the child runs at %q, %v", attr, is.String(), err)
			}
			shared := attr
			if attr.Nice < 0 || attr.Policy != unix.SCHED_NORMAL {
				shared = unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: -20}
			}
			_ = AtSharedPriority(func() error {
				now, err := unix.SchedGetAttr(0, 0)
				if err != nil || now.Nice != shared.Nice || now.Policy != shared.Policy {
					t.Errorf("%+v: long work at %+v, %v", attr, now, err)
				}
				return nil
			})
			after, err := unix.SchedGetAttr(0, 0)
			if err != nil || after.Nice != attr.Nice || after.Policy != attr.Policy || after.Priority != attr.Priority {
				t.Errorf("%+v: left at %+v, %v", attr, after, err)
			}
		}()
		<-done
	}
}

// Long work continues at nice -20, also if it raises itself again. Afterwards the thread
// has its priority again.
func TestBriefly(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		realtime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
		raise := func() error { again := realtime; return unix.SchedSetAttr(0, &again, 0) }
		if err := raise(); err != nil {
			t.Log(err)
			return
		}
		const most = 50 * time.Millisecond
		isRaised := func() bool {
			now, err := unix.SchedGetAttr(0, 0)
			if err == nil && now.Policy != unix.SCHED_RR && now.Nice != -20 {
				t.Errorf("at %+v", now)
			}
			return err == nil && now.Policy == unix.SCHED_RR
		}
		Briefly(most, func() {
			if !isRaised() {
				t.Error("lowered at once")
			}
			for range 2 {
				for begun := used(unix.Gettid()); isRaised(); {
					if used(unix.Gettid())-begun > 100*most { // a failure keeps the processor for 5 s at most
						t.Error("not lowered")
						return
					}
				}
				if err := raise(); err != nil {
					t.Error(err)
				}
			}
		})
		if !isRaised() {
			t.Error("not raised afterwards")
		}
		asleep := false
		Briefly(most, func() { time.Sleep(3 * most); asleep = isRaised() })
		if !asleep {
			t.Error("lowered while it slept")
		}
	}()
	<-done
}

// In a PID namespace whose /proc is another's, no thread's priority is set by its number.
func TestThreadsOfAnotherNamespace(t *testing.T) {
	const inside = "PROC_TEST_THREADS"
	if os.Getenv(inside) != "" {
		eachThread(func(tid int) { fmt.Println("sets", tid) })
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a PID namespace")
	}
	for flags, want := range map[uintptr]bool{0: true, syscall.CLONE_NEWPID: false} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestThreadsOfAnotherNamespace$")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "sets") != want {
			t.Errorf("with flags %#x: %v, %s", flags, err, out)
		}
	}
}
