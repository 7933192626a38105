package alertmail_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestMemoryWhileMailerHangs: half a million rows of ever new accounts are read while a
// mailer doesn't return. They take up to 26 MB; the bound leaves room for a busy machine.
func TestMemoryWhileMailerHangs(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("half a million rows")
	}
	if isRace() {
		t.Skip("the race detector's own memory is counted with it")
	}
	for name, c := range map[string]struct {
		rows, each int // in all, and of a snapshot
		args       []string
	}{
		"one run":                {500_000, 500_000, []string{"--state", "state.csv"}},
		"snapshots":              {300_000, 1000, []string{"--each"}},
		"snapshots with a state": {100_000, 20_000, []string{"--each", "--state", "state.csv"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, dir := mailing(t, `exec sleep 60`)
			args := append([]string{"--to", "root", "--sendmail", o.Sendmail}, c.args...)
			cmd := command("", args...)
			if cmd.Path, _ = filepath.Abs(cmd.Path); cmd.Path == "" { // from another directory
				t.Fatal("no path to this program")
			}
			cmd.Dir, cmd.Stdin = dir, nil
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			writeRows(t, in, c.rows, c.each)
			if kb := peakMemory(t, cmd); kb >= 40_000 {
				t.Errorf("%d KB", kb)
			} else {
				t.Logf("%d KB", kb)
			}
		})
	}
}

// writeRows writes snapshots of so many rows each, of ever new accounts.
func writeRows(t *testing.T, to io.Writer, n, each int) {
	t.Helper()
	w := bufio.NewWriterSize(to, 1<<16)
	for i := range n {
		if i%each == 0 {
			fmt.Fprintln(w, "host,user,uid,proc,count,actions,errors")
		}
		fmt.Fprintf(w, "moscow,user%d,%d,imapd,%d,alert=20,mine: something is odd\n", i, i, 20+i%1000)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// peakMemory returns the most resident memory that the process ever had, in KB:
// proc_pid_status(5).
func peakMemory(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}

// isRace reports whether the race detector is built in.
func isRace() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
