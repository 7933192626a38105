package trusted

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
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

func mkdir(t *testing.T, path string, mode os.FileMode) string {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TempDir is below /tmp, which is sticky, and its parts are made by this test: a
// place that root may trust.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir+"/good", "limits", 0o644)
	open := mkdir(t, dir+"/open", 0o777)
	sticky := mkdir(t, dir+"/sticky", 0o777|os.ModeSticky)
	closed := mkdir(t, dir+"/closed", 0o755)
	links := map[string]string{
		dir + "/link": good, closed + "/dir": open, dir + "/ok": closed, dir + "/loop": "loop", closed + "/up": "../open/in",
	}
	for name, target := range links {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(t, open+"/in", 0o755)
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := write(t, dir+"/theirs", "", 0o644)
	theirDir := mkdir(t, dir+"/theirdir", 0o755)
	write(t, theirDir+"/f", "", 0o644)
	theirLink := dir + "/theirlink"
	if err := os.Symlink(closed, theirLink); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, path := range []string{theirs, theirDir, theirLink} {
			if err := os.Lchown(path, 12345, 12345); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		path     string
		want     string // the error's end, "" for none
		onlyRoot bool
	}{
		{good, "", false},
		{write(t, sticky+"/f", "", 0o600), "", false},
		{write(t, closed+"/f", "", 0o600), "", false},
		{dir + "/ok/f", "", false},
		{dir + "/absent", "no such file or directory", false},
		{dir + "/link", "a symbolic link", false},
		{dir + "/loop", "a symbolic link", false},
		{dir + "/fifo", "not a regular file", false},
		{dir, "not a regular file", false},
		{"/dev/null", "not a regular file", false},
		{write(t, dir+"/group", "", 0o664), "writable by group or others", true},
		{write(t, dir+"/others", "", 0o646), "writable by group or others", true},
		{write(t, open+"/f", "", 0o644), open + ": writable by group or others", true},
		{write(t, open+"/in/f", "", 0o644), open + ": writable by group or others", true},
		{closed + "/dir/f", open + ": writable by group or others", true},
		{closed + "/up/f", open + ": writable by group or others", true},
		{closed + "/dir/../good", open + ": writable by group or others", true},
		{theirs, "owner is not root", true},
		{theirDir + "/f", theirDir + ": owner is not root", true},
		{theirLink + "/f", theirLink + ": a link that isn't root's", true},
	} {
		if c.onlyRoot && os.Geteuid() != 0 {
			continue // what others could do to root's files is of no matter to them
		}
		_, err := Read(c.path)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.path, err)
		case c.want != "" && (err == nil || err.Error() != c.path+": "+c.want):
			t.Errorf("%s: %v; want %s", c.path, err, c.want)
		}
	}
	if text, err := Read(good); string(text) != "limits" {
		t.Errorf("%q, %v", text, err)
	}
}
