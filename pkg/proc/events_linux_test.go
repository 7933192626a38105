package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Linux 6.6 and later send only the kinds of events that were asked for: each other one
// would wake whoever waits.
func TestOnlyKindsThatWereAskedFor(t *testing.T) {
	events, err := OpenEvents(1<<20, EventExec)
	if err != nil {
		t.Skip(err)
	}
	defer events.Close()
	if !events.Filtered {
		var name unix.Utsname
		_ = unix.Uname(&name)
		var major, minor int
		_, _ = fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
		if major > 6 || major == 6 && minor >= 6 {
			t.Fatalf("Linux %d.%d sends all kinds", major, minor)
		}
		t.Skipf("Linux %d.%d sends all kinds", major, minor)
	}
	seen := map[EventKind]int{}
	var mine int // of this test's child
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); mine == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		err := events.Drain(func(e *Event) {
			seen[e.Kind]++
			if e.PID == cmd.Process.Pid {
				mine++
			}
		})
		if err != nil && !errors.Is(err, ErrEventsLost) {
			t.Fatal(err)
		}
	}
	delete(seen, eventAck)
	if mine != 1 || len(seen) != 1 {
		t.Errorf("%d execs of the child; by kind: %v", mine, seen)
	}
}
