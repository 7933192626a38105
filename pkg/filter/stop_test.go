package filter

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/rows"
)

const doHeader = "time,host,user,proc,count,actions,notes,errors"

func doRow(user, actions string) string {
	return time.Now().UTC().Format(time.RFC3339) + ",moscow," + user + ",imapd,404," + actions + ",,"
}

// acting is the tool that TestMain makes of this binary: it says on stderr that it is
// at a row, and is done with it when it is to end early and the file FILTER_GO is there.
// A row of stubborn is never done.
func acting(how string) *cli.App {
	at := func(stop *Stop, row rows.Row) error {
		fmt.Fprintln(os.Stderr, "at", row.User)
		if row.User == "stubborn" {
			select {}
		}
		<-stop.Asked()
		fmt.Fprintln(os.Stderr, "asked")
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(os.Getenv("FILTER_GO")); err == nil {
				break
			}
		}
		return Note("did " + row.User)
	}
	return New(Tool{Name: "demo", Run: func(_ *cli.Context, env Env) error {
		a := Acting{Tool: "demo", Action: "do", Host: func() string { return "moscow" }, Now: time.Now}
		var again func()
		if how == "resumes first" {
			again = func() { fmt.Fprintln(os.Stderr, "resumed"); os.Exit(7) }
		}
		a.Stop = NewStop(again)
		switch how {
		case "at once":
			a.Act = func(_ *rows.Record, row rows.Row, _ rows.Limit) error {
				fmt.Fprintln(os.Stderr, "at", row.User)
				return nil
			}
		case "together":
			a.Together = func(due []*Due) {
				for _, d := range due {
					d.Err = at(a.Stop, d.Row)
				}
			}
		case "started":
			a.Start = func(d *Due, done func()) {
				go func() {
					d.Err = at(a.Stop, d.Row)
					done()
				}()
			}
		default:
			a.Act = func(_ *rows.Record, row rows.Row, _ rows.Limit) error { return at(a.Stop, row) }
		}
		return a.Run(env)
	}})
}

// TestMain makes this test binary an acting filter if that is asked for.
func TestMain(m *testing.M) {
	if how := os.Getenv("FILTER_ACTS"); how != "" {
		os.Args = os.Args[:1]
		Main(acting(how))
	}
	os.Exit(m.Run())
}

// A running filter is one that reads from a pipe.
type running struct {
	*exec.Cmd
	hold     string // the file that lets it go on
	t        *testing.T
	in       io.WriteCloser
	out      *bufio.Reader
	reader   io.Closer // of out
	problems *bufio.Reader
}

func startActing(t *testing.T, how string) *running {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10", "FILTER_ACTS="+how, "FILTER_GO="+t.TempDir()+"/go")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slow := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { slow.Stop(); _ = cmd.Process.Kill() })
	return &running{cmd, strings.TrimPrefix(cmd.Env[len(cmd.Env)-1], "FILTER_GO="), t, in, bufio.NewReader(out), out, bufio.NewReader(problems)}
}

func (r *running) write(lines ...string) { _, _ = io.WriteString(r.in, strings.Join(lines, "\n")+"\n") }

