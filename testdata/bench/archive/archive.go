// Package archive times mailarchive beside what else copies files with owner and times:
//
//	go run ./testdata/bench archive [ext4|xfs|btrfs|here]... [ROUNDS]
//
// As root it copies one mailbox of 1 GiB, 100 of 10 MB and 10,000 of 20 KB on each
// kind of file system, made in a file beside this program's temporary directory, or
// on what that directory lies on itself (here, the default). mailarchive syncs each
// file and, after it has its name, the directory, before it passes its row on and
// begins with the next. "Each synced" does that with cp and sync(1), or as save.c, the
// least that it takes; the others are followed by sync(1) of all files, which is one
// fsync(2) each, and once of the directory: no copy is safe before all are. All run in
// turn, ROUNDS times (3); printed are medians, and how they compare to the first.
package archive

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"stormcheck/testdata/bench/timing"
)

// A load is so many mailboxes of so many bytes.
type load struct {
	name  string
	count int
	size  int64
}

var loads = []load{{"1 GiB", 1, 1 << 30}, {"100 x 10 MB", 100, 10_000_000}, {"10000 x 20 KB", 10_000, 20_000}}

// A program copies all files of mail into copies, which is empty.
type program struct {
	name string
	run  string // for sh, in a directory that has both
}

const syncAll = ` && find copies -type f -print0 | xargs -0 sync && sync copies`

var programs = []program{
	{"cp -p, each synced", `for f in mail/*; do cp -p "$f" copies && sync "copies/${f#mail/}" && sync copies; done`},
	{"save.c, each synced", `./save copies mail/*`},
	{"mailarchive", `./mailarchive --dir "$PWD/copies" --mailbox "$PWD/mail/{user}" --min-free 0 <rows >out && [ "$(grep -c /copies/ out)" = "$(ls mail | wc -l)" ]`},
	{"cp -p --reflink=never", `cp -p --reflink=never mail/* copies` + syncAll},
	{"cp -p --reflink=auto", `cp -p --reflink=auto mail/* copies` + syncAll},
	{"rsync -a", `rsync -a mail/ copies` + syncAll},
	{"rsync -a --fsync", `rsync -a --fsync mail/ copies && sync copies`},
}

// Main runs the benchmark.
func Main() {
	if os.Getenv("BENCH_DIR") == "" {
		timing.Check(outside())
		return
	}
	rounds, systems := 3, []string{}
	for _, arg := range os.Args[1:] {
		if n, err := strconv.Atoi(arg); err == nil {
			rounds = n
		} else {
			systems = append(systems, arg)
		}
	}
	if len(systems) == 0 {
		systems = []string{"here"}
	}
	for _, system := range systems {
		for _, l := range loads {
			timing.Check(bench(filepath.Join(os.Getenv("BENCH_DIR"), system), system, l, rounds))
		}
	}
}

// outside builds mailarchive and runs this program again where it may mount.
func outside() error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := timing.Build(dir, "mailarchive", "save"); err != nil {
		return err
	}
	cmd := exec.Command("unshare", append([]string{"--mount", self}, os.Args...)...)
	cmd.Env = append(os.Environ(), "BENCH_DIR="+dir)
	return run(cmd)
}

func run(cmd *exec.Cmd) error {
	if cmd.Stdout == nil {
		cmd.Stdout = os.Stdout
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", cmd, err)
	}
	return nil
}

func shell(dir, script string) error {
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	return run(cmd)
}

func bench(dir, system string, l load, rounds int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if system != "here" {
		mkfs := map[string]string{"ext4": "mkfs.ext4 -q -F", "xfs": "mkfs.xfs -q -f", "btrfs": "mkfs.btrfs -q -f"}[system]
		image := dir + ".image"
		if err := shell("/", fmt.Sprintf("truncate -s 16G %[1]s && %[2]s %[1]s && mount -o loop %[1]s %[3]s", image, mkfs, dir)); err != nil {
			return err
		}
		defer func() { timing.Check(shell("/", fmt.Sprintf("umount %s && rm %s", dir, image))) }()
	}
	if err := prepare(dir, l); err != nil {
		return err
	}
	took := make([][]time.Duration, len(programs))
	for range rounds {
		for i, p := range programs {
			if err := shell(dir, l.clear()+" && mkdir -m 700 copies && sync -f ."); err != nil {
				return err
			}
			if err := rows(dir, l); err != nil {
				return err
			}
			begin := time.Now()
			if err := shell(dir, p.run); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(begin))
		}
	}
	fmt.Printf("%s, %s, beside %s\n", system, l.name, programs[0].name)
	first := timing.Median(took[0])
	for i, p := range programs {
		fmt.Printf("  %-22s %8.3f s  %6.2f  (%.3f to %.3f)\n", p.name, timing.Median(took[i]).Seconds(),
			float64(timing.Median(took[i]))/float64(first), slices.Min(took[i]).Seconds(), slices.Max(took[i]).Seconds())
	}
	return shell(dir, "rm -rf mail copies old")
}

// clear takes the copies away that were made last. Many are only put aside: ext4 looks
// at each inode that was freed in the last minutes before it takes a new one.
func (l load) clear() string {
	if l.count > 100 {
		return `mkdir -p old copies && mv copies "$(mktemp -d old/XXXXXX)"`
	}
	return "rm -rf copies"
}

// firstUID is that of the first of as many accounts as there are mailboxes.
const firstUID = 100_000

// prepare makes the mailboxes, and puts a passwd(5) with their owners over this one.
func prepare(dir string, l load) error {
	if err := os.MkdirAll(dir+"/mail", 0o755); err != nil {
		return err
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	text := strings.Builder{}
	text.Write(passwd)
	part := make([]byte, min(l.size, 1<<20))
	_, _ = rand.Read(part)
	for n := range l.count {
		path := fmt.Sprintf("%s/mail/user%d", dir, n)
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		for left := l.size; left > 0; left -= int64(len(part)) {
			if _, err := f.Write(part[:min(left, int64(len(part)))]); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := os.Chown(path, firstUID+n, 100); err != nil {
			return err
		}
		fmt.Fprintf(&text, "user%d:x:%d:100::/:/bin/sh\n", n, firstUID+n)
	}
	if err := os.WriteFile(dir+"/passwd", []byte(text.String()), 0o644); err != nil {
		return err
	}
	return shell(dir, "mount --bind passwd /etc/passwd && cp ../mailarchive ../save . && sync -f .")
}

// rows makes a snapshot of now, in which each account is due.
func rows(dir string, l load) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	text := strings.Builder{}
	text.WriteString("time,host,user,uid,proc,count,actions\n")
	now := time.Now().UTC().Format(time.RFC3339)
	for n := range l.count {
		fmt.Fprintf(&text, "%s,%s,user%d,%d,imapd,404,archive=60\n", now, host, n, firstUID+n)
	}
	return os.WriteFile(dir+"/rows", []byte(text.String()), 0o644)
}
