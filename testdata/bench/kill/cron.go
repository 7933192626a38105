package kill

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stormcheck/testdata/bench/timing"
)

// checks are those of the benchmark cron: the whole check, as cron starts it, by a shell,
// without that shell, and without waiting to be started; and two ways to wait until
// cron's short jobs have ended.
var checks = []killer{
	{"stormcheck", "cron", `exec stormcheck`},
	{"the bare pipe", "cron", bare},
	{"pkill -9 loop", "cron", pkill},
	{"--delay 7s", "cron", `exec stormcheck --delay 7s`},
	{"sleep 7", "cron", `sleep 7; exec stormcheck`},
	{"stormcheck", "exec", `stormcheck`},
	{"stormcheck", "raised", `stormcheck`},
}

// bare is what stormcheck does, without it.
const bare = `procstat | threshold --limits limits.csv | mailarchive --dir state/archive --mailbox "$PWD/mail/{user}" |
	killstorm --hold "$PWD/mail/{user}" | alertmail --to root --sendmail "$PWD/mailer" --state state/bare.csv`

// files are the settings: the storms are due, and there is a mailbox to save. No mail
// leaves this machine.
var files = map[string]string{
	"limits.csv": "user,proc,log,alert,archive,kill\n*,bench-imapd,20,60,60,100\n*,*,20,60,,\n",
	"mailer":     "#!/bin/sh\nexec cat >/dev/null\n",
	"stormcheck.conf": `KILL=yes
THRESHOLD="$THRESHOLD --limits DIR/limits.csv"
MAILARCHIVE="$MAILARCHIVE --dir DIR/state/archive --mailbox DIR/mail/{user}"
KILLSTORM="$KILLSTORM --hold DIR/mail/{user}"
ALERTMAIL="$ALERTMAIL --sendmail DIR/mailer"
`,
}

// Cron runs the benchmark cron: what is in checks beside each other, on a quiet machine
// and in the storms of the benchmark kill, whose arguments it takes.
func Cron() {
	b := benchmark{storms, checks}
	if len(os.Args) == 4 && os.Args[1] == "run" {
		timing.Check(forget("."))
		timing.Check(b.inside())
		return
	}
	timing.Check(b.outside(prepare, "storm", "stormcheck", "procstat", "threshold", "mailarchive", "killstorm", "alertmail"))
}

func prepare(dir string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "mail"), 0o700), forget(dir)); err != nil {
		return err
	}
	mailbox := filepath.Join(dir, "mail/bench")
	letter := "From chico@moscow Tue Apr 25 00:00:00 2000\nSubject: why\n\nWhy a duck?\n\n"
	if err := os.WriteFile(mailbox, bytes.Repeat([]byte(letter), 1_000_000/len(letter)), 0o600); err != nil {
		return err
	}
	if err := os.Chown(mailbox, uid, uid); err != nil {
		return err
	}
	return quiet(dir)
}

// forget makes the next run the first one, which saves the mail.
func forget(dir string) error {
	for _, name := range []string{"state", "run"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return err
		}
	}
	return os.Mkdir(filepath.Join(dir, "state/archive"), 0o700)
}

// quiet times runs that find nothing, beside each other.
func quiet(dir string) error {
	const rounds = 21
	compared := checks[:2] // stormcheck and the bare pipe
	took := make([][]time.Duration, len(compared))
	most := make([]int, len(compared))
	for round := range 2 * rounds {
		if round == rounds { // the second half is for the memory: sampling takes time, and must not wait for the tools
			if err := raiseAll(); err != nil {
				return err
			}
		}
		for i, killer := range compared {
			cmd := exec.Command(dir+"/lower", "0", "0", "sh", "-c", killer.script)
			cmd.Dir, cmd.Stderr = dir, os.Stderr
			cmd.Env = append(os.Environ(), "PATH="+dir+":/usr/bin:/bin")
			begin := time.Now()
			if err := cmd.Start(); err != nil {
				return err
			}
			if round >= rounds {
				for n := 1; n > 0; most[i] = max(most[i], n) {
					n = memory(cmd.Process.Pid) // 0 of one that has ended
				}
			}
			if err := cmd.Wait(); err != nil {
				return fmt.Errorf("%s: %w", killer.script, err)
			}
			if round < rounds {
				took[i] = append(took[i], time.Since(begin))
			}
		}
	}
	fmt.Println("a quiet machine:")
	for i, killer := range compared {
		fmt.Printf("  %-20s median %3d ms, at most %2d MB for all processes together\n", killer.name, timing.Median(took[i]).Milliseconds(), most[i]>>20)
	}
	return nil
}

// memory returns the bytes that a process and all that come from it have in memory at
// this moment, what they share counted once: Pss of proc_pid_smaps(5).
func memory(pid int) (bytes int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	if _, pss, ok := strings.Cut(string(text), "\nPss:"); ok {
		kB, _ := strconv.Atoi(strings.Fields(pss)[0])
		bytes = kB << 10
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, thread := range threads {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, thread.Name()))
		for _, child := range strings.Fields(string(children)) {
			n, _ := strconv.Atoi(child)
			bytes += memory(n)
		}
	}
	return bytes
}
