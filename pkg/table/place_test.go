package table

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDropIns(t *testing.T) {
	dir := t.TempDir()
	p := Place{File: dir + "/limits.csv", Dir: dir + "/limits.d"}
	check := func(want ...string) {
		t.Helper()
		got, err := p.DropIns()
		for i := range want {
			want[i] = filepath.Join(p.Dir, want[i])
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("drop-ins %q, %v; want %q", got, err, want)
		}
		paths, err := p.Paths()
		if want := append([]string{p.File, p.Dir}, want...); err != nil || !slices.Equal(paths, want) {
			t.Errorf("paths %q, %v; want %q", paths, err, want)
		}
	}
	check()
	if err := os.Mkdir(p.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	check()
	for _, name := range []string{"50-site.csv", ".hidden.csv", "00-off.csv", "9.csv", "a.csv~", "a.csv.dpkg-new", "csv", "ä.csv", "Z.csv", ".csv"} {
		if err := os.WriteFile(filepath.Join(p.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("00-off.csv", "50-site.csv", "9.csv", "Z.csv", "ä.csv")
}

// If others could write the directory, they could remove a drop-in that exempts them,
// or one that limits them. So it is refused even while nothing is in it.
func TestDropInsOfDirectoryThatOthersCanWrite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is so strict")
	}
	p := Place{Dir: t.TempDir() + "/limits.d"}
	if err := os.Mkdir(p.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.Dir, 0o775); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DropIns(); err == nil || !strings.HasSuffix(err.Error(), "writable by group or others") {
		t.Errorf("group may write it: %v", err)
	}
	if err := os.Chmod(p.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(p.Dir, 60900, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DropIns(); err == nil || !strings.HasSuffix(err.Error(), "owner is not root") {
		t.Errorf("another's: %v", err)
	}
}

func TestDropInsOfNoDirectory(t *testing.T) {
	p := Place{Dir: t.TempDir() + "/limits.d"}
	if err := os.WriteFile(p.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.DropIns(); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file in its place: %v", err)
	}
}
