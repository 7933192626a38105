package trusted

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whatever is done to a file, its fingerprint differs afterwards; if nothing is, it
// doesn't.
func TestFingerprintShowsEveryChange(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/limits.csv"
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := func() time.Time {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	last := Look(path)
	if last.Exists() || last != (Fingerprint{}) || last != Look(dir+"/no/such") || last != Look("/dev/null/x") {
		t.Errorf("nothing there: %s", last)
	}
	for _, change := range []struct {
		what string
		do   func()
	}{
		{"made", func() { put(path, "a\n") }},
		{"another size", func() { put(path, "ab\n") }},
		{"the same size", func() { put(path, "cd\n") }},
		{"mtime set back", func() { before := now(); put(path, "ef\n"); _ = os.Chtimes(path, before, before) }},
		{"mode", func() { _ = os.Chmod(path, 0o644) }},
		{"replaced", func() { put(dir+"/new", "ef\n"); _ = os.Rename(dir+"/new", path) }},
		{"a link in its place", func() { _ = os.Rename(path, dir+"/old"); _ = os.Symlink("old", path) }},
		{"gone", func() { _ = os.Remove(path) }},
	} {
		// The kernel's clock for times of files has steps of up to 10 ms.
		time.Sleep(20 * time.Millisecond)
		change.do()
		next := Look(path)
		if next == last || next.Fault() != nil {
			t.Errorf("%s: %s, as before", change.what, next)
		}
		if again := Look(path); again != next {
			t.Errorf("%s: %s, then %s", change.what, next, again)
		}
		if parsed, err := ParseFingerprint(next.String()); parsed != next || err != nil {
			t.Errorf("%s: %s is read as %s, %v", change.what, next, parsed, err)
		}
		last = next
	}
}

func TestFingerprintOfWhatCannotBeLookedAt(t *testing.T) {
	f := Look("/tmp/" + strings.Repeat("x", 300))
	if f.Fault() != syscall.ENAMETOOLONG || f.Exists() || f == (Fingerprint{}) {
		t.Errorf("%s, %v", f, f.Fault())
	}
	if parsed, err := ParseFingerprint(f.String()); parsed != f || err != nil {
		t.Errorf("%s is read as %s, %v", f, parsed, err)
	}
}

func TestParseFingerprintRefuses(t *testing.T) {
	for _, text := range []string{
		"", "Absent", "absent ", "unknown", "unknown:", "unknown:0", "unknown:x", "unknown:70000",
		"1:2:3:4", "1:2:3:4:5:6", "01:2:3:4:5", "-1:2:3:4:5", "1:2:3:4:x", "1:2:3:4:+5", "1:2:3:4:99999999999999999999",
	} {
		if f, err := ParseFingerprint(text); err == nil {
			t.Errorf("%q is taken for %s", text, f)
		}
	}
}
