package procstat

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// fromPS runs procstat over text, and returns the rows' user, proc, count and
// zombies, and what was reported.
func fromPS(t *testing.T, text string, least int64) (got []string, reported string, err error) {
	t.Helper()
	var out bytes.Buffer
	o := Options{
		Min: least, Host: "moscow", Text: strings.NewReader(text), TextName: "ps.txt",
		Now:    func() time.Time { return time.Date(2000, 4, 25, 0, 17, 2, 999, time.FixedZone("CDT", -5*3600)) },
		Report: func(err error) { reported += err.Error() + "\n" },
	}
	err = Run(o, &out)
	lines := strings.Split(out.String(), "\n")
	if err != nil {
		if out.Len() > 0 {
			t.Errorf("an error, and yet output %q", out.String())
		}
		return nil, reported, err
	}
	if lines[0] != "time,host,user,uid,proc,count,zombies,recent,account,parent,oldest,started" || lines[len(lines)-1] != "" {
		t.Errorf("output %q", out.String())
	}
	for _, line := range lines[1 : len(lines)-1] {
		cells := strings.Split(line, ",")
		if len(cells) != 12 || cells[0] != "2000-04-25T05:17:02Z" || cells[1] != "moscow" || cells[3]+cells[7]+cells[8]+cells[9]+cells[10]+cells[11] != "" {
			t.Errorf("row %q", line)
			continue
		}
		got = append(got, strings.Join([]string{cells[2], cells[4], cells[5], cells[6]}, "|"))
	}
	return got, reported, nil
}

