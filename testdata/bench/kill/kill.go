// Package kill times killstorm beside what else ends a process storm:
//
//	setsid -w go run ./testdata/bench kill [RUNS [CASE]]
//	setsid -w go run ./testdata/bench cron [RUNS [CASE]]
//	go run ./testdata/bench many-cores [RUNS [CASE]]
//
// kill compares killstorm with other killers, cron the whole check, started as cron
// does, and many-cores killers on a virtual machine of eight processors. Root runs it.
// CASE is one of the storms, from 1 on. Each run (5 of each, in turn) is a PID namespace
// of its own, in which testdata/bench/c/storm.c makes a storm under a uid of its own. For
// kill it is in the same session as the killer, so that no scheduling by session helps; for
// cron it has a session of its own, as on a machine whose cron daemon starts the check. A
// watcher at real-time priority counts, and gives up after 40 seconds; with it the
// namespace ends.
// Printed are the seconds from exec until nobody was alive for one full second: median,
// worst, how many were lost, and each. A killer that has lost most of its runs has no more.
package kill

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/proc"
	"stormcheck/testdata/bench/timing"
)

const (
	uid    = 60990
	name   = "bench-imapd"
	giveUp = 40 * time.Second
)

// A benchmark has each of its storms ended by each of its killers, in turn.
type benchmark struct {
	storms  []storm
	killers []killer
}

// A storm is what storm.c takes.
type storm struct{ name, limit, size, interval string }

// storms are those of the benchmarks kill and cron.
var storms = []storm{
	{"4,000 idle", "4000", "4000", "-1"},
	{"1,500 that fork each second", "1500", "1500", "1000"},
	{"1,500 that fork every 5 ms", "1500", "1500", "5"},
	{"a fork bomb at its limit of 1,500", "1500", "1500", "0"},
}

// A killer is what has to end a storm, and how it is started: by a shell as usual
// ("normal"), in another session than the storm's ("cron"), or at SCHED_RR 1 ("realtime");
// without a shell in another session ("exec"), there at SCHED_RR 1 ("raised"), or in the
// storm's at SCHED_RR 1 ("no shell"); or before the storm ("standing").
type killer struct{ name, mode, script string }

const pkill = `while :; do pkill -9 -u 60990 -x bench-imapd; done`

// killers are those of the benchmark kill.
var killers = []killer{
	{"killstorm", "normal", killstorm},
	{"pkill -9 loop", "normal", pkill},
	{"killall -9 loop", "normal", killall},
	{"the original's loop", "normal", original},
	{"killstorm", "realtime", killstorm},
	{"pkill -9 loop", "realtime", pkill},
	{"killall -9 loop", "realtime", killall},
	{"the original's loop", "realtime", original},
	{"killstorm", "no shell", ""},
	{"killstorm", "standing", ""},
}

const (
	killstorm = `exec killstorm --host bench <row`
	killall   = `while :; do killall -q -9 bench-imapd; done`
	original  = `while :; do
		ps -eo uid,pid,comm | while read -r uid pid comm; do
			if [ "$uid" = 60990 ] && [ "$comm" = bench-imapd ]; then /bin/kill -9 "$pid" 2>/dev/null; fi
		done
	done`
)

// Main runs the benchmark kill.
func Main() {
	b := benchmark{storms, killers}
	if len(os.Args) == 4 && os.Args[1] == "run" {
		timing.Check(b.inside())
		return
	}
	timing.Check(b.outside(nil, "storm", "killstorm"))
}

// outside builds programs, prepares their directory, and makes all runs.
func (b benchmark) outside(prepare func(dir string) error, programs ...string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Linked with the storm's C library, lower would wait for it, whatever its priority.
	if err := errors.Join(timing.Build(dir, programs...), timing.Compile(dir, "lower", "-static")); err != nil {
		return err
	}
	if prepare != nil {
		if err := prepare(dir); err != nil {
			return err
		}
	}
	return b.compare(dir)
}

