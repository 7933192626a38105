package killstorm

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/internal/testproc"
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
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		title := make([]byte, end-start)
		copy(title, in.Text())
		_, err := memory.WriteAt(title, start)
		must(err)
		fmt.Println("ready")
	}
}

// speaks starts a victim with that title, that takes each line for its title.
func speaks(t *testing.T, uid uint32, comm, title string) *testproc.Process {
	t.Helper()
	cmd := testproc.Self(uid, "KILLSTORM_ROLE=titled "+comm)
	cmd.Args = []string{strings.Repeat("x", 200)}
	s := testproc.Start(t, cmd)
	s.Write(t, title)
	return s
}

// imapTitles returns an account whose titles name the user that a process works for.
func imapTitles(t *testing.T) (uid uint32, owner account.Account, table *titles.Table) {
	t.Helper()
	if uid = uint32(os.Geteuid()); uid == 0 {
		uid = 65534
	}
	known, _ := account.ByUIDs([]uint32{uid})
	if owner = known[uid]; owner.Name == "" {
		t.Skipf("uid %d has no account", uid)
	}
	table, faults := titles.Parse("titles.csv", "account,proc,title\n"+owner.Name+",*,^imap (?P<user>.*)$\n")
	if len(faults) > 0 || table.Resolve() != nil {
		t.Fatal(faults)
	}
	return uid, owner, table
}

// The word on which somebody is stopped isn't the one on which he is killed: who says
// another name when he has stopped goes on.
func TestProcessWhoseTitleChangesWhenItHasStoppedGoesOn(t *testing.T) {
	uid, owner, table := imapTitles(t)
	comm := name("t")
	fickle, honest := speaks(t, uid, comm, "imap groucho"), speaks(t, uid, comm, "imap groucho")
	other, silent := speaks(t, uid, comm, "imap harpo"), speaks(t, uid, comm, "imapd")

	b := fight{killer: newKiller(Options{}), byUID: map[uint32][]*storm{}}
	s := &storm{target: target{user: mailbox.User{UID: uid}, owner: owner, comm: comm, people: true, table: table, named: "groucho"}, index: map[id]int{}}
	s.naming = naming{table: table, owner: owner, comm: comm}
	b.storms, b.byUID[uid], b.visit = []*storm{s}, []*storm{s}, func(_ int, p *proc.Process) { b.see(p) }
	var err error
	b.table, err = proc.Open()
	must(err)
	defer b.table.Close()

	must(b.sweep())
	fickle.Write(t, "imap harpo")
	if stopped, _ := b.stop(); stopped != 2 {
		t.Errorf("%d stopped; want the two that said so", stopped)
	}
	for _, one := range []*testproc.Process{fickle, honest} {
		for patience := 0; state(one.Process.Pid) != "T" && patience < 1000; patience++ {
			time.Sleep(time.Millisecond)
		}
	}
	b.send(unix.SIGKILL)
	for _, one := range []*testproc.Process{fickle, honest} {
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
	fickle.Write(t, "imap groucho") // it goes on, and listens
	for what, one := range map[string]*testproc.Process{"another's": other, "one that says nothing": silent} {
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
	silent.Write(t, "imapd") // nobody is left frozen
}

// Processes of an interpreter end by the program that their titles name, and no others
// do; by the interpreter's name those end that have no name of their own.
func TestEndsByTheProgramThatTitlesName(t *testing.T) {
	uid := who(t)
	comm := name("n")
	path := t.TempDir() + "/titles.csv"
	must(os.WriteFile(path, []byte("account,proc,title\n*,"+comm+`,^node (?:\S*/)?(?P<proc>[^/ ]+)\.js`+"\n"), 0o600))
	table, faults := titles.Load(path)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	all := map[string][]*testproc.Process{}
	for title, n := range map[string]int{"node /opt/mcp.js --key secret": 6, "node /opt/web.js": 5, "node /opt/a.js": 1, "node": 1} {
		for range n {
			all[title] = append(all[title], speaks(t, uid, comm, title))
		}
	}
	alive := func() (n string) {
		for _, title := range []string{"node /opt/mcp.js --key secret", "node /opt/web.js", "node /opt/a.js", "node"} {
			live := 0
			for _, one := range all[title] {
				if s := state(one.Process.Pid); s == "S" || s == "R" {
					live++
				}
			}
			n += fmt.Sprint(live, " ")
		}
		return n
	}
	at := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339) // after the table's last change
	run := func(proc, rule string, limit int) string {
		var out strings.Builder
		row := fmt.Sprintf("%s,moscow,%s,%d,%s,404,kill=%d,,,,,%s\n", at, user(uid), uid, proc, limit, rule)
		runOn(t, strings.NewReader(strings.TrimSpace(header)+",rule\n"+row), &out, func(o *Options) { o.Now, o.Titles = time.Now, table })
		cells := strings.Split(strings.TrimSpace(out.String()), ",")
		return filled(cells[:len(cells)-1])
	}
	for _, c := range []struct{ proc, rule, want, alive string }{
		{"mcp", "*/*", "killed=0 notes=killstorm: refused: 6 named by titles and not spelled by the limits row - too few others: 0", "6 5 1 1 "},
		{"mcp", "*/mc?", "killed=0 notes=killstorm: refused: 6 named by titles and not spelled by the limits row - too few others: 0", "6 5 1 1 "},
		{"mcp", "*/x|mcp", "killed=6 remaining=0", "0 5 1 1 "},
		{comm, "*/*", "killed=2 remaining=0", "0 5 0 0 "},
		{"web", "*/web", "killed=5 remaining=0", "0 0 0 0 "},
	} {
		limit := 2
		if c.proc == "mcp" {
			limit = 6
		}
		if cells := run(c.proc, c.rule, limit); cells != c.want || alive() != c.alive {
			t.Errorf("%s by %s: row %s, alive %s; want %s, %s", c.proc, c.rule, cells, alive(), c.want, c.alive)
		}
	}
}

func TestOnlyASpelledNameEndsByTitle(t *testing.T) {
	for _, c := range []struct {
		rule, name string
		want       bool
	}{
		{"*/mcp", "mcp", true}, {"groucho/mcp|x", "mcp", true}, {"*/x|mcp", "mcp", true},
		{"*/mcp*", "mcp", false}, {"*/*", "mcp", false}, {"", "mcp", false}, {"mcp", "mcp", false}, {"*/MCP", "mcp", false},
		{"*/*", "*", false}, {"*/a\\\\b", "a\\b", false}, {"*/", "", true},
	} {
		if got := spells(c.rule, c.name); got != c.want {
			t.Errorf("%s spells %s: %v", c.rule, c.name, got)
		}
	}
}
