package first

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The thread that calls main is raised, if that is allowed, by no more than an import.
func TestFirstThreadIsRaised(t *testing.T) {
	allowed := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if err := unix.SchedSetAttr(0, allowed, 0); err != nil {
		t.Skip("not allowed: ", err)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	// proc_pid_stat(5): behind the name, from the third field on; the 40th is the
	// priority, the 41st the policy.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if priority, policy := fields[40-3], fields[41-3]; priority != "1" || policy != "2" {
		t.Errorf("priority %s of policy %s; want 1 of 2, SCHED_RR", priority, policy)
	}
}