func TestText(t *testing.T) {
	wide := func(user string) string { return user + strings.Repeat(" ", 65-utf8.RuneCountInString(user)) }
	for _, c := range []struct {
		name, text string
		want       []string
		reported   string
	}{
		{"user,comm", "USER     COMMAND\nroot     init\ngroucho  imapd\ngroucho  imapd\n", []string{"groucho|imapd|2|", "root|init|1|"}, ""},
		{"pid,user,comm", "    PID USER     COMMAND\n      1 root     init\n     20 groucho  imapd\n", []string{"groucho|imapd|1|", "root|init|1|"}, ""},
		{"stat", "USER     STAT COMMAND\nroot     Ss   init\ngroucho  Z    imapd <defunct>\ngroucho  S    imapd\n", []string{"groucho|imapd|2|1", "root|init|1|0"}, ""},
		{"pid, stat", "  PID USER     STAT COMMAND\n    1 root     Ss   init\n    2 groucho  Z+   imapd <defunct>\n", []string{"groucho|imapd|1|1", "root|init|1|0"}, ""},
		{"busybox", "PID   USER     STAT COMMAND\n    1 root     S    init\n    5 groucho  Z    imapd\n", []string{"groucho|imapd|1|1", "root|init|1|0"}, ""},
		{"Solaris", "    USER S COMMAND\n    root S /usr/lib/sendmail\n    root Z <defunct>\n", []string{"root|/usr/lib/sendmail|1|0", "root|<defunct>|1|1"}, ""},
		{"AIX", "     PID     USER COMMAND\n       1     root init\n 4194630  groucho imapd\n", []string{"groucho|imapd|1|", "root|init|1|"}, ""},
		{"macOS", "USER              STAT COMM\nroot              Ss   /sbin/launchd\n_windowserver     Ss   /System/Library/a b/WindowServer\n",
			[]string{"_windowserver|/System/Library/a b/WindowServer|1|0", "root|/sbin/launchd|1|0"}, ""},
		{"FreeBSD", "USER     STAT COMMAND\nroot     DLs  kernel\nroot     ILs  init\ngroucho  I+   imapd\n", []string{"groucho|imapd|1|0", "root|init|1|0", "root|kernel|1|0"}, ""},

		// An account with a space stays one account, and its processes keep their names.
		{"a space", wide("USER") + "COMMAND\n" + wide(`CORP\john smith`) + "imapd\n" + wide("root") + "Web Content\n",
			[]string{`CORP\\john smith|imapd|1|`, "root|Web Content|1|"}, ""},
		{"a space, stat", wide("USER") + "STAT COMMAND\n" + wide(`CORP\john smith`) + "Ss   imapd\n" + wide(`CORP\john smith`) + "Z    imapd <defunct>\n",
			[]string{`CORP\\john smith|imapd|2|1`}, ""},
		{"a space, pid and stat", "    PID " + wide("USER") + "STAT COMMAND\n   4711 " + wide(`CORP\john smith`) + "Ss   Web Content\n", []string{`CORP\\john smith|Web Content|1|0`}, ""},
		{"a space, Solaris", "           USER COMMAND\nCORP john smith imapd\n           root init\n", []string{"CORP john smith|imapd|1|", "root|init|1|"}, ""},
		{"a space, uniq", "      3 " + wide(`CORP\john smith`) + "imapd\n      1 " + wide("USER") + "COMMAND\n", []string{`CORP\\john smith|imapd|3|`}, ""},
		{"more than ASCII", wide("USER") + "COMMAND\n" + wide("José.García") + "imapd\n", []string{"José.García|imapd|1|"}, ""},
		{"digits", "    PID USER     COMMAND\n   4711 20231777 imapd\n", []string{"20231777|imapd|1|"}, ""},
		{"a state of five letters", "USER     STAT COMMAND\nroot     S<Lsl multipathd\nroot     SNsl+ x  y\nroot     Ssl  x\n",
			[]string{"root|multipathd|1|0", "root|x|1|0", "root|x  y|1|0"}, ""},
		{"a PID beyond its column", "PID   USER     STAT COMMAND\n4194303 root     S    init\n4194303 root     S<Lsl x\n4194303 root     S<L  x\n", []string{"root|x|2|0", "root|init|1|0"}, ""},
		{"a PID beyond its column", "PID   USER     COMMAND\n4194303 root     init\n4194303 verylong9 x\n", []string{"root|init|1|"}, "ps.txt:3: \"4194303 verylong9 x\" doesn't fit the header's columns\n"},
		{"beyond its column", "USER     COMMAND\nverylongaccount imapd\nroot     init\n", []string{"root|init|1|"}, "ps.txt:2: \"verylongaccount imapd\" doesn't fit the header's columns\n"},
		{"beyond its column, stat", "USER     STAT COMMAND\nverylongaccount S    imapd\nlong12345 S    imapd\n", nil,
			"ps.txt:2: \"verylongaccount S    imapd\" doesn't fit the header's columns\nps.txt:3: \"long12345 S    imapd\" doesn't fit the header's columns\n"},
		{"another column", wide("USER") + "COMMAND\ngroucho  imapd" + strings.Repeat(" ", 60) + "x\n", nil,
			"ps.txt:2: \"groucho  imapd" + strings.Repeat(" ", 60) + "x\" doesn't fit the header's columns\n"},

		// Zombies as in the table.
		{"defunct, no state", "USER     COMMAND\ngroucho  imapd <defunct>\ngroucho  imapd\n", []string{"groucho|imapd|2|"}, ""},
		{"defunct but alive", "USER     STAT COMMAND\ngroucho  S    imapd <defunct>\n", []string{"groucho|imapd <defunct>|1|0"}, ""},
		{"a leader whose threads live", "USER     STAT COMMAND\ngroucho  Zl   imapd <defunct>\ngroucho  Zsl+ imapd <defunct>\ngroucho  Zs   imapd <defunct>\n", []string{"groucho|imapd|3|1"}, ""},
		{"dead", "USER     STAT COMMAND\ngroucho  X    imapd\n", []string{"groucho|imapd|1|1"}, ""},

		{"names", "USER COMMAND\nroot (sd-pam)\nroot Web Content\nroot a,b\"c\\\nroot *\nroot   x  y\n",
			[]string{"root|  x  y|1|", "root|(sd-pam)|1|", "root|Web Content|1|", `root|\x2a|1|`, `root|a\x2cb\x22c\\|1|`}, ""},
		{"no name at all", "USER     COMMAND\nroot     \n", []string{"root||1|"}, ""},
		{"carriage returns", "USER COMMAND\r\nroot init\r\n", []string{"root|init|1|"}, ""},
		{"a banner", "Welcome to moscow!\n\n  5 users here, 404 groucho imapd\n5 a b\n5 a b\nUSER     COMMAND\nroot     init\n", []string{"root|init|1|"}, ""},
		{"the end of an earlier text", "groucho  imapd\ngroucho  imapd\nUSER     COMMAND\nroot     init\n", []string{"root|init|1|"}, ""},

		{"uniq -c", "    404 groucho imapd\n      1 USER     COMMAND\n", nil, "ps.txt:1: \"groucho imapd\" doesn't fit the header's columns\n"},
		{"uniq -c", "    404 groucho  imapd\n      1 USER     COMMAND\n     34 root     /usr/lib/sendmail\n", []string{"groucho|imapd|404|", "root|/usr/lib/sendmail|34|"}, ""},
		{"uniq -c, no header", "    404 groucho imapd\n     34 root /usr/lib/sendmail\n", []string{"groucho|imapd|404|", "root|/usr/lib/sendmail|34|"}, ""},
		{"uniq -c of BSD, wide", " 404 groucho imapd\n12345678 root x\n7 root y\n", []string{"root|x|12345678|", "groucho|imapd|404|", "root|y|7|"}, ""},
		{"uniq -c of Solaris", " 404  groucho imapd\n   1     USER COMMAND\n   1     root init\n", []string{"groucho|imapd|404|", "root|init|1|"}, ""},
		{"header only", "USER COMMAND\n", nil, ""},
		{"a cut user", "USER     COMMAND\naverylo+ imapd\nroot     init\n", []string{"root|init|1|"}, "ps.txt:2: user \"averylo+\" is cut: use ps -eo user:64\n"},
		{"not a row", "USER COMMAND\nroot\nroot init\n", []string{"root|init|1|"}, "ps.txt:2: \"root\" has no process name\n"},
		{"an empty line", "USER COMMAND\n\nroot init\n", []string{"root|init|1|"}, "ps.txt:2: \"\" has no process name\n"},
		{"no user", "USER COMMAND\n     init\n", nil, "ps.txt:2: \"     init\" has no user\n"},
		{"a PID that is none", "PID USER COMMAND\n  x root init\n", nil, "ps.txt:2: \"x\" is not a number\n"},
		{"a state that is none", "USER STAT COMMAND\nroot 7    init\nroot S:   init\n", nil, "ps.txt:2: \"7\" is no state\nps.txt:3: \"S:\" is no state\n"},
		{"cut", "USER COMMAND\nroot init\nroot ini", []string{"root|init|1|"}, "ps.txt:3: the last line is cut\n"},
		{"hostile", "USER              COMMAND\n../../etc/passwd  x\n-rf               \x1b[2J\na\xffb               x\x00\n", []string{`-rf|\x1b[2J|1|`, `../../etc/passwd|x|1|`, `a\xffb|x\x00|1|`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, reported, err := fromPS(t, c.text, 1)
			if !slices.Equal(got, c.want) || reported != c.reported || err != nil {
				t.Errorf("got %q, reported %q, %v\nwant %q, %q", got, reported, err, c.want, c.reported)
			}
		})
	}
}

