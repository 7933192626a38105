package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Only a regular file of the user's that names a killed process and is from before the
// kill is removed.
func TestRemoveDotlock(t *testing.T) {
	dir := t.TempDir()
	u := User{Name: "groucho", UID: uint32(os.Geteuid())}
	template, err := Parse(dir + "/{user}")
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, "groucho.lock")
	here, _ := os.Hostname()
	const victim = 1 << 22 // no PID that there can be
	yes := func(pid int) bool { return pid == victim }
	write := func(text string) func() {
		return func() { _ = os.WriteFile(lock, []byte(text), 0o600) }
	}
	const before, after = time.Hour, -time.Hour
	for name, c := range map[string]struct {
		make   func()
		user   User
		killed func(int) bool
		began  time.Duration // from now
		want   string        // of what is said
		left   bool
	}{
		"none":              {make: func() {}, user: u, killed: yes, began: before},
		"its":               {make: write(fmt.Sprint(victim)), user: u, killed: yes, began: before, want: "removed "},
		"its, with host":    {make: write(fmt.Sprintf("%d:%s\n", victim, here)), user: u, killed: yes, began: before, want: "removed "},
		"of another host":   {make: write(fmt.Sprintf("%d:elsewhere\n", victim)), user: u, killed: yes, began: before, left: true},
		"of another":        {make: write("1"), user: u, killed: yes, began: before, left: true},
		"of nobody":         {make: write(fmt.Sprintf("%d:%s", victim, here)), user: u, killed: func(int) bool { return false }, began: before, want: "left ", left: true},
		"of nobody knows":   {make: write(fmt.Sprint(victim)), user: u, killed: func(int) bool { return false }, began: before, left: true},
		"new":               {make: write(fmt.Sprintf("%d:%s", victim, here)), user: u, killed: yes, began: after, want: "left ", left: true},
		"another uid's":     {make: write(fmt.Sprintf("%d:%s", victim, here)), user: User{Name: "groucho", UID: u.UID + 1}, killed: yes, began: before, want: "left ", left: true},
		"empty":             {make: write(""), user: u, killed: yes, began: before, left: true},
		"a link":            {make: func() { _ = os.Symlink("/etc/passwd", lock) }, user: u, killed: yes, began: before, want: "a symbolic link", left: true},
		"a directory":       {make: func() { _ = os.Mkdir(lock, 0o700) }, user: u, killed: yes, began: before, want: "not a regular file", left: true},
		"unfit for a place": {make: func() {}, user: User{Name: "../x"}, killed: yes, began: before, want: "not fit"},
	} {
		c.make()
		said, err := template.RemoveDotlock(c.user, c.killed, time.Now().Add(c.began))
		if err != nil {
			said = err.Error()
		}
		_, gone := os.Lstat(lock)
		if (said == "") != (c.want == "") || !strings.Contains(said, c.want) || (gone == nil) != c.left {
			t.Errorf("%s: said %q; lock: %v", name, said, gone)
		}
		os.Remove(lock)
	}
}