// compare starts each run in a PID namespace, in turn, and prints the times.
func (b benchmark) compare(dir string) error {
	runs := timing.Argument(1, 5)
	for c, storm := range b.storms {
		if only := timing.Argument(2, c+1); only != c+1 {
			continue
		}
		fmt.Printf("%s:\n", storm.name)
		took := make([][]time.Duration, len(b.killers))
		for range runs {
			for k, killer := range b.killers {
				if lost(took[k]) > runs/2 { // the median is known
					continue
				}
				d, err := run(dir, c, k)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", killer.name, killer.mode, err)
				}
				took[k] = append(took[k], d)
				fmt.Fprintf(os.Stderr, "    %s, %s: %.2f s\n", killer.name, killer.mode, d.Seconds()) // a benchmark may take an hour
			}
		}
		for k, killer := range b.killers {
			fmt.Printf("  %-20s %-9s median %6.2f s  worst %6.2f s  lost %d of %d ", killer.name, killer.mode,
				timing.Median(took[k]).Seconds(), slices.Max(took[k]).Seconds(), lost(took[k]), len(took[k]))
			for _, d := range took[k] {
				fmt.Printf(" %.2f", d.Seconds())
			}
			fmt.Println()
		}
	}
	return nil
}

// lost counts the storms that were given up.
func lost(took []time.Duration) (n int) {
	for _, d := range took {
		if d >= giveUp {
			n++
		}
	}
	return n
}

// run has one storm ended, and returns how long that took.
func run(dir string, c, k int) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[0], "run", strconv.Itoa(c), strconv.Itoa(k))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":/usr/bin:/bin")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(strings.TrimSpace(string(out)))
}

