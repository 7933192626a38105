package filter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"testing"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// logged is what a Log of the present test has written.
func logged(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// logRow appends one row about user to the log.
func logRow(t *testing.T, l *Log, user string) error {
	t.Helper()
	r := rows.NewReader(strings.NewReader("mine,count,user,proc,host,notes\nx,20,"+user+",imapd,moscow,n\n"), "<stdin>", func() error { return nil })
	r.Read()
	record, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(record); err != nil {
		return err
	}
	return l.Flush()
}

const (
	logHeader = "time,host,user,uid,proc,count,zombies,recent,account,rule,actions,archived,killed,remaining,notes,errors,parent,oldest,started\n"
	logLine   = ",moscow,%s,,imapd,20,,,,,,,,,n,,,,\n"
)

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	line := func(user string) string { return fmt.Sprintf(logLine, user) }
	l := &Log{Path: path}
	for _, user := range []string{"groucho", "harpo"} {
		if err := logRow(t, l, user); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := logged(t, path), logHeader+line("groucho")+line("harpo"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}

	// A batch that was cut by a crash stays a line of its own.
	write(t, path, logHeader+"half a li", 0o600)
	if err := logRow(t, l, "chico"); err != nil {
		t.Fatal(err)
	}
	if got, want := logged(t, path), logHeader+"half a li\n"+line("chico"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}

	// What isn't ours is moved aside, and never replaced.
	write(t, path, "dear diary\n", 0o600)
	if err := logRow(t, l, "zeppo"); err != nil {
		t.Fatal(err)
	}
	if got, want := logged(t, path), logHeader+line("zeppo"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	aside, err := filepath.Glob(path + ".*")
	if len(aside) != 1 || logged(t, aside[0]) != "dear diary\n" {
		t.Errorf("moved aside: %q, %v", aside, err)
	}

	// A gap is no storm.
	gap := rows.NewReader(strings.NewReader("host,user,proc,count,actions,errors\nmoscow,?,?,0,,ssh: no route\n"), "<stdin>", func() error { return nil })
	_, _ = gap.Read()
	record, err := gap.Read()
	if err != nil {
		t.Fatal(err)
	}
	without := &Log{Path: path + ".gap"}
	if err := errors.Join(without.Add(record), without.Flush()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(without.Path); err == nil {
		t.Error("a gap was logged")
	}

	// Nothing logged, nothing made.
	idle := &Log{Path: path + ".idle"}
	if err := idle.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(idle.Path); err == nil {
		t.Error("an empty log was made")
	}
	if err := logRow(t, &Log{}, "x"); err != nil {
		t.Errorf("no log: %v", err)
	}
}

func TestLogRefuses(t *testing.T) {
	dir := t.TempDir()
	target := write(t, dir+"/target", "", 0o600)
	if err := os.Symlink(target, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/link", "/dev/full", dir, dir + "/no/such"} {
		if err := logRow(t, &Log{Path: path}, "x"); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if logged(t, target) != "" {
		t.Error("a link was followed")
	}
}

func TestLogTruncatesHalfABatch(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "log.csv"), logHeader, 0o600)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	little := before
	little.Cur = 150 // the header and some more
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &little); err != nil {
		t.Fatal(err)
	}
	err := logRow(t, &Log{Path: path}, "groucho")
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("no error where no more fits")
	}
	if got := logged(t, path); got != logHeader {
		t.Errorf("left %q", got)
	}
}

// Many at once, each with a lock of its own: no line is torn, and the header comes
// once. The locks are those of processes, so the writers are too.
func TestLogTogether(t *testing.T) {
	if path := os.Getenv("LOG_TOGETHER"); path != "" {
		for i := range 20 {
			if err := logRow(t, &Log{Path: path}, fmt.Sprint("u", i)); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	path := filepath.Join(t.TempDir(), "log.csv")
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			cmd := self("TestLogTogether", "LOG_TOGETHER="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	wait.Wait()
	lines := strings.Split(logged(t, path), "\n")
	if len(lines) != 8*20+2 || lines[0]+"\n" != logHeader {
		t.Errorf("%d lines, first %q", len(lines), lines[0])
	}
	for _, line := range lines[1 : len(lines)-1] {
		if !strings.HasPrefix(line, ",moscow,u") || !strings.HasSuffix(line, ",n,,,,") {
			t.Errorf("line %q", line)
		}
	}
}

func TestLogWaitsForItsLockASecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	if os.Getenv("LOG_HOLD") != "" {
		f, err := os.OpenFile(os.Getenv("LOG_HOLD"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1))
		return
	}
	cmd := self("TestLogWaitsForItsLockASecond", "LOG_HOLD="+path)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 16))
	err := logRow(t, &Log{Path: path}, "x")
	in.Close()
	cmd.Wait()
	if err == nil || !strings.Contains(err.Error(), "locked by another") {
		t.Errorf("got %v", err)
	}
	if err := logRow(t, &Log{Path: path}, "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// self is this test binary, to run one test with a variable set.
func self(test, variable string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), variable)
	return cmd
}
