package alertmail_test

import (
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNormalPriority: the mailer runs at normal priority and with default
// signals however high alertmail runs, and alertmail goes on as it was.
func TestNormalPriority(t *testing.T) {
	// Fields of proc(5)'s stat: nice and scheduling policy.
	o, dir := mailing(t, `read -r stat </proc/self/stat; set -- $stat; shift 18; echo $1 ${23} >is; grep SigIgn /proc/self/status >>is`)
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
			quiet(t, o, several)
			want := "0 0\n"
			if attr.Nice > 0 {
				want = "5 0\n" // lowered on purpose
			}
			if got := contents(t, dir, "is"); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\t0000000000000000\n") {
				t.Errorf("%+v: mailer runs at %q", attr, got)
			}
			after, err := unix.SchedGetAttr(0, 0)
			if err != nil || after.Nice != attr.Nice || after.Policy != attr.Policy || after.Priority != attr.Priority {
				t.Errorf("%+v: left at %+v, %v", attr, after, err)
			}
		}()
		<-done
	}
}