// inside makes one storm, has it ended, and prints how long that took. It is PID 1:
// whatever is left ends with it.
func (b benchmark) inside() error {
	c, err := strconv.Atoi(os.Args[2])
	timing.Check(err)
	k, err := strconv.Atoi(os.Args[3])
	timing.Check(err)
	storm, mode := b.storms[c], b.killers[k].mode
	apart := mode == "cron" || mode == "exec" || mode == "raised"
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := raiseAll(); err != nil {
		return err
	}
	go reap()

	// The account exists only here.
	passwd := fmt.Sprintf("root:x:0:0::/:/bin/sh\nbench:x:%d:%d::/:/bin/sh\n", uid, uid)
	if err := os.WriteFile("passwd", []byte(passwd), 0o644); err != nil {
		return err
	}
	if err := unix.Mount("passwd", "/etc/passwd", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	before = settled()
	var standing *os.File
	if mode == "standing" {
		in, out, err := os.Pipe()
		if err != nil {
			return err
		}
		if err := start(0, false, in, nil, "killstorm", "--host", "bench"); err != nil {
			return err
		}
		standing = out
		fmt.Fprintln(out, "time,host,user,uid,proc,count,actions")
		time.Sleep(time.Second)
	}

	ready, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	if err := start(0, apart, nil, tell, "storm", name, strconv.Itoa(uid), storm.limit, storm.size, storm.interval, "90"); err != nil {
		return err
	}
	tell.Close()
	if line, err := bufio.NewReader(ready).ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("no storm: %v", err)
	}
	time.Sleep(time.Second)
	size, err := strconv.Atoi(storm.size)
	if err != nil {
		return err
	}
	if n := alive(); n < size*2/3 {
		return fmt.Errorf("a storm of %d: has uid %d other processes on this machine?", n, uid)
	}
	row := fmt.Sprintf("%s,bench,bench,%d,%s,%s,kill=100\n", time.Now().UTC().Format(time.RFC3339), uid, name, storm.size)
	begin := time.Now()
	if standing != nil {
		if _, err := standing.WriteString(row); err != nil {
			return err
		}
	} else {
		if err := os.WriteFile("row", []byte("time,host,user,uid,proc,count,actions\n"+row), 0o600); err != nil {
			return err
		}
		begin = time.Now()
		var err error
		switch mode {
		case "normal", "cron":
			err = start(0, apart, nil, nil, "sh", "-c", b.killers[k].script)
		case "exec":
			err = start(0, apart, nil, nil, b.killers[k].script)
		case "raised":
			err = start(1, apart, nil, nil, b.killers[k].script)
		case "realtime":
			err = start(1, false, nil, nil, "sh", "-c", b.killers[k].script)
		default:
			var in *os.File
			if in, err = os.Open("row"); err == nil {
				err = start(1, false, in, nil, "killstorm", "--host", "bench")
			}
		}
		if err != nil {
			return err
		}
	}

	// The end is the first of a whole second of nobody.
	var end time.Time
	for end.IsZero() || time.Since(end) < time.Second {
		if end.IsZero() && time.Since(begin) > giveUp {
			end = begin.Add(giveUp)
			break
		}
		switch n := alive(); {
		case n > 0:
			end = time.Time{}
		case end.IsZero():
			end = time.Now()
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(end.Sub(begin))
	os.Exit(0)
	return nil
}

// start starts a program found in PATH at a real-time priority, or at 0 as usual, and in
// its own session or in this one. The files are its streams, or nil for none. Which
// children this process has only reap knows.
func start(priority int, session bool, in, out *os.File, args ...string) error {
	lower, err := exec.LookPath("lower")
	if err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if in == nil {
		in = null
	}
	if out == nil {
		out = null
	}
	own := "0"
	if session {
		own = "1"
	}
	_, err = syscall.ForkExec(lower, append([]string{"lower", strconv.Itoa(priority), own}, args...), &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{in.Fd(), out.Fd(), 2}})
	return err
}

// raiseAll puts all threads of this process above those that it watches: one at normal
// priority that the Go runtime needs, to wait for a pipe or a timer, would not run before
// the storm is over. Threads that are made later inherit it.
func raiseAll() error {
	proc.MakeThreads()
	for raised := map[string]bool{}; ; {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		more := false
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil || raised[thread.Name()] {
				continue
			}
			raised[thread.Name()], more = true, true
			watcher := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 2}
			if err := unix.SchedSetAttr(tid, watcher, 0); err != nil {
				return fmt.Errorf("thread %d: is /proc of another namespace? %w", tid, err)
			}
		}
		if !more {
			return nil
		}
	}
}

// reap takes whoever has ended: PID 1 inherits them all.
func reap() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err == syscall.ECHILD {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// alive counts the storm's processes. As long as there are many it reads no process, for
// it runs above whoever has to end them: it takes those that the machine has more than
// before the storm, from the links of /proc (proc_root_getattr in Linux's fs/proc/root.c).
func alive() (n int) {
	const many = 300
	if more := processes() - before; more > many {
		return more
	}
	dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	timing.Check(err)
	defer unix.Close(dir)
	var pids []string
	for {
		got, err := unix.Getdents(dir, entries)
		timing.Check(err)
		if got <= 0 {
			break
		}
		_, _, pids = unix.ParseDirent(entries[:got], -1, pids)
	}
	for _, pid := range pids {
		var st unix.Stat_t
		if pid[0] <= '9' && unix.Fstatat(dir, pid, &st, 0) == nil && st.Uid == uid {
			n++
		}
	}
	return n
}

// settled waits until the last run's processes are gone, and returns processes().
func settled() int {
	for n := processes(); ; {
		time.Sleep(300 * time.Millisecond)
		now := processes()
		if now >= n {
			return now
		}
		n = now
	}
}

// processes returns how many processes the machine has, plus a constant.
func processes() int {
	var proc unix.Stat_t
	timing.Check(unix.Stat("/proc", &proc))
	return int(proc.Nlink)
}

var (
	before  int // the storm
	entries = make([]byte, 256<<10)
)
