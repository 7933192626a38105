package testproc

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Denied runs f where the kernel answers system call nr with errno, as in a container
// with a filter, or on an old kernel. What f starts gets the same answer. The error is
// that no filter could be made; f has not run then.
func Denied(nr uint32, errno unix.Errno, f func()) error {
	return Filtered([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number, seccomp(2)
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}, f)
}

// Filtered runs f on a thread with a filter for system calls, which what f starts gets
// too.
func Filtered(program []unix.SockFilter, f func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its filter
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER,
				uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})), 0, 0)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}