func TestTextRefused(t *testing.T) {
	const unfit = " is neither a header of ps -eo user:64,stat,comm nor a line of uniq -c"
	for text, want := range map[string]string{
		"":                                "ps.txt: no input, not even a header: the stage before failed",
		"root init\n":                     `ps.txt:1: "root init"` + unfit,
		"\n":                              `ps.txt:1: ""` + unfit,
		"USER COMMAND PID\nroot init 1\n": `ps.txt:1: "USER COMMAND PID"` + unfit,
		"USER COMMAND\n" + long + long:    "ps.txt:2: line over 65536 bytes",
		// What uniq -c can't print.
		"1 root init\n01 root x\n":                   `ps.txt:2: "01 root x"` + unfit,
		"1 root init\n-1 root x\n":                   `ps.txt:2: "-1 root x"` + unfit,
		"1 root init\n0 root x\n":                    `ps.txt:2: "0 root x"` + unfit,
		"1 root init\nx root x\n":                    `ps.txt:2: "x root x"` + unfit,
		"1 root init\n\n":                            `ps.txt:2: ""` + unfit,
		"1 root init\n\t1 root x\n":                  `ps.txt:2: "\t1 root x"` + unfit,
		"1 root init\n99999999999999999999 root x\n": `ps.txt:2: "99999999999999999999 root x"` + unfit,
		"Welcome!\n 1 root init\n":                   `ps.txt:1: "Welcome!"` + unfit,
		// PIDs of ps without its header.
		"   4711 groucho imapd\n   4712 groucho imapd\n":                  `ps.txt:2: "groucho imapd" a second time: this is no output of sort | uniq -c, and ps's header is missing`,
		"   4711 groucho imapd\n   4712 groucho  imapd\n":                 `ps.txt:2: "groucho  imapd" a second time: this is no output of sort | uniq -c, and ps's header is missing`,
		" 1 root httpd\n 3 root init\n 10 root httpd\n":                   `ps.txt:3: "root httpd" a second time: this is no output of sort | uniq -c, and ps's header is missing`,
		"  1 root S init\n  1 USER     STAT COMMAND\n":                    `ps.txt:2: "USER     STAT COMMAND": only ps -eo user,comm is read through uniq -c`,
		strings.Repeat("Welcome!\n", maxBanner+1) + "USER COMMAND\na b\n": `ps.txt:1: "Welcome!"` + unfit,
	} {
		if _, _, err := fromPS(t, text, 1); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v; want %s", text, err, want)
		}
	}
	o := Options{Text: iotest.ErrReader(errors.New("broken")), TextName: "-", Now: time.Now, Report: func(error) {}}
	if err := Run(o, &bytes.Buffer{}); err == nil || err.Error() != "-:1: broken" {
		t.Errorf("a read that fails: %v", err)
	}
}

