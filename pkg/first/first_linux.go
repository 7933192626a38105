package first

import (
	"syscall"
	"unsafe"
)

// Policies of sched(7).
const (
	other      = 0
	roundRobin = 2
)

// The thread that initialises packages is the one that calls main; threads that it
// starts inherit its priority.
func init() {
	if policy, _, _ := syscall.RawSyscall(syscall.SYS_SCHED_GETSCHEDULER, 0, 0, 0); policy == other {
		priority := int32(1)
		syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, 0, roundRobin, uintptr(unsafe.Pointer(&priority)))
	}
}
