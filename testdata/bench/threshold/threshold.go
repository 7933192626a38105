// Package threshold times threshold beside what else filters CSV:
//
//	go run ./testdata/bench threshold [ROWS [ROUNDS]]
//
// It makes a stream of ROWS rows (3 million) of eight columns, of which one in 200
// counts 20 or more, and takes it through all programs in turn, ROUNDS rounds (7).
// It prints medians, how often faster threshold is, and the most memory: once for
// the rows that reach a limit of the built-in table, once for all rows with what
// the table says of them.
package threshold

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"

	"stormcheck/testdata/bench/timing"
)

// chain says what the built-in table says, as the original did: in code.
const chain = `
	NR == 1 { print $0, "rule", "actions", "archived", "killed", "remaining", "notes", "errors"; next }
	{
		a = ""
		if ($6 >= 20) a = "log=20"
		if ($5 == "sendmail") { r = "*/sendmail"; if ($6 >= 60) a = a " alert=60" }
		else if ($5 == "imapd" || $5 == "imap") {
			r = "*/imapd|imap"
			if ($6 >= 60) a = a " alert=60 archive=60"
			if ($6 >= 100) a = a " kill=100"
		}
		else if ($5 == "httpsd" || $5 == "httpd") { r = "*/httpsd|httpd"; if ($6 >= 40) a = a " alert=40" }
		else { r = "*/*"; if ($6 >= 20) a = a " alert=20" }
		print $0, r, a, "", "", "", "", ""
	}`

const mlrChain = `
	$rule = "*/*"; $actions = "";
	if ($count >= 20) { $actions = "log=20" }
	if ($proc == "sendmail") { $rule = "*/sendmail"; if ($count >= 60) { $actions .= " alert=60" } }
	elif ($proc == "imapd" || $proc == "imap") {
		$rule = "*/imapd|imap";
		if ($count >= 60) { $actions .= " alert=60 archive=60" }
		if ($count >= 100) { $actions .= " kill=100" }
	}
	elif ($proc == "httpsd" || $proc == "httpd") { $rule = "*/httpsd|httpd"; if ($count >= 40) { $actions .= " alert=40" } }
	elif ($count >= 20) { $actions .= " alert=20" }
	$archived = ""; $killed = ""; $remaining = ""; $notes = ""; $errors = ""`

// Main runs the benchmark.
func Main() {
	timing.Check(bench(timing.Argument(1, 3_000_000), timing.Argument(2, 7)))
}

func bench(count, rounds int) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := timing.Build(dir, "threshold"); err != nil {
		return err
	}
	limits, err := exec.Command(dir+"/threshold", "--print-limits").Output()
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/limits.csv", limits, 0o600); err != nil {
		return err
	}
	stream := dir + "/stream.csv"
	if err := write(stream, count); err != nil {
		return err
	}
	threshold := []string{dir + "/threshold", "--limits", dir + "/limits.csv"}
	for _, c := range []struct {
		title    string
		programs []*timing.Program
	}{
		{"rows over a limit", []*timing.Program{
			{Name: "threshold", Args: threshold},
			{Name: "mawk -F, '$6 >= 20'", Args: []string{"mawk", "-F,", "$6 >= 20"}},
			{Name: "gawk -F, '$6 >= 20'", Args: []string{"gawk", "-F,", "$6 >= 20"}},
			{Name: "mlr filter '$count >= 20'", Args: []string{"mlr", "--icsv", "--ocsv", "filter", "$count >= 20"}},
		}},
		{"all rows, with what the table says", []*timing.Program{
			{Name: "threshold --all", Args: append(threshold, "--all")},
			{Name: "mawk", Args: []string{"mawk", "-F,", "-v", "OFS=,", chain}},
			{Name: "gawk", Args: []string{"gawk", "-F,", "-v", "OFS=,", chain}},
			{Name: "mlr put", Args: []string{"mlr", "--icsv", "--ocsv", "put", mlrChain}},
		}},
	} {
		fmt.Printf("%d rows in, %s, medians of %d rounds:\n", count, c.title, rounds)
		if err := timing.Compare(c.programs, stream, rounds); err != nil {
			return err
		}
	}
	return nil
}

// write makes the stream. It has 36,000 accounts, as the original's machine had.
func write(path string, count int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	out.WriteString("time,host,user,uid,proc,count,zombies,recent\n")
	procs := []string{"imapd", "bash", "sendmail", "httpd", "ps", "vi", "pine", "tcsh", "in.telnetd", "sshd"}
	random := rand.New(rand.NewPCG(1, 2))
	for range count {
		user, n := random.IntN(36000), 1+random.IntN(19)
		if random.IntN(200) == 0 {
			n = 20 + random.IntN(400)
		}
		fmt.Fprintf(out, "2000-04-25T05:17:02Z,moscow,user%d,%d,%s,%d,0,%d\n", user, 1000+user, procs[random.IntN(len(procs))], n, n/4)
	}
	return out.Flush()
}
