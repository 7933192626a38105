//go:build linux

package cmd_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
)

// must ends a helper that can't do its work.
func must(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

// crowd UID NAME COUNT SECONDS [TITLE] starts COUNT processes called NAME, a Go string
// literal without its quotes, under UID, prints their PIDs when all are ready, and reaps
// them. They end by themselves after SECONDS. Their title is TITLE after "victim NAME
// SECONDS ".
func crowd() {
	uid, err := strconv.Atoi(os.Args[1])
	must(err)
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	ready, notify, err := os.Pipe()
	must(err)
	var all []*exec.Cmd
	for range count {
		cmd := exec.Command("/proc/self/exe", append([]string{os.Args[2], os.Args[4]}, os.Args[5:]...)...) // whose path need not be open to uid
		cmd.Args[0] = "victim"
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = []*os.File{notify}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		}
		must(cmd.Start())
		all = append(all, cmd)
	}
	notify.Close()
	for range all {
		_, err := ready.Read(make([]byte, 1))
		must(err)
	}
	for _, cmd := range all {
		fmt.Println(cmd.Process.Pid)
	}
	os.Stdout.Close()
	for _, cmd := range all {
		_ = cmd.Wait()
	}
}

// victim NAME SECONDS [TITLE] takes the name, signals crowd, and sleeps.
func victim() {
	name, err := strconv.Unquote(`"` + os.Args[1] + `"`)
	seconds, err2 := strconv.Atoi(os.Args[2])
	if err != nil || err2 != nil {
		os.Exit(1)
	}
	// The NUL makes an empty name one that is written too.
	if err := os.WriteFile("/proc/self/comm", []byte(name+"\x00"), 0); err != nil {
		os.Exit(1)
	}
	notify := os.NewFile(3, "ready")
	_, _ = notify.Write([]byte{1})
	notify.Close()
	time.Sleep(time.Duration(seconds) * time.Second)
}

// deaf TYPE PATH SECONDS listens on a socket in the place of /dev/log, and reads
// nothing. It prints a line when the queue of a socket of type unixgram is full; one of
// type unix takes connections. It ends by itself after SECONDS.
func deaf() {
	kind, path := os.Args[1], os.Args[2]
	seconds, err := strconv.Atoi(os.Args[3])
	must(err)
	if kind == "unix" {
		_, err := net.Listen(kind, path)
		must(err)
	} else {
		address := &net.UnixAddr{Name: path, Net: kind}
		_, err := net.ListenUnixgram(kind, address)
		must(err)
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		must(err)
		must(unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
		for err == nil {
			_, err = unix.Write(fd, []byte("nobody reads this"))
		}
		if err != unix.EAGAIN {
			must(err)
		}
	}
	fmt.Println("deaf")
	time.Sleep(time.Duration(seconds) * time.Second)
}

// pendingStop is the line of a process's status while SIGSTOP, 19, waits for it to run.
var pendingStop = regexp.MustCompile(`\nShdPnd:\t[0-9a-f]{11}[4-7c-f]`)

// pounce UID PID... kills the processes PID when a process of UID has been stopped, and
// prints how many of some of them are stopped then: none if it was too late. It runs
// above killstorm, and waits a minute at most.
func pounce() {
	uid := os.Args[1]
	var pids []int
	for _, arg := range os.Args[2:] {
		pid, err := strconv.Atoi(arg)
		must(err)
		pids = append(pids, pid)
	}
	var victims []string
	all, err := filepath.Glob("/proc/[0-9]*")
	must(err)
	for _, dir := range all {
		if info, err := os.Stat(dir); err == nil && strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Uid)) == uid {
			victims = append(victims, dir+"/status")
		}
	}
	isStopped := func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && (bytes.Contains(text, []byte("\nState:\tT")) || pendingStop.Match(text))
	}
	proc.RaisePriority()
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 2}
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, attr, 0) // without it it may be late, and prints 0
	fmt.Println("waits")
	victims = victims[:min(50, len(victims))]
	isGone := func(path string) bool { _, err := os.ReadFile(path); return err != nil }
	for deadline := time.Now().Add(time.Minute); !slices.ContainsFunc(victims, isStopped) && time.Now().Before(deadline); time.Sleep(100 * time.Microsecond) {
		if isGone(victims[0]) {
			break // too late
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	stopped := 0
	for _, path := range victims {
		if isStopped(path) {
			stopped++
		}
	}
	fmt.Println(stopped)
}