// terminate terminates it, writes when it knows, and lets it go on then.
func (r *running) terminate(lines ...string) {
	r.t.Helper()
	_ = r.Process.Signal(syscall.SIGTERM)
	r.expect(r.problems, "asked")
	if len(lines) > 0 {
		r.write(lines...)
	}
	if err := os.WriteFile(r.hold, nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) expect(from *bufio.Reader, want string) {
	r.t.Helper()
	line, err := from.ReadString('\n')
	if err != nil || !strings.Contains(line, want) {
		r.t.Fatalf("%v, %q; want %s", err, line, want)
	}
}

// end returns what is left of both outputs, and the status.
func (r *running) end() (out, problems, state string) {
	one, _ := io.ReadAll(r.out)
	two, _ := io.ReadAll(r.problems)
	_ = r.Wait()
	return string(one), string(two), r.ProcessState.String()
}

func TestTerminatedFilterPassesTheRestOfItsSnapshot(t *testing.T) {
	const why = "demo: ended early by a signal: terminated"
	for _, how := range []string{"one by one", "together", "started"} {
		t.Run(how, func(t *testing.T) {
			r := startActing(t, how)
			r.write(doHeader, doRow("groucho", "do=60"))
			r.expect(r.out, doHeader)
			r.expect(r.problems, "at groucho")
			r.terminate(doRow("harpo", ""), doRow("zeppo", "do=60"), ",moscow,?,?,0,,,ssh: no route", doHeader, doRow("gummo", "do=60"))
			out, problems, state := r.end()
			for _, want := range []string{",groucho,imapd,404,do=60,demo: did groucho,\n", ",harpo,imapd,404,,,\n", ",zeppo,imapd,404,do=60,," + why + "\n", ",moscow,?,?,0,,,ssh: no route\n"} {
				if !strings.Contains(out, want) {
					t.Errorf("no %s in\n%s", want, out)
				}
			}
			if strings.Contains(out, doHeader) || strings.Contains(out, "gummo") {
				t.Errorf("the next snapshot too:\n%s", out)
			}
			if want := "demo: <stdin>:4: zeppo: ended early by a signal: terminated\n"; problems != want || state != "exit status 1" {
				t.Errorf("%s, stderr %q; want %q", state, problems, want)
			}
		})
	}
}

func TestTerminatedFilterEndsAtOnceIfItWaits(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
	}{
		{"before the first byte", nil},
		{"behind a snapshot", []string{doHeader, doRow("harpo", "")}},
	} {
		r := startActing(t, "one by one")
		if c.lines == nil {
			time.Sleep(300 * time.Millisecond) // else the signal may come before it is caught
		} else {
			r.write(c.lines...)
			r.expect(r.out, doHeader)
			r.expect(r.out, "harpo")
		}
		_ = r.Process.Signal(syscall.SIGTERM)
		out, problems, state := r.end() // its input stays open
		if out != "" || problems != "" || state != "exit status 1" && c.lines != nil {
			t.Errorf("%s: %s, %q, %q", c.name, state, out, problems)
		}
	}
}

func TestTerminatedFilterEndsWithItsInput(t *testing.T) {
	r := startActing(t, "one by one")
	r.write(doHeader, doRow("groucho", "do=60"))
	r.in.Close()
	r.expect(r.problems, "at groucho")
	r.terminate()
	if out, problems, state := r.end(); !strings.HasSuffix(out, "did groucho,\n") || problems != "" || state != "exit status 1" {
		t.Errorf("%s, %q, %q", state, out, problems)
	}
}

func TestSecondSignalEndsIt(t *testing.T) {
	for how, want := range map[string][2]string{"one by one": {"", "signal: terminated"}, "resumes first": {"resumed\n", "exit status 7"}} {
		r := startActing(t, how)
		r.write(doHeader, doRow("stubborn", "do=60"))
		r.expect(r.problems, "at stubborn")
		ended := make(chan bool)
		go func() {
			defer close(ended)
			if _, problems, state := r.end(); problems != want[0] || state != want[1] {
				t.Errorf("%s: %q, %s, want %q", how, problems, state, want)
			}
		}()
		for last := false; !last; { // the kernel makes one of two that come together
			_ = r.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
				last = true
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// In a pipe that nobody reads a filter acts on all rows of the snapshot that it has begun
// and on no other one, however long its input stays open.
func TestReaderGoneEndsTheRunBeforeTheNextSnapshot(t *testing.T) {
	r := startActing(t, "at once")
	r.write(doHeader)
	r.expect(r.out, doHeader)
	r.reader.Close()
	for _, user := range []string{"groucho", "chico"} { // each read by itself, after a failed write
		r.write(doRow(user, "do=60"))
		r.expect(r.problems, "at "+user)
	}
	r.write(doHeader, doRow("harpo", "do=60"))
	if _, problems, state := r.end(); problems != "demo: <stdout>: broken pipe\n" || state != "exit status 1" {
		t.Errorf("%s, %q", state, problems)
	}
}

func TestReaderGoneBetweenTwoSnapshotsEndsTheRunAtOnce(t *testing.T) {
	r := startActing(t, "at once")
	r.write(doHeader, doHeader)
	r.expect(r.out, doHeader)
	r.expect(r.out, doHeader)
	r.reader.Close()
	if _, problems, state := r.end(); problems != "demo: <stdout>: broken pipe\n" || state != "exit status 1" {
		t.Errorf("%s, %q", state, problems)
	}
}
