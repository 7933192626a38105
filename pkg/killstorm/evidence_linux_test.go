package killstorm

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/pause"
)

// evidenceIn returns the texts of the evidence in a directory, and checks its files.
func evidenceIn(t *testing.T, dir string) (texts []string) {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*")
	for _, path := range files {
		info, err := os.Stat(path)
		must(err)
		if info.Mode() != 0o600 {
			t.Errorf("%s: mode %s", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		must(err)
		texts = append(texts, string(text))
	}
	return texts
}

func TestEvidenceIsOfTheOldestWithTheirParents(t *testing.T) {
	uid := who(t)
	dir := filepath.Join(t.TempDir(), "evidence")
	comm := "x pid=1" + name("")
	comm = comm[:min(15, len(comm))]
	storm := victims(t, 22, uid, "plain", comm, nil)
	change := func(o *Options) { o.Evidence = dir }
	run1(t, due(uid, comm, "22"), func(o *Options) { change(o); o.DryRun = true })
	paused := filepath.Join(t.TempDir(), "pause")
	must(pause.Write(paused, pause.List{{Until: now.Add(time.Hour), User: pause.Any, Proc: pause.Any}}))
	run1(t, due(uid, comm, "22"), func(o *Options) { change(o); o.Pause = paused })
	if texts := evidenceIn(t, dir); len(texts) != 0 {
		t.Errorf("evidence of a dry run, or of a paused storm: %q", texts)
	}
	cells, reported := run1(t, due(uid, comm, "22"), change)
	if cells != "killed=22 remaining=0" || reported != "" {
		t.Errorf("row %s, reported %q", cells, reported)
	}
	texts := evidenceIn(t, dir)
	if len(texts) != 1 {
		t.Fatalf("%d files", len(texts))
	}
	lines := strings.Split(texts[0], "\n")
	escaped := strings.ReplaceAll(comm, " ", `\x20`)
	if want := fmt.Sprintf("user=%s uid=%d proc=%s count=22 oldest=20", user(uid), uid, escaped); lines[0] != want || len(lines) != 22 {
		t.Errorf("%d lines, %q; want %s", len(lines), lines[0], want)
	}
	chain := fmt.Sprintf("%d:%s", os.Getpid(), commOf(os.Getpid()))
	exe, _ := os.Executable()
	for i, cmd := range storm[:20] {
		want := regexp.MustCompile(fmt.Sprintf(`^pid=%d start=2\S+Z state=[SR] cgroup=\S* exe=%s parents=%s(,\S+)?$`, cmd.Process.Pid, regexp.QuoteMeta(exe), regexp.QuoteMeta(chain)))
		if !want.MatchString(lines[i+1]) {
			t.Errorf("line %q; want %s", lines[i+1], want)
		}
	}
	if path := fmt.Sprintf("%s/%s.%d.evidence", dir, user(uid), now.Unix()); !exists(path) {
		t.Errorf("no %s", path)
	}
	victims(t, 1, uid, "plain", comm, nil)
	run1(t, due(uid, comm, "1"), change)
	if path := fmt.Sprintf("%s/%s.%d.evidence.1", dir, user(uid), now.Unix()); !exists(path) || len(evidenceIn(t, dir)) != 2 {
		t.Errorf("no %s", path)
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// A directory that can't be written, or doesn't answer, keeps no storm alive.
func TestEvidenceNeverDelaysTheKill(t *testing.T) {
	uid := who(t)
	comm := name("e")
	storm := victims(t, 2, uid, "plain", comm, nil)
	file := filepath.Join(t.TempDir(), "file")
	must(os.WriteFile(file, nil, 0o600))
	cells, _ := run1(t, due(uid, comm, "2"), func(o *Options) { o.Evidence = file })
	if !strings.HasPrefix(cells, "killed=2 remaining=0 errors=killstorm: no evidence: "+file) || living(storm) != 0 {
		t.Errorf("row %s; %d live", cells, living(storm))
	}

	k := newKiller(Options{Now: time.Now, Signal: syscall.SIGKILL, Timeout: time.Minute, Evidence: t.TempDir()})
	k.evidence <- true // an earlier one waits for the disk
	storm = victims(t, 2, uid, "plain", comm, nil)
	s := fought(t, k, uid, comm)
	if got := fmt.Sprint(s.notes); !strings.HasSuffix(got, ": no answer within 1s]") || living(storm) != 0 {
		t.Errorf("notes %s; %d live", got, living(storm))
	}
}

func TestEvidenceOfAHostileName(t *testing.T) {
	for user, want := range map[string]string{
		"groucho": "groucho", "../etc/x": `\x2e.\x2fetc\x2fx`, ".": `\x2e`, "a b": `a\x20b`, "a\nb": `a\x0ab`, `CORP\alice`: `CORP\\alice`,
	} {
		if got := fileName(user); got != want {
			t.Errorf("%q: %q; want %q", user, got, want)
		}
	}
}