// Each header begins a snapshot, which goes out when it is whole.
func TestTextOfSeveralSnapshots(t *testing.T) {
	in, feed := io.Pipe()
	read, out := io.Pipe()
	now := time.Unix(956639822, 0)
	done := make(chan error)
	go func() {
		o := Options{Min: 1, Host: "moscow", Text: in, TextName: "-", Report: func(err error) { t.Error(err) },
			Now: func() time.Time { now = now.Add(time.Second); return now }}
		done <- Run(o, out)
		out.Close()
	}()
	lines := bufio.NewScanner(read)
	want := func(user string) {
		t.Helper()
		for _, want := range []string{"time,host,user,", user} {
			if !lines.Scan() || !strings.Contains(lines.Text(), want) {
				t.Fatalf("%q; want %q", lines.Text(), want)
			}
		}
	}
	const header = "USER     COMMAND\n"
	io.WriteString(feed, header+"groucho  imapd\ngroucho  imapd\n")
	go io.WriteString(feed, header)
	want("05:17:03Z,moscow,groucho,,imapd,2,")
	go func() { io.WriteString(feed, "groucho  imapd\n"+header+header+"harpo    vi\n"); feed.Close() }()
	want("05:17:05Z,moscow,groucho,,imapd,1,") // an hour, a day: not summed
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "time,") {
		t.Errorf("an empty snapshot: %q", lines.Text())
	}
	want("moscow,harpo,,vi,1,")
	if err := <-done; err != nil || lines.Scan() {
		t.Errorf("%v, then %q", err, lines.Text())
	}
}

var long = strings.Repeat("x", 40000)

