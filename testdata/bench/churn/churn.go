// Package churn measures what counting started processes costs, and how right it is:
//
//	go run ./testdata/bench churn [RATE...]
//
// As root, in the machine's first PID namespace. One account starts processes RATE times a
// second (150, 1000, then 10000) for half a minute: up to 1,000 another program each,
// above that only processes, for no machine executes so many programs. Another account
// runs make -j4 meanwhile. A pipe of procstat --every 5s --churn, threshold and alertmail
// stands beside a C program that only receives the same events, beside forkstat, if it is
// installed, and beside procstat --every 5s. It prints how many starts were counted on the
// right account and name of those that were really started, when the alert was sent, and
// the processor time of each.
package churn

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"stormcheck/testdata/bench/timing"
)

const (
	stormUID = "60480"
	loadUID  = 60481
	lasts    = 30 * time.Second // less than the minute that started is about
	beat     = 5 * time.Second
	limit    = 500 // started in a minute
)

// Main runs the benchmark.
func Main() {
	rates := os.Args[1:]
	if len(rates) == 0 {
		rates = []string{"150", "1000", "10000"}
	}
	dir, err := os.MkdirTemp("", "bench")
	timing.Check(err)
	defer os.RemoveAll(dir)
	timing.Check(os.Chmod(dir, 0o755))
	timing.Check(timing.Build(dir, "procstat", "threshold", "alertmail", "listener", "starter", "brief"))
	write := func(name string, mode os.FileMode, text string) {
		timing.Check(os.WriteFile(filepath.Join(dir, name), []byte(text), mode))
	}
	write("limits.csv", 0o644, fmt.Sprintf("user,proc,alert\n%s,*,%d/m\n*,*,\n", stormUID, limit))
	write("mailer", 0o755, "#!/bin/sh\ncat >"+dir+"/message\nmv "+dir+"/message "+dir+"/alert\n")
	for _, rate := range rates {
		timing.Check(bench(dir, rate))
	}
}

// A listener is a program that receives events of started processes, or one to compare
// with.
type listener struct {
	name string
	cmd  *exec.Cmd
	base time.Duration
}

// bench makes one storm.
func bench(dir, rate string) error {
	name, program := "brief", dir+"/brief"
	if n, err := strconv.Atoi(rate); err != nil || n > 1000 {
		name, program = "starter", ""
	}
	os.Remove(dir + "/alert")
	all := []*listener{
		{name: "procstat --every 5s --churn", cmd: exec.Command(dir+"/procstat", "--every", beat.String(), "--churn")},
		{name: "procstat --every 5s", cmd: exec.Command(dir+"/procstat", "--every", beat.String())},
		{name: "C listener", cmd: exec.Command(dir+"/listener", "300")},
	}
	if path, err := exec.LookPath("forkstat"); err == nil {
		all = append(all, &listener{name: "forkstat", cmd: exec.Command(path, "-r", "-e", "fork,exec")})
	}
	pipe := exec.Command("sh", "-c", "./threshold --limits limits.csv | ./alertmail --each --to root --sendmail ./mailer")
	pipe.Dir, pipe.Stderr = dir, os.Stderr
	feed, err := pipe.StdinPipe()
	if err != nil {
		return err
	}
	if err := pipe.Start(); err != nil {
		return err
	}
	defer pipe.Wait()
	defer feed.Close()
	var counted counts
	for i, l := range all {
		if i == 0 {
			l.cmd.Stderr = os.Stderr
			out, err := l.cmd.StdoutPipe()
			if err != nil {
				return err
			}
			go counted.read(out, feed)
		}
		if err := l.cmd.Start(); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		defer func() {
			_ = l.cmd.Process.Signal(syscall.SIGTERM)
			_ = l.cmd.Wait() // it ends with whatever status
		}()
	}
	end, err := load(dir)
	if err != nil {
		return err
	}
	defer end()

	time.Sleep(beat + beat/2) // all stand, and nothing old is left to count
	for _, l := range all {
		l.base = l.used()
	}
	begun := time.Now()
	text, err := exec.Command(dir+"/starter", stormUID, rate, strconv.Itoa(int(lasts/time.Second)), program).Output()
	if err != nil {
		return fmt.Errorf("starter: %w", err)
	}
	took := time.Since(begun)
	used := make([]time.Duration, len(all))
	for i, l := range all {
		used[i] = l.used() - l.base
	}
	started, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	byName := counted.next()

	fmt.Printf("%s a second wanted, %.0f started, beside make -j4:\n", rate, float64(started)/took.Seconds())
	ofAccount := 0
	for _, n := range byName {
		ofAccount += n
	}
	percent := func(n int) float64 { return 100 * float64(n) / float64(started) }
	fmt.Printf("  on the account %.1f %%, under the right name %.1f %%\n", percent(ofAccount), percent(byName[name]))
	if info, err := os.Stat(dir + "/alert"); err == nil {
		fmt.Printf("  alerted after %.1f s\n", info.ModTime().Sub(begun).Seconds())
	} else {
		fmt.Println("  not alerted")
	}
	for i, l := range all {
		fmt.Printf("  %-28s %6.2f %% of a processor, %5.2f times the C listener\n", l.name,
			100*used[i].Seconds()/took.Seconds(), used[i].Seconds()/used[2].Seconds())
	}
	return nil
}

// used returns the processor time that all threads of a program have used: the first
// number of /proc/PID/task/TID/schedstat, in nanoseconds.
func (l *listener) used() (all time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", l.cmd.Process.Pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		ran, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(ran, 10, 64)
		all += time.Duration(n)
	}
	return all
}

// counts are what snapshots say of the storm's account.
type counts struct {
	mutex    sync.Mutex
	snapshot map[string]int // started, by name
	whole    int            // snapshots
}

// read reads rows and passes them on.
func (c *counts) read(in io.Reader, to io.Writer) {
	now := map[string]int{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		fmt.Fprintln(to, lines.Text())
		cells := strings.Split(lines.Text(), ",")
		if cells[0] != "time" {
			if n, err := strconv.Atoi(cells[11]); err == nil && cells[3] == stormUID {
				now[cells[4]] = n
			}
			continue
		}
		c.mutex.Lock()
		c.snapshot, now = now, map[string]int{}
		c.whole++
		c.mutex.Unlock()
	}
}

// next returns the first snapshot that is begun after now.
func (c *counts) next() map[string]int {
	time.Sleep(50 * time.Millisecond) // the last events
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for before := c.whole; c.whole < before+2; {
		c.mutex.Unlock()
		time.Sleep(50 * time.Millisecond)
		c.mutex.Lock()
	}
	return c.snapshot
}

// load has another account run make -j4, again and again, until end is called.
func load(dir string) (end func(), err error) {
	work := dir + "/load"
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chown(work, loadUID, loadUID); err != nil {
		return nil, err
	}
	rules := "all: 1.o 2.o 3.o 4.o 5.o 6.o 7.o 8.o\n%.o:\n\techo 'int f(void) { return 0; }' | cc -x c -c -o $@ -\nclean:\n\trm -f *.o\n"
	if err := os.WriteFile(work+"/Makefile", []byte(rules), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("timeout", "120", "sh", "-c", "while :; do make -s -j4 all; make -s clean; done")
	cmd.Dir = work
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: loadUID, Gid: loadUID}}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		os.RemoveAll(work)
	}, nil
}
