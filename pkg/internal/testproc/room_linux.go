package testproc

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// LeaveNoRoom lets this program have no other process or thread, by RLIMIT_NPROC: for
// some time, or for ever if that is 0. It makes the threads first that proc.MakeThreads
// and the Go runtime can want.
func LeaveNoRoom(span time.Duration) error {
	var made sync.WaitGroup
	made.Add(40)
	for range 40 {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			made.Wait()
		}()
	}
	made.Wait()
	time.Sleep(100 * time.Millisecond) // until they are idle
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &before); err != nil {
		return err
	}
	err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: before.Max})
	if err == nil && span > 0 {
		time.AfterFunc(span, func() { _ = unix.Setrlimit(unix.RLIMIT_NPROC, &before) })
	}
	return err
}

// AsUser has root start a command under a uid, as no limit of processes binds root. The
// directory becomes that user's.
func AsUser(t *testing.T, cmd *exec.Cmd, uid int, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}