func TestOrderAndMin(t *testing.T) {
	text, err := os.ReadFile("../../testdata/ps/incident.txt")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := fromPS(t, string(text), 2)
	want := []string{
		"groucho|imapd|404|", "root|/usr/lib/sendmail|34|", "root|/opt/apache/bin/httpd|11|",
		"webown|/opt/apache_secure/bin/httpsd|10|", "daemon|/usr/lib/ab2/dweb/sunos5/bin/dwhttpd|2|",
	}
	if !slices.Equal(got, want) || err != nil {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	got, _, _ = fromPS(t, "USER  COMMAND\nb     y\nb     x\na     z\nb     x\n", 1)
	if want := []string{"b|x|2|", "a|z|1|", "b|y|1|"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestTotal(t *testing.T) {
	var text strings.Builder
	text.WriteString("USER    COMMAND\n")
	for i := range 30 { // a storm under as many names
		text.WriteString("groucho name" + strconv.Itoa(i) + "\n")
	}
	text.WriteString("harpo   *\nharpo   imapd\n")
	var out bytes.Buffer
	o := Options{Min: 2, Total: true, Host: "h", Text: strings.NewReader(text.String()), TextName: "-", Now: time.Now, Report: func(error) {}}
	if err := Run(o, &out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Split(line, ",")[2:6], ","))
	}
	if want := []string{"user,uid,proc,count", "groucho,,*,30", "harpo,,*,2"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestParents(t *testing.T) {
	names := map[int]string{1: "systemd", 7: "a:b,c", 812: "imap-login"}
	for _, c := range []struct {
		of   [][]int // the parents of the processes that each worker saw
		want string
	}{
		{[][]int{{812, 812, 1}, {812}}, "3:812:imap-login"},
		{[][]int{{1, 812, 812}, {1, 1}}, "3:1:systemd"},
		{[][]int{{812, 1}, {1, 812}}, "2:1:systemd"}, // of several the smallest PID
		{[][]int{{7}}, `1:7:a\x3ab\x2cc`},
		{[][]int{{0, 0, 812}, {0}}, "1:812:imap-login"}, // without one in this namespace
		{[][]int{{0}, {}}, ""},
		{[][]int{{99, 99}, {1}}, "2:99:"}, // it has ended during the scan
	} {
		var sum tally
		for _, part := range c.of {
			var worker tally
			for _, pid := range part {
				worker.addProcess(&proc.Process{PPID: pid}, 0)
			}
			sum.add(&worker)
		}
		if got := sum.parents.most(names).String(); got != c.want {
			t.Errorf("%v: %s; want %s", c.of, got, c.want)
		}
	}
}

// The oldest of a sum is that of all parts that have any process.
func TestOldest(t *testing.T) {
	var sum, none tally
	for _, start := range [][]uint64{{500, 400}, {300, 900}, {}, {800}} {
		var part tally
		for _, s := range start {
			part.addProcess(&proc.Process{Start: s}, 0)
		}
		sum.add(&part)
	}
	sum.add(&none)
	if none.add(&sum); sum.oldest != 300 || none.oldest != 300 || none.count != 5 {
		t.Errorf("%+v, %+v", sum, none)
	}
}

// The name service is asked first for the largest counts.
func TestLargestAreAskedForFirst(t *testing.T) {
	counts := map[key]*tally{}
	for uid := range uint32(400) {
		counts[key{uid: 100000 + uid, name: "x"}] = &tally{count: 7}
	}
	counts[key{uid: 300000, name: "imapd"}] = &tally{count: 404}
	counts[key{uid: 300000, name: "bash"}] = &tally{count: 1}
	counts[key{uid: 200000, name: "imapd"}] = &tally{count: 8}
	if got := uidsOf(counts, nil); len(got) != 402 || !slices.Equal(got[:4], []uint32{300000, 200000, 100000, 100001}) {
		t.Errorf("%v", got)
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{
		"USER COMMAND\nroot init\n", " 4 root init\n", "PID USER STAT COMMAND\n  1 root Zl  x <defunct>\n", "   1 USER   COMMAND\n   3 a b c  x\n",
		"hello\nPID   USER     STAT COMMAND\n4194303 root     S<Lsl x\nPID   USER     STAT COMMAND\n    5 é        R    y\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		o := Options{Host: "h", Text: strings.NewReader(text), TextName: "-", Now: time.Now, Report: func(error) {}}
		if err := Run(o, &out); err != nil {
			return
		}
		r := rows.NewReader(&out, "-", func() error { return nil }, rows.Host, rows.User, rows.Proc, rows.Count)
		for range strings.Count(out.String(), "\n") {
			if _, err := r.Read(); err != nil && !strings.Contains(err.Error(), "too large") {
				t.Fatalf("%q made %q: %v", text, out.String(), err)
			}
		}
	})
}

// fromHere runs procstat over this machine's table: user/uid/comm and its counts.
func fromHere(t *testing.T) map[string]rows.Row {
	t.Helper()
	var out bytes.Buffer
	err := Run(Options{Min: 1, Host: "h", Now: time.Now, Report: func(err error) { t.Error(err) }}, &out)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]rows.Row{}
	r := rows.NewReader(&out, "-", func() error { return nil })
	for {
		record, err := r.Read()
		if err != nil {
			return all
		}
		if record.Header {
			continue
		}
		row, err := record.Row()
		if err != nil {
			t.Fatal(err)
		}
		all[row.User+" "+row.Proc] = row
	}
}

// TestTable counts processes that this test has started.
func TestTable(t *testing.T) {
	comm := "sleep" + strconv.Itoa(os.Getpid()%10000)
	path := t.TempDir() + "/" + comm
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep")
	}
	text, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 3 {
		cmd := exec.Command(path, "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	uid := uint32(os.Geteuid())
	user := strconv.Itoa(int(uid))
	if known, _ := account.ByUIDs([]uint32{uid}); known[uid].Name != "" {
		user = known[uid].Name
	}
	var row rows.Row
	for range 100 { // until all three have their name
		if row = fromHere(t)[user+" "+comm]; row.Count.N == 3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if row.Count != rows.Known(3) || row.UID != rows.Known(int64(uid)) || row.Zombies != rows.Known(0) || row.Recent != rows.Known(3) || row.Account != "" {
		t.Errorf("%+v", row)
	}
	own, err := os.ReadFile("/proc/self/comm")
	if want := (rows.Parentage{Count: 3, PID: int64(os.Getpid()), Name: strings.TrimSpace(string(own))}); err == nil && row.Parent != want {
		t.Errorf("parent %s; want %s", row.Parent, want)
	}
	if before, after := row.Oldest.Sub(begun), time.Since(row.Oldest.Time); before < -time.Second || after < 0 || row.Oldest.Nanosecond() != 0 {
		t.Errorf("oldest %s; they were started after %s", row.Oldest, begun)
	}
	if row.Time.Location() != time.UTC || time.Since(row.Time.Time) > time.Minute {
		t.Errorf("time %s", row.Time)
	}
	for name := range fromHere(t) {
		if strings.HasPrefix(name, "root kworker") || name == "root kthreadd" {
			t.Errorf("a kernel thread: %s", name)
		}
	}
}

// TestAgainstPS holds the live table against ps, for pairs that don't change.
func TestAgainstPS(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("no ps")
	}
	if text, _ := exec.Command("ps", "-eo", "user:64,comm").Output(); len(text) == 0 {
		t.Skip("no ps of procps")
	}
	psCounts := func() map[string]int64 {
		text, err := exec.Command("ps", "--ppid", "2", "-p", "2", "--deselect", "-o", "user:64,comm").Output()
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := fromPS(t, string(text), 1)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for _, row := range got {
			cells := strings.Split(row, "|")
			counts[cells[0]+" "+cells[1]], _ = strconv.ParseInt(cells[2], 10, 64)
		}
		return counts
	}
	for range 20 { // processes come and go between the three looks
		before, ours, after := psCounts(), fromHere(t), psCounts()
		same, wrong := 0, ""
		for name, n := range before {
			if after[name] != n || strings.HasSuffix(name, " ps") {
				continue
			}
			if ours[name].Count.N == n {
				same++
			} else {
				wrong += name + "\n"
			}
		}
		if wrong == "" && same > 0 {
			return
		}
		if t.Failed() {
			return
		}
		t.Logf("not alike: %s", wrong)
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("never alike in 20 tries")
}

// TestCaptured reads what ps has really printed: of Debian 12's procps 4.0.2 and
// busybox 1.35 over the same sixteen processes of two accounts and some more, one of
// them a zombie, one called "a b) c"; and in the style of the original's Solaris.
func TestCaptured(t *testing.T) {
	for file, want := range map[string]struct {
		rows     []string
		faults   int // users that ps has cut
		accounts int
	}{
		"procps-user-comm.txt":          {[]string{"root|python3|2|", "averylongusername|(sd-pam)|1|", "groucho|a b) c|1|"}, 0, 3},
		"procps-pid-user-stat-comm.txt": {[]string{"root|python3|2|1", "averylongusername|(sd-pam)|1|0", "groucho|a b) c|1|0"}, 0, 3},
		"procps-uniq.txt":               {[]string{"root|python3|2|", "groucho|a b) c|1|"}, 8, 2},
		"busybox-user-stat-comm.txt":    {[]string{"root|python3|2|1", "averylon|(sd-pam)|1|0", "groucho|a b) c|1|0"}, 0, 3},
		"busybox-pid-user-comm.txt":     {[]string{"root|python3|2|", "averylon|(sd-pam)|1|", "groucho|a b) c|1|"}, 0, 3},
		"solaris-user-s-comm.txt":       {[]string{"groucho|imapd|2|0", "daemon|/usr/lib/ab2/dweb/sunos5/bin/dwhttpd|1|0", "groucho|<defunct>|1|1"}, 0, 3},
	} {
		text, err := os.ReadFile("../../testdata/ps/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, reported, err := fromPS(t, string(text), 1)
		if err != nil || strings.Count(reported, "is cut") != want.faults || strings.Count(reported, "\n") != want.faults {
			t.Errorf("%s: %v, reported %s", file, err, reported)
		}
		users := map[string]bool{}
		for _, row := range got {
			users[strings.Split(row, "|")[0]] = true
		}
		if len(users) != want.accounts {
			t.Errorf("%s: accounts %v", file, users)
		}
		for _, row := range want.rows {
			if !slices.Contains(got, row) {
				t.Errorf("%s: no row %q in %q", file, row, got)
			}
		}
	}
}

// openTable returns this machine's process table.
func openTable(t testing.TB) *proc.Table {
	t.Helper()
	table, err := proc.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	return table
}

// The name service's silence is reported, and rows come out with the uid. Two uids of
// one name stay two rows.
func TestNames(t *testing.T) {
	table := openTable(t)
	var reports []string
	o := Options{Min: 1, Now: time.Now, Report: func(err error) { reports = append(reports, err.Error()) }}
	silent := errors.New("no answer")
	asked := 0
	found, err := o.fromTable(table, &titleReader{}, func(uids []uint32) (map[uint32]account.Account, error) {
		asked++
		return nil, silent
	})
	if err != nil || asked != 1 || !slices.Equal(reports, []string{"no answer"}) {
		t.Errorf("%v, asked %d times, reported %q", err, asked, reports)
	}
	for _, row := range found.rows {
		if row.User != row.UID.String() {
			t.Errorf("user %q of uid %s", row.User, row.UID)
		}
	}
	found, _ = o.fromTable(table, &titleReader{}, func(uids []uint32) (map[uint32]account.Account, error) {
		all := map[uint32]account.Account{}
		for _, uid := range uids {
			all[uid] = account.Account{Name: "a,b", UID: uid}
		}
		return all, nil
	})
	seen := map[string]bool{}
	for _, row := range found.rows {
		pair := row.UID.String() + " " + row.Proc
		if row.User != `a\x2cb` || seen[pair] {
			t.Errorf("row %+v", row)
		}
		seen[pair] = true
	}
	o.Min = 1 << 30
	if _, err := o.fromTable(table, &titleReader{}, func(uids []uint32) (map[uint32]account.Account, error) {
		if len(uids) > 0 {
			t.Errorf("asked for %v, of which no row is printed", uids)
		}
		return nil, nil
	}); err != nil {
		t.Error(err)
	}
}
