package killstorm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// contained starts n processes of a name in a container that uid makes, of which the
// first is the container's first. If docker, root makes one around it.
func contained(t *testing.T, n int, uid uint32, comm string, docker bool, unshare ...string) {
	t.Helper()
	r, w, err := os.Pipe()
	must(err)
	t.Cleanup(func() { w.Close(); r.Close() })
	before := len(called(comm))
	victims(t, 1, uid, "contained", comm, func(cmd *exec.Cmd) {
		cmd.Path, err = exec.LookPath("unshare")
		must(err)
		cmd.Args = append(append([]string{"unshare"}, unshare...), "sh", "-c", `printf %s "$1" >/proc/self/comm
			n=$2; while n=$((n - 1)); [ $n -gt 0 ]; do (read x <&3) & done; echo ready; read x <&3`, "sh", comm, fmt.Sprint(n))
		cmd.ExtraFiles = []*os.File{r}
		if docker {
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
		}
	})
	until(t, "all are there", func() bool { return len(called(comm)) == before+n })
}

// Processes in a container end only if the account made every namespace around them,
// and the first of a container doesn't.
func TestOwnContainers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	uid := who(t)
	own := []string{"--user", "--map-root-user", "--pid", "--fork", "--kill-child"}
	turn := 0
	for what, c := range map[string]struct {
		docker  bool
		unshare []string
		allow   bool
		want    string // cells
		left    int
	}{
		"without the flag":      {false, own, false, "killed=0 notes=killstorm: refused: 4 in containers - too few others: 0", 4},
		"its own":               {false, own, true, "killed=3 remaining=0 notes=killstorm: refused: 1 the first of containers", 1},
		"its own in its own":    {false, append(own, append([]string{"unshare"}, own...)...), true, "killed=3 remaining=0 notes=killstorm: refused: 1 the first of containers", 1},
		"its own in root's":     {true, own, true, "killed=0 notes=killstorm: refused: 1 the first of containers and 3 in containers that others made - too few others: 0", 4},
		"only a user namespace": {true, []string{"--user"}, true, "killed=0 notes=killstorm: refused: 1 the first of containers and 3 in containers that others made - too few others: 0", 4},
	} {
		t.Run(what, func(t *testing.T) {
			turn++
			comm := name(fmt.Sprint("f", turn))
			contained(t, 4, uid, comm, c.docker, c.unshare...)
			cells, reported := run1(t, due(uid, comm, "1"), func(o *Options) { o.AllowOwnContainers = c.allow })
			if cells != c.want || reported != "" || len(called(comm)) != c.left {
				t.Errorf("row %s, reported %q, %d left; want %s, %d", cells, reported, len(called(comm)), c.want, c.left)
			}
			stopped(t, comm)
		})
	}
}

// A process of a subordinate uid is the account's if the account made its user
// namespace; another one that has the uid isn't.
func TestSubordinateUIDs(t *testing.T) {
	if os.Geteuid() != 0 || os.Getpid() != 1 {
		t.Skip("needs root, and namespaces of its own")
	}
	uid, comm := who(t), name("g")
	subuid := filepath.Join(t.TempDir(), "subuid")
	must(os.WriteFile(subuid, []byte(fmt.Sprintf("%d:100000:1000\n", uid)), 0o644))
	if err := unix.Mount(subuid, "/etc/subuid", "", unix.MS_BIND, ""); err != nil {
		t.Skipf("/etc/subuid: %v", err)
	}
	defer unix.Unmount("/etc/subuid", unix.MNT_DETACH)

	r, w, err := os.Pipe()
	must(err)
	defer w.Close()
	first := name("F")
	victims(t, 1, uid, "contained", comm, func(cmd *exec.Cmd) {
		cmd.Path, err = exec.LookPath("unshare")
		must(err)
		cmd.Args = []string{"unshare", "--user", "--pid", "--fork", "--kill-child", "--keep-caps", "sh", "-c", `printf %s "$2" >/proc/self/comm
			echo ready; read x <&3
			setpriv --reuid=1 sh -c 'printf %s "$1" >/proc/self/comm; (read x <&3) & (read x <&3) & read x <&3' sh "$1"
			read x <&3`, "sh", comm, first}
		cmd.ExtraFiles = []*os.File{r}
	})
	inner := called(first)
	if len(inner) != 1 {
		t.Fatalf("%v", inner)
	}
	for file, text := range map[string]string{"uid_map": "0 %d 1\n1 100000 1000\n", "gid_map": "0 %d 1\n"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", inner[0], file), fmt.Appendf(nil, text, uid), 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.WriteString("\n")
	must(err)
	until(t, "all are there", func() bool { return len(called(comm)) == 3 })
	stranger := victims(t, 1, 100000, "plain", comm, nil)

	cells, _ := run1(t, due(uid, comm, "3"), nil)
	if !strings.HasPrefix(cells, "killed=0 notes=killstorm: refused: ") || !strings.Contains(cells, " in containers - too few others: ") || len(called(comm)) != 4 {
		t.Errorf("row %s; %d left", cells, len(called(comm)))
	}
	cells, reported := run1(t, due(uid, comm, "3"), func(o *Options) { o.AllowOwnContainers = true })
	if cells != "killed=3 remaining=0" || reported != "" || living(stranger) != 1 || len(called(comm)) != 1 {
		t.Errorf("row %s, reported %q; %d left, %d strangers live", cells, reported, len(called(comm)), living(stranger))
	}
	stopped(t, comm)
}
