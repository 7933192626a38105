package killstorm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// speak is what a victim does that takes each line of its input for its title.
func speak() {
	// proc_pid_stat(5): arg_start is field 48, arg_end the next.
	text, err := os.ReadFile("/proc/self/stat")
	must(err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	start, err := strconv.ParseInt(fields[45], 10, 64)
	must(err)
	end, err := strconv.ParseInt(fields[46], 10, 64)
	must(err)
	memory, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	must(err)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		title := make([]byte, end-start)
		copy(title, in.Text())
		_, err := memory.WriteAt(title, start)
		must(err)
		fmt.Println("ready")
	}
}

// A speaker is a victim that says what it is told to.
type speaker struct {
	*exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// speaks starts one.
func speaks(t *testing.T, uid uint32, comm, title string) speaker {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{strings.Repeat("x", 200)}
	cmd.Env = append(os.Environ(), "KILLSTORM_ROLE=speaker "+comm, "GORACE=atexit_sleep_ms=10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	s := speaker{cmd, in, bufio.NewReader(out)}
	s.say(t, title)
	return s
}

func (s speaker) say(t *testing.T, title string) {
	t.Helper()
	fmt.Fprintln(s.in, title)
	if line, err := s.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
}

// The word on which somebody is stopped isn't the one on which he is killed: who says
// another name when he has stopped goes on.
func TestSaysOtherwise(t *testing.T) {
	uid := uint32(os.Geteuid())
	if uid == 0 {
		uid = nobody
	}
	known, _ := account.ByUIDs([]uint32{uid})
	if known[uid].Name == "" {
		t.Skipf("uid %d has no account", uid)
	}
	comm := name("t")
	table, faults := titles.Parse("titles.csv", "account,proc,title\n"+known[uid].Name+",*,^imap (?P<user>.*)$\n")
	if len(faults) > 0 || table.Resolve() != nil {
		t.Fatal(faults)
	}
	fickle, honest := speaks(t, uid, comm, "imap groucho"), speaks(t, uid, comm, "imap groucho")
	other, silent := speaks(t, uid, comm, "imap harpo"), speaks(t, uid, comm, "imapd")

	b := fight{killer: newKiller(Options{}), byUID: map[uint32][]*storm{}}
	s := &storm{target: target{user: mailbox.User{UID: uid}, comm: comm, rules: table.For(uid, comm), named: "groucho"}, index: map[id]int{}}
	b.storms, b.byUID[uid], b.visit = []*storm{s}, []*storm{s}, func(_ int, p *proc.Process) { b.meet(p) }
	var err error
	b.table, err = proc.Open()
	must(err)
	defer b.table.Close()

	must(b.sweep())
	fickle.say(t, "imap harpo")
	if stopped, _ := b.stop(); stopped != 2 {
		t.Errorf("%d stopped; want the two that said so", stopped)
	}
	for _, one := range []speaker{fickle, honest} {
		for patience := 0; state(one.Process.Pid) != "T" && patience < 1000; patience++ {
			time.Sleep(time.Millisecond)
		}
	}
	b.send(unix.SIGKILL)
	for _, one := range []speaker{fickle, honest} {
		if got := state(one.Process.Pid); got != "T" {
			t.Errorf("before it was looked at again: %s", got)
		}
	}
	must(b.sweep())
	if !b.settled() {
		t.Error("all have stopped or go on")
	}
	b.send(unix.SIGKILL)
	if err := honest.Wait(); err == nil {
		t.Error("the one who says so is spared")
	}
	fickle.say(t, "imap groucho") // it goes on, and listens
	for what, one := range map[string]speaker{"another's": other, "one that says nothing": silent} {
		if got := state(one.Process.Pid); got != "S" && got != "R" {
			t.Errorf("%s: %s", what, got)
		}
	}

	// The account's own are those that say nothing.
	s.named, s.processes, s.index = "", nil, map[id]int{}
	must(b.sweep())
	b.stop()
	b.release(func(*process) bool { return true })
	var own []int
	for _, p := range s.processes {
		if p.claim == ours {
			own = append(own, p.pid)
		}
	}
	if len(own) != 1 || own[0] != silent.Process.Pid {
		t.Errorf("the account's own: %v; want %d", own, silent.Process.Pid)
	}
	silent.say(t, "imapd") // nobody is left frozen
}
