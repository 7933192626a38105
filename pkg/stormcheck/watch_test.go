//go:build linux

package stormcheck

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A stage in an uninterruptible call doesn't end even by KILL. The run ends without it.
func TestStageThatKillDoesNotEndIsLeftBehind(t *testing.T) {
	defer func(was time.Duration) { LeaveAfter = was }(LeaveAfter)
	LeaveAfter = 10 * time.Millisecond
	var lines []string
	var reason string
	w := &watch{
		say:     func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) },
		stopped: &reason, chain: &chain{}, mail: &mail{}, timer: time.NewTimer(0), phase: terminated,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.until(make(chan struct{}))
		w.until(make(chan struct{})) // nothing else is waited for either
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
	if text := strings.Join(lines, "\n"); !strings.HasSuffix(text, "after KILL: left behind") || w.status() != failed {
		t.Errorf("status %d, %q", w.status(), text)
	}
}

func TestStageHasOnePath(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	var paths []string
	for _, v := range (stage{path: "/usr/bin"}).environment() {
		if strings.HasPrefix(v, "PATH=") {
			paths = append(paths, v)
		}
	}
	if fmt.Sprint(paths) != "[PATH=/usr/bin]" {
		t.Error(paths)
	}
}

// Of a flood on standard error the first and the last lines pass.
func TestFloodOnStandardErrorIsBounded(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var passed []string
	e := readErrors(in, stage{name: "demo"}, func(line string) { passed = append(passed, line) })
	var text bytes.Buffer
	for n := range 10000 {
		fmt.Fprintf(&text, "demo: line %d %s\n", n, strings.Repeat("x", 2*longestLine))
	}
	_, _ = out.Write(text.Bytes())
	out.Close()
	<-e.read
	e.drain()
	if len(passed) != firstLines+1+lastLines {
		t.Fatalf("%d lines", len(passed))
	}
	for n, want := range map[int]string{
		0: "demo: line 0 ", firstLines - 1: fmt.Sprintf("demo: line %d ", firstLines-1),
		firstLines:             fmt.Sprintf("stormcheck: demo: %d lines left out", 10000-firstLines-lastLines),
		firstLines + lastLines: "demo: line 9999 ",
	} {
		if !strings.HasPrefix(passed[n], want) || len(passed[n]) > longestLine {
			t.Errorf("line %d: %.40q; want %q", n, passed[n], want)
		}
	}
}
