package state_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/state"
)

var columns = []string{"name", "count"}

func open(t *testing.T, path string) (*state.Table, [][]string) {
	t.Helper()
	table, rows, err := state.Open(path, columns, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return table, rows
}

func write(t *testing.T, path string, rows [][]string) {
	t.Helper()
	table, _ := open(t, path)
	defer table.Close()
	if err := table.Write(rows); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) [][]string {
	t.Helper()
	table, rows := open(t, path)
	table.Close()
	return rows
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.csv")
	if rows := read(t, path); len(rows) != 0 {
		t.Errorf("read %q from nothing", rows)
	}
	write(t, path, nil)
	if _, err := os.Stat(path); err == nil {
		t.Error("nothing to remember, and a file was made")
	}
	want := [][]string{{"a, \"b\"", "1"}, {"", "2"}, {"ü\nx", ""}}
	write(t, path, want)
	if got := read(t, path); !reflect.DeepEqual(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	write(t, path, [][]string{})
	if text, _ := os.ReadFile(path); string(text) != "name,count\n" {
		t.Errorf("an emptied table is %q", text)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	names, _ := filepath.Glob(path + "*")
	if want := []string{path, path + ".lock"}; !slices.Equal(names, want) {
		t.Errorf("left %q, want %q", names, want)
	}
}

// A table is written only when it changed: a quiet run costs no fsync.
func TestUnchangedIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.csv")
	write(t, path, [][]string{{"a", "1"}})
	before, _ := os.Stat(path)
	write(t, path, [][]string{{"a", "1"}})
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("written again")
	}
	write(t, path, [][]string{{"a", "2"}})
	if after, _ := os.Stat(path); os.SameFile(before, after) {
		t.Error("written in place")
	}
}

func TestOtherVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.csv")
	put(t, path, "later,count,name\nx,7,a\n")
	if got, want := read(t, path), [][]string{{"a", "7"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	put(t, path, "name\na\n")
	if got, want := read(t, path), [][]string{{"a", ""}}; !reflect.DeepEqual(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestUnreadable(t *testing.T) {
	for _, text := range []string{"", "name,count\na\n", "name,count\n\"a,1\n", "dear diary\n", "\x00\x01", "count\n1\n"} {
		path := filepath.Join(t.TempDir(), "state.csv")
		put(t, path, text)
		table, rows, err := state.Open(path, columns, time.Second)
		if err == nil || table == nil || len(rows) > 0 || !strings.HasSuffix(err.Error(), ": moved to "+path+".bad") {
			t.Fatalf("%q: %v, %q, %v", text, table, rows, err)
		}
		if err := table.Write([][]string{{"b", "2"}}); err != nil {
			t.Error(err)
		}
		table.Close()
		if got := read(t, path); !reflect.DeepEqual(got, [][]string{{"b", "2"}}) {
			t.Errorf("afterwards %q", got)
		}
		if aside, err := os.ReadFile(path + ".bad"); string(aside) != text || err != nil {
			t.Errorf("aside %q, %v", aside, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/target", "name,count\n")
	if err := os.Symlink(dir+"/target", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, dir+"/locked", "name,count\n")
	if err := os.Symlink("target", dir+"/locked.lock"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/link", dir + "/fifo", dir + "/no/such", dir + "/locked", "/dev/full"} {
		if table, _, err := state.Open(path, columns, time.Second); table != nil || err == nil {
			t.Errorf("%s: %v, %v", path, table, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	put(t, dir+"/theirs", "name,count\n")
	if err := os.Chmod(dir+"/theirs", 0o666); err != nil {
		t.Fatal(err)
	}
	if table, _, err := state.Open(dir+"/theirs", columns, time.Second); table != nil || err == nil {
		t.Errorf("a table that others can write: %v, %v", table, err)
	}
}

// A draft that somebody has put there, a link to a file of root's even, is removed
// and not written through.
func TestDraftInTheWay(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/state.csv"
	put(t, dir+"/target", "precious")
	for _, link := range []func(string, string) error{os.Symlink, os.Link} {
		if err := link(dir+"/target", path+".new"); err != nil {
			t.Fatal(err)
		}
		write(t, path, [][]string{{fmt.Sprint(time.Now().UnixNano()), "1"}})
		if text, _ := os.ReadFile(dir + "/target"); string(text) != "precious" {
			t.Errorf("wrote %q through a link", text)
		}
	}
}

// Where no more fits, the table stays as it was, and no draft is left.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.csv")
	write(t, path, [][]string{{"a", "1"}})
	table, _ := open(t, path)
	defer table.Close()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	little := before
	little.Cur = 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &little); err != nil {
		t.Fatal(err)
	}
	err := table.Write([][]string{{strings.Repeat("a", 100), "1"}})
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("no error")
	}
	if text, _ := os.ReadFile(path); string(text) != "name,count\na,1\n" {
		t.Errorf("left %q", text)
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("left a draft")
	}
}

// Many processes at once lose nothing: each adds to what the one before wrote.
func TestTogether(t *testing.T) {
	const each = 25
	if path := os.Getenv("STATE_TOGETHER"); path != "" {
		for range each {
			table, rows := open(t, path)
			n := 0
			if len(rows) > 0 {
				n, _ = strconv.Atoi(rows[0][1])
			}
			if err := table.Write([][]string{{"n", fmt.Sprint(n + 1)}}); err != nil {
				t.Fatal(err)
			}
			table.Close()
		}
		return
	}
	path := filepath.Join(t.TempDir(), "state.csv")
	var wait sync.WaitGroup
	for range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			cmd := exec.Command(os.Args[0], "-test.run=^TestTogether$")
			cmd.Env = append(os.Environ(), "STATE_TOGETHER="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	wait.Wait()
	if got, want := read(t, path), [][]string{{"n", fmt.Sprint(4 * each)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWaitsForItsLock(t *testing.T) {
	if path := os.Getenv("STATE_HOLD"); path != "" {
		table, _ := open(t, path)
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1))
		table.Close()
		return
	}
	path := filepath.Join(t.TempDir(), "state.csv")
	cmd := exec.Command(os.Args[0], "-test.run=^TestWaitsForItsLock$")
	cmd.Env = append(os.Environ(), "STATE_HOLD="+path)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 16))
	table, _, err := state.Open(path, columns, 50*time.Millisecond)
	if table != nil || err == nil || err.Error() != path+": locked by another for over 50ms" {
		t.Errorf("%v, %v", table, err)
	}
	in.Close()
	_ = cmd.Wait()
	read(t, path)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("name,count\na,1\n"))
	f.Add([]byte("\xef\xbb\xbfcount,name\r\n\"1\n\",\"\"\"\"\r\n"))
	f.Add([]byte("name,name\na,b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "state.csv")
		put(t, path, string(text))
		table, rows, err := state.Open(path, columns, time.Second)
		if table == nil {
			t.Fatal(err)
		}
		if err := table.Write(rows); err != nil {
			t.Fatal(err)
		}
		table.Close()
		if again := read(t, path); len(again) != len(rows) || len(rows) > 0 && !reflect.DeepEqual(again, rows) {
			t.Errorf("read %q, then %q", rows, again)
		}
	})
}
