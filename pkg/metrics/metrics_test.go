package metrics

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"
)

// A process that the tests start counts up in a file, and ends.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORMCHECK_COUNT_IN"); path != "" {
		lockWait = time.Minute // the machine may be busy
		for range 50 {
			if err := Update(path, oneMore); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func oneMore(past Past) *Text {
	var t Text
	t.Metric("n_total", Counter, "How often.")
	t.Add(past.Value("n_total")+1, "padding", strings.Repeat("x", 9000))
	t.Add(past.Value("n_total") + 1)
	return &t
}

// samples returns what Prometheus's own parser reads, by name and labels.
func samples(t *testing.T, text []byte) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	found := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			labels := name
			for _, l := range m.GetLabel() {
				labels += "|" + l.GetName() + "=" + l.GetValue()
			}
			found[labels] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

var hostile = []string{"", `"`, `\`, "\n", `\n`, `a"} 5`, "a\nb_total 7", "# HELP x", "é ü\t\r", "{}=,", "\u202e\x1b[2J", " "}

func TestText(t *testing.T) {
	var text Text
	text.Metric("a_total", Counter, "With a \\ and\na second line.")
	text.Add(5312)
	text.Metric("b", Gauge, "Hostile.")
	want := map[string]float64{"a_total": 5312}
	for i, name := range hostile {
		text.Add(float64(i)+0.25, "user", name, "proc", "p"+name)
		want["b|user="+name+"|proc=p"+name] = float64(i) + 0.25
	}
	text.Metric("c", Gauge, "Large.")
	text.Add(956639822, "at", "epoch")
	text.Add(1e300, "at", "end")
	want["c|at=epoch"], want["c|at=end"] = 956639822, 1e300
	if got := samples(t, text.Bytes()); !maps.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	if !strings.Contains(string(text.Bytes()), "\na_total 5312\n") || !strings.Contains(string(text.Bytes()), "} 956639822\n") {
		t.Errorf("whole numbers aren't plain:\n%s", text.Bytes())
	}
	// What was written is read again.
	past := parse(text.Bytes())
	for i, name := range hostile {
		if got := past.Value("b", "user", name, "proc", "p"+name); got != float64(i)+0.25 {
			t.Errorf("the past of %q is %v; want %v", name, got, float64(i)+0.25)
		}
	}
	if got := past.Labels("c", "at"); len(got) != 2 || !slices.Contains(got, "epoch") || past.Labels("b", "user") != nil {
		t.Errorf("labels %q, %q", got, past.Labels("b", "user"))
	}
}

func TestPastOfRubbish(t *testing.T) {
	past := parse([]byte("a_total -1\nb_total NaN\nc_total +Inf\nd_total 0x\n\n \n# x 1\ne_total 1 2\nf_total 7"))
	if want := (Past{"e_total 1": 2, "f_total": 7}); !maps.Equal(past, want) {
		t.Errorf("%v; want %v", past, want)
	}
}

func FuzzText(f *testing.F) {
	for _, name := range hostile {
		f.Add(name, name, 1.5)
	}
	f.Fuzz(func(t *testing.T, a, b string, value float64) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) || math.IsNaN(value) {
			t.Skip()
		}
		var text Text
		text.Metric("m", Gauge, a)
		text.Add(value, "a", a, "b", b)
		if got := samples(t, text.Bytes()); len(got) != 1 || got["m|a="+a+"|b="+b] != value {
			t.Errorf("%v; want %q, %q, %v", got, a, b, value)
		}
		if value >= 0 && !math.IsInf(value, 1) && parse(text.Bytes()).Value("m", "a", a, "b", b) != value {
			t.Errorf("the past of %s lacks it", text.Bytes())
		}
	})
}

func TestUpdate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	path := t.TempDir() + "/x.prom"
	if err := os.WriteFile(path+".new", []byte("left by one that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 1.0; n <= 3; n++ {
		if err := Update(path, oneMore); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || samples(t, text)["n_total"] != n {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v: mode %v; want 0644, for the collector to read", err, info.Mode())
	}
	if _, err := os.Lstat(path + ".new"); err == nil {
		t.Error("path.new is left")
	}
	// One that isn't ours, or too large to be, is replaced.
	if err := os.WriteFile(path, bytes.Repeat([]byte("n_total 4\n"), maxSize/10+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Update(path, oneMore); err != nil || parse(mustRead(t, path)).Value("n_total") != 1 {
		t.Errorf("%v: a file of no past: %s", err, mustRead(t, path))
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Several processes write, and what is read meanwhile is always whole.
func TestUpdateAtOnce(t *testing.T) {
	path := t.TempDir() + "/x.prom"
	const writers = 4
	ended := make(chan error, writers)
	for range writers {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORMCHECK_COUNT_IN="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { ended <- cmd.Wait() }()
	}
	for left := writers; left > 0; {
		select {
		case err := <-ended:
			if left--; err != nil {
				t.Error(err)
			}
		default:
			text, err := os.ReadFile(path)
			if err == nil && (len(samples(t, text)) != 2 || text[len(text)-1] != '\n') {
				t.Fatalf("not whole: %s", text)
			}
		}
	}
	if got := parse(mustRead(t, path)).Value("n_total"); got != writers*50 {
		t.Errorf("%v counted; want %d", got, writers*50)
	}
}

func TestUpdateRefuses(t *testing.T) {
	dir := t.TempDir()
	victim := dir + "/victim"
	mkfile := func(path string) string {
		if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mkfile(victim)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Symlink(victim, dir+"/link.prom"))
	must(os.Symlink(victim, dir+"/lock.prom.lock"))
	must(unix.Mkfifo(dir+"/fifo.prom", 0o600))
	must(os.Mkdir(dir+"/dir.prom", 0o755))
	must(os.Mkdir(dir+"/loose", 0o755))
	must(os.Chmod(dir+"/loose", 0o777))
	for path, want := range map[string]string{
		dir + "/link.prom":     "a symbolic link",
		dir + "/lock.prom":     "a symbolic link",
		dir + "/fifo.prom":     "not a regular file",
		dir + "/dir.prom":      "not a regular file",
		dir + "/none/x.prom":   "no such file or directory",
		dir + "/loose/x.prom":  dir + "/loose: writable by group or others",
		dir + "/victim/x.prom": "not a directory",
	} {
		if strings.Contains(path, "/loose/") && os.Geteuid() != 0 {
			continue // who isn't root writes where he may
		}
		err := Update(path, oneMore)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v; want %s", path, err, want)
		}
	}
	if text := mustRead(t, victim); string(text) != "precious" {
		t.Errorf("the victim is %q", text)
	}
	must(os.Symlink(victim, dir+"/new.prom.new")) // that one goes
	if err := Update(dir+"/new.prom", oneMore); err != nil || string(mustRead(t, victim)) != "precious" {
		t.Errorf("%v: the victim is %q", err, mustRead(t, victim))
	}
}
