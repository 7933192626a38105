package threshold

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// mustParse parses a table that must have no fault.
func mustParse(t *testing.T, text string) *Table {
	t.Helper()
	parsed, faults := ParseTable("limits.csv", text)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return parsed
}

// through takes a stream through a table; got is the rows' user, proc, rule and actions.
func through(t *testing.T, o Options, stream string) (got []string, out, reported string) {
	t.Helper()
	var written bytes.Buffer
	env := filter.Env{In: strings.NewReader(stream), Out: &written, Report: func(err error) { reported += err.Error() + "\n" }}
	if err := Run(o, env); err != nil {
		reported += err.Error() + "\n"
	}
	for line := range strings.Lines(written.String()) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if len(cells) == 19 && cells[0] != "time" {
			got = append(got, strings.Join([]string{cells[2], cells[4], cells[9], cells[10]}, "|"))
		}
	}
	return got, written.String(), reported
}

const header9 = "time,host,user,uid,proc,count,zombies,recent,account\n"

// row is a row as procstat writes it.
func row(user, proc string, count, recent int) string {
	return fmt.Sprintf("2000-04-25T05:17:02Z,moscow,%s,1004,%s,%d,0,%d,\n", user, proc, count, recent)
}

func TestBuiltInTable(t *testing.T) {
	o := Options{Table: mustParse(t, builtIn)}
	for _, c := range []struct {
		proc  string
		count int
		want  string
	}{
		{"imapd", 19, ""},
		{"imapd", 20, "*/imapd|imap|log=20"},
		{"imapd", 59, "*/imapd|imap|log=20"},
		{"imapd", 60, "*/imapd|imap|log=20 alert=60 archive=60"},
		{"imapd", 99, "*/imapd|imap|log=20 alert=60 archive=60"},
		{"imapd", 100, "*/imapd|imap|log=20 alert=60 archive=60 kill=100"},
		{"imap", 100, "*/imapd|imap|log=20 alert=60 archive=60 kill=100"},
		{"/usr/sbin/imapd", 404, "*/imapd|imap|log=20 alert=60 archive=60 kill=100"},
		{"imapd2", 404, "*/*|log=20 alert=20"},
		{"sendmail", 59, "*/sendmail|log=20"},
		{"/usr/lib/sendmail", 60, "*/sendmail|log=20 alert=60"},
		{"httpd", 39, "*/httpsd|httpd|log=20"},
		{"/opt/apache_secure/bin/httpsd", 40, "*/httpsd|httpd|log=20 alert=40"},
		{"bash", 19, ""},
		{"bash", 20, "*/*|log=20 alert=20"},
		{"", 20, "*/*|log=20 alert=20"},
		{"*", 5000, ""}, // a row of --total: no row for it here
	} {
		got, _, reported := through(t, o, header9+row("groucho", c.proc, c.count, 0))
		var want []string
		if c.want != "" {
			want = []string{"groucho|" + c.proc + "|" + c.want}
		}
		if !slices.Equal(got, want) || reported != "" {
			t.Errorf("%d %s: %q, %s; want %q", c.count, c.proc, got, reported, want)
		}
	}
}

func TestTable(t *testing.T) {
	o := Options{Table: mustParse(t, `# a comment
host,user,proc,log,page-me,kill
*,root|daemon,*,,,
*,zeppo,/opt/*d,,5,
mail*,groucho,imapd,,,10
*,gro*,imapd,5,0,100|+60
*,*,total,,500,
*,*,\**,,7,
*,*,"a,b",9,9,
*,*,*,,,+30
`)}
	at := func(host, line string) string { return strings.Replace(line, "moscow", host, 1) }
	for _, c := range []struct{ row, want string }{
		{row("root", "imapd", 9999, 9999), ""},
		{row("zeppo", "/opt/apache/httpd", 5, 0), "zeppo|/opt/apache/httpd|zeppo//opt/*d|page-me=5"},
		{row("daemon", "x", 9999, 9999), ""},
		{at("mail2", row("groucho", "imapd", 10, 0)), "groucho|imapd|groucho/imapd|kill=10"},
		{at("mail2", row("groucho", "imapd", 9, 99)), ""}, // the first match decides, though a later one would be due
		{row("groucho", "imapd", 99, 59), "groucho|imapd|gro*/imapd|log=5"},
		{row("groucho", "imapd", 99, 60), "groucho|imapd|gro*/imapd|log=5 kill=100|+60"},
		{row("groucho", "imapd", 100, 0), "groucho|imapd|gro*/imapd|log=5 kill=100|+60"},
		{row("harpo", "*", 500, 0), "harpo|*|*/total|page-me=500"},
		{row("harpo", "total", 500, 0), ""},
		{row("harpo", `\x2a`, 500, 30), `harpo|\x2a|*/*|kill=+30`},
		{row("harpo", `*x`, 7, 0), `harpo|*x|*/\\**|page-me=7`},
		{row("harpo", "x", 30, 29), ""},
		{row("harpo", "x", 30, 30), "harpo|x|*/*|kill=+30"},
		{strings.Replace(row("harpo", "x", 30, 0), ",0,0,", ",,,", 1), ""}, // text input knows no growth
	} {
		got, _, reported := through(t, o, header9+c.row)
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if !slices.Equal(got, want) || reported != "" {
			t.Errorf("%s: %q, %s; want %q", c.row, got, reported, want)
		}
	}
}

// A row with an account is for users from its titles, and not for its own processes.
func TestAccount(t *testing.T) {
	o := Options{Table: mustParse(t, "account,user,proc,kill\nvmail,backup@*,*,\nvm*,*@example.org,imap,5\n?*,*,*,50\n*,backup,*,\n*,*,*,9\n")}
	behind := func(account, line string) string { return strings.TrimSuffix(line, "\n") + account + "\n" }
	in := header9
	for _, user := range []string{"groucho@example.org", "backup@example.org", "groucho@example.com", "backup", "harpo"} {
		in += behind("vmail", row(user, "imap", 9, 0)) + behind("", row(user, "imap", 10, 0)) + behind("www", row(user, "imap", 50, 0))
	}
	got, _, reported := through(t, o, in)
	want := []string{
		"groucho@example.org|imap|*@example.org/imap|kill=5", "groucho@example.org|imap|*/*|kill=9", "groucho@example.org|imap|*/*|kill=50",
		"backup@example.org|imap|*/*|kill=9", "backup@example.org|imap|*/*|kill=50",
		"groucho@example.com|imap|*/*|kill=9", "groucho@example.com|imap|*/*|kill=50",
		"backup|imap|*/*|kill=50",
		"harpo|imap|*/*|kill=9", "harpo|imap|*/*|kill=50",
	}
	if !slices.Equal(got, want) || reported != "" {
		t.Errorf("got %q, %s; want %q", got, reported, want)
	}
}

func TestAll(t *testing.T) {
	o := Options{Table: mustParse(t, "user,proc,kill\ngroucho,*,5\n"), All: true}
	got, _, _ := through(t, o, header9+row("groucho", "x", 5, 0)+row("groucho", "x", 4, 0)+row("harpo", "x", 9, 0))
	want := []string{"groucho|x|groucho/*|kill=5", "groucho|x|groucho/*|", "harpo|x||"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

// threshold alone writes the columns of storm.csv(5) first, whatever came in.
func TestColumnsAreInStandardOrder(t *testing.T) {
	o := Options{Table: mustParse(t, "user,proc,alert\n*,*,2\n")}
	standard := strings.Join(rows.Header(rows.AllColumns), ",")
	for _, c := range []struct{ name, in, out, reported string }{
		{"header only", header9, standard + "\n", ""},
		{"nothing", "", "", "<stdin>: no input, not even a header: the stage before failed\n"},
		{"a whole snapshot", strings.Join(rows.Header(rows.SnapshotColumns), ",") + "\n2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,2,0,1,,2:812:imap-login,2000-04-25T05:00:00Z,7\n",
			standard + "\n2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,2,0,1,,*/*,alert=2,,,,,,2:812:imap-login,2000-04-25T05:00:00Z,7\n", ""},
		{"unknown columns", "mine,count,proc,Time,user,host\na b,2,x,7,u,h\n\"c,d\",3,x,,u,h\n",
			standard + ",mine,Time\n,h,u,,x,2,,,,*/*,alert=2,,,,,,,,,a b,7\n,h,u,,x,3,,,,*/*,alert=2,,,,,,,,,\"c,d\",\n", ""},
		{"its own output", standard + "\n,h,u,,x,2,,,,old,old=1,/arc/u.1,3,0,n,e,,,\n,h,u,,x,1,,,,old,old=1,,,,,,,,\n",
			standard + "\n,h,u,,x,2,,,,*/*,alert=2,/arc/u.1,3,0,n,e,,,\n", ""},
		{"version 1", "time,host,user,uid,proc,count,zombies,recent,account,rule,actions,archived,killed,remaining,notes,errors,mine\n,h,u,,x,2,,,,r,a=1,/arc/u.1,3,0,n,e,m\n",
			standard + ",mine\n,h,u,,x,2,,,,*/*,alert=2,/arc/u.1,3,0,n,e,,,,m\n", ""},
		{"two snapshots, the second unfit", "host,user,proc,count\nh,u,x,2\nuser,proc,count\nu,x,2\n",
			standard + "\n,h,u,,x,2,,,,*/*,alert=2,,,,,,,,\nuser,proc,count\n", "<stdin>:3: header: no column \"host\"\n"},
		{"two snapshots of other layouts", "host,user,proc,count\nh,u,x,2\ncount,started,host,proc,user,time\n3,9,h,x,u,\n",
			standard + "\n,h,u,,x,2,,,,*/*,alert=2,,,,,,,,\n" + standard + "\n,h,u,,x,3,,,,*/*,alert=2,,,,,,,,9\n", ""},
		{"a bad row between good ones", "host,user,proc,count\nh,u,x,2\nh,u,x,-2\nh,u,y,2\n",
			standard + "\n,h,u,,x,2,,,,*/*,alert=2,,,,,,,,\n,h,u,,y,2,,,,*/*,alert=2,,,,,,,,\n", "<stdin>:3: count: \"-2\" is not a number\n"},
	} {
		_, out, reported := through(t, o, c.in)
		if out != c.out || reported != c.reported {
			t.Errorf("%s: got\n%s%s\nwant\n%s%s", c.name, out, reported, c.out, c.reported)
		}
	}
}

// A gap says which rows are missing. It passes whatever the limits, and isn't logged.
func TestGapPasses(t *testing.T) {
	const gap = ",mail2,?,?,0,ssh: no route to host\n"
	in := "time,host,user,proc,count,errors\n" + gap + ",mail2,?,?,0,\n,mail2,?,bash,0,ssh: no\n,moscow,groucho,imapd,9,\n"
	path := filepath.Join(t.TempDir(), "log.csv")
	var explained strings.Builder
	for _, o := range []Options{{}, {All: true}, {Explain: &explained}} {
		o.Table, o.Log = mustParse(t, "user,proc,alert\n\\?,*,\n?,*,1\n*,*,5\n"), path
		_, out, reported := through(t, o, in)
		if !strings.Contains(out, "\n,mail2,?,,?,0,,,,,,,,,,ssh: no route to host,,,\n") || reported != "" {
			t.Errorf("%+v: got\n%s%s", o, out, reported)
		}
		if want := map[bool]int{false: 3, true: 5}[o.All]; strings.Count(out, "\n") != want {
			t.Errorf("all %v: got\n%swant %d lines", o.All, out, want)
		}
	}
	logged, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(logged), "no route") || !strings.Contains(string(logged), "groucho") {
		t.Errorf("logged %q, %v", logged, err)
	}
	if want := "? ? 0: a gap, which always passes\n"; !strings.HasPrefix(explained.String(), want) {
		t.Errorf("explained %q; want %q first", explained.String(), want)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "limits.csv: no limits in it"},
		{"user,proc,log\n", "limits.csv: no limits in it"},
		{"# only\n", "limits.csv: no limits in it"},
		{"user,log\na,1\n", `limits.csv:1: no column "proc"`},
		{"log\n1\n", "limits.csv:1: no column \"user\"\nlimits.csv:1: no column \"proc\""},
		{"user,proc,log,log\n*,*,1,1\n", `limits.csv:1: column "log" twice`},
		{"user,proc,user\n*,*,1\n", `limits.csv:1: column "user" twice`},
		{"user,proc,Log\n*,*,1\n", `limits.csv:1: the header is in small letters without spaces: user,proc,log`},
		{"user,proc,\n*,*,1\n", `limits.csv:1: column "": an action's name has small letters, digits and -`},
		{"user,proc,kill it\n*,*,1\n", `limits.csv:1: column "kill it": an action's name has small letters, digits and -`},
		{"# c\nuser,proc,log,kill\n*,*,many,-1\n[,x,1,1\n*,*,1\n,a||b,010,1e3\n", "limits.csv:3: log: \"many\" is not a number\n" +
			"limits.csv:3: kill: \"-1\" is not a number\nlimits.csv:4: user: \"[\": [ without ]\nlimits.csv:5: 3 cells where the header has 4\n" +
			"limits.csv:6: user: \"\": empty pattern\nlimits.csv:6: proc: \"a||b\": empty pattern\nlimits.csv:6: log: \"010\" is not a number\n" +
			"limits.csv:6: kill: \"1e3\" is not a number"},
		{"user,proc,log\n*,a\"b,1\n*,*,x\n", "limits.csv:2: bare \" in non-quoted-field\nlimits.csv:3: log: \"x\" is not a number"},
		{"user,proc,log\"\n*,*,x\n", "limits.csv:1: bare \" in non-quoted-field"},
		{"user,proc,log\n\"*,*,1\n", `limits.csv:2: extraneous or missing " in quoted-field`},
	} {
		_, faults := ParseTable("limits.csv", c.text)
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Error())
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%q:\n%s\nwant\n%s", c.text, strings.Join(got, "\n"), c.want)
		}
	}
}

// What is printed of a table is a table that says the same, whatever its files.
func FuzzTable(f *testing.F) {
	f.Add("", builtIn)
	f.Add("user,proc\r\ngroucho,*\r\n", "host,user,proc,log,kill\nm*,\"a|b\",[x-z]?\\*,20,100|+60\n*,*,total,,0\n")
	f.Add("\ufeffproc,page,user\nx,3000/m,\"#y\"\n", "account,user,proc,log\nCORP\\\\\\\\*,“a”,a\\x2cb,+9|9/m\n")
	f.Fuzz(func(t *testing.T, dropIn, last string) {
		var files []*file
		if dropIn != "" {
			parsed, faults := parseFile("drop\nin", dropIn, true)
			if len(faults) > 0 {
				return
			}
			files = append(files, parsed)
		}
		parsed, faults := parseFile("last", last, false)
		if len(faults) > 0 {
			return
		}
		limits := join(append(files, parsed)...)
		for i, r := range limits.rules { // what needs no name service
			limits.shadowed(i)
			r.misspelled()
			r.wrongNames()
			limits.ends(r)
		}
		var printed bytes.Buffer
		if err := limits.print(&printed); err != nil {
			t.Fatal(err)
		}
		second, faults := ParseTable("last", printed.String())
		if len(faults) > 0 {
			t.Fatalf("%q, %q printed %q: %v", dropIn, last, printed.String(), faults)
		}
		if !slices.Equal(second.columns, limits.columns) || len(second.rules) != len(limits.rules) {
			t.Fatalf("%q, %q: %d rows of %q; want %d of %q", dropIn, last, len(second.rules), second.columns, len(limits.rules), limits.columns)
		}
		for i, r := range second.rules {
			if !slices.Equal(r.limits, limits.rules[i].limits) || !slices.Equal(r.cells, limits.cellsOf(limits.rules[i])) {
				t.Fatalf("%q, %q: row %d is %q", dropIn, last, i, r.cells)
			}
		}
	})
}

// TestAgainstAwk holds the built-in table against a program that says the same.
func TestAgainstAwk(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var stream strings.Builder
	stream.WriteString(header9)
	procs := []string{"imapd", "imap", "/usr/sbin/imapd", "sendmail", "httpd", "/opt/httpsd", "bash", "x/y", "imapd "}
	for range 5000 {
		stream.WriteString(row(fmt.Sprint("u", random.IntN(9)), procs[random.IntN(len(procs))], random.IntN(130), 0))
	}
	cmd := exec.Command("awk", "-F,", `
		$1 == "time" { next }
		{ n = $6; p = $5; sub(/.*\//, "", p); a = "" }
		n >= 20 { a = "log=20" }
		p == "sendmail" { r = "*/sendmail"; if (n >= 60) a = a " alert=60" }
		p ~ /^imapd?$/ { r = "*/imapd|imap"; if (n >= 60) a = a " alert=60 archive=60"; if (n >= 100) a = a " kill=100" }
		p ~ /^https?d$/ { r = "*/httpsd|httpd"; if (n >= 40) a = a " alert=40" }
		p !~ /^(sendmail|imapd?|https?d)$/ { r = "*/*"; if (n >= 20) a = a " alert=20" }
		a != "" { print $3 "|" $5 "|" r "|" a }`)
	cmd.Stdin = strings.NewReader(stream.String())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := through(t, Options{Table: mustParse(t, builtIn)}, stream.String())
	if want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		t.Errorf("%d rows, awk has %d", len(got), len(want))
	}
}

// TestRandomTablesAgainstAwk holds random tables against awk programs that say the
// same in code.
func TestRandomTablesAgainstAwk(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	pattern := func() string {
		words := []string{pick("*", "a*", "*b", "a?c", "ab", "c", "a", "b*|c*", "ab|c", "?")}
		if random.IntN(4) == 0 {
			words = append(words, pick("bc", "*a*", "cc?"))
		}
		return strings.Join(words, "|")
	}
	limit := func() string { return pick("", "0", "3", "5", "9", "+4", "6|+2") }
	word := func() (s string) {
		for range random.IntN(4) {
			s += pick("a", "b", "c")
		}
		return s
	}
	// regular returns a glob as a regular expression of awk's.
	regular := func(glob string) string {
		return "/^(" + strings.NewReplacer("*", ".*", "?", ".").Replace(glob) + ")$/"
	}
	for n := range 40 {
		limits := "host,user,proc,one,two\n"
		program := `
			function due(limit, c, g) {
				if (limit ~ /\|/) { c = limit; sub(/\|.*/, "", c); g = limit; sub(/.*\+/, "", g); return $6 >= c + 0 || $8 >= g + 0 }
				if (limit ~ /^\+/) return $8 >= substr(limit, 2) + 0
				return limit + 0 > 0 && $6 >= limit + 0
			}
			function judge(name, one, two, a) {
				if (due(one)) a = "one=" one
				if (due(two)) a = a (a == "" ? "" : " ") "two=" two
				if (a != "") print $3 "|" $5 "|" name "|" a
			}
			$1 == "time" { next }
			{ last = $5; sub(/.*\//, "", last) }
		`
		for range 1 + random.IntN(8) {
			host, user, proc, one, two := pick("*", "*", "a*", "b"), pattern(), pattern(), limit(), limit()
			if random.IntN(6) == 0 {
				proc = "total"
			}
			limits += strings.Join([]string{host, user, proc, one, two}, ",") + "\n"
			matches := "$5 != \"*\" && ($5 ~ " + regular(proc) + " || last ~ " + regular(proc) + ")"
			if proc == "total" {
				matches = "$5 == \"*\""
			}
			program += fmt.Sprintf("$2 ~ %s && $3 ~ %s && %s { judge(%q, %q, %q); next }\n", regular(host), regular(user), matches, user+"/"+proc, one, two)
		}
		var stream strings.Builder
		stream.WriteString(header9)
		for range 300 {
			proc := pick(word(), word(), word(), "/"+word()+"/"+word(), "*")
			stream.WriteString(strings.Replace(row(word(), proc, random.IntN(12), random.IntN(6)), "moscow", pick("a", "ab", "b", "c"), 1))
		}
		cmd := exec.Command("awk", "-F,", program)
		cmd.Stdin = strings.NewReader(stream.String())
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, program)
		}
		got, _, reported := through(t, Options{Table: mustParse(t, limits)}, stream.String())
		if strings.Join(got, "\n") != strings.TrimSuffix(string(out), "\n") || reported != "" {
			t.Fatalf("table %d:\n%s%s%d rows, awk has %d", n, limits, reported, len(got), strings.Count(string(out), "\n"))
		}
	}
}

// A thousand hosts' streams are one, and take no more memory than one.
func TestManyHosts(t *testing.T) {
	const hosts, accounts = 1000, 100
	in, feed := io.Pipe()
	var before, after runtime.MemStats
	go func() {
		for host := range hosts {
			var stream strings.Builder
			stream.WriteString(header9)
			for user := range accounts {
				stream.WriteString(strings.Replace(row(fmt.Sprint("u", user), "imapd", user, 0), "moscow", fmt.Sprintf("%s%d", []string{"mail", "web"}[host%2], host), 1))
			}
			io.WriteString(feed, stream.String())
			switch host {
			case hosts / 10:
				runtime.GC()
				runtime.ReadMemStats(&before)
			case hosts - 1:
				runtime.GC()
				runtime.ReadMemStats(&after)
			}
		}
		feed.Close()
	}()
	var passed lines
	err := Run(Options{Table: mustParse(t, "host,user,proc,alert\nmail9*,u99,*,\nmail*,*,*,90\n*,*,*,99\n")},
		filter.Env{In: in, Out: &passed, Report: func(err error) { t.Error(err) }})
	// Of mail hosts ten accounts, but for the mail9… nine; of web hosts one.
	nines := 0
	for host := 0; host < hosts; host += 2 {
		if fmt.Sprint(host)[0] == '9' {
			nines++
		}
	}
	if want := lines(hosts + hosts/2*10 - nines + hosts/2); err != nil || passed != want {
		t.Errorf("%d lines, %v; want %d", passed, err, want)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
		t.Errorf("%d bytes more after 1000 hosts than after 100", grown)
	}
}

// lines counts the lines that are written to it.
type lines int

func (l *lines) Write(p []byte) (int, error) {
	*l += lines(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	stream := header9 + row("groucho", "imapd", 20, 0) + row("harpo", "imapd", 5, 0) + row("chico", "vi", 100, 0)
	logged := func() string { text, _ := os.ReadFile(path); os.Remove(path); return string(text) }
	const want = "2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,20,0,0,,*/imapd,log=20 alert=5,,,,,,,,\n"

	through(t, Options{Table: mustParse(t, "user,proc,log,alert\n*,imapd,20,5\n*,*,,1\n"), Log: path}, stream)
	if got := logged(); !strings.HasSuffix(got, "started\n"+want) || strings.Count(got, "\n") != 2 {
		t.Errorf("with a column log: %q", got)
	}
	through(t, Options{Table: mustParse(t, "user,proc,alert\n*,imapd,20\n"), Log: path}, stream)
	if got := logged(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "alert=20") {
		t.Errorf("without: %q", got)
	}
	_, out, reported := through(t, Options{Table: mustParse(t, builtIn), Log: "/nonexistent/log"}, stream)
	if reported != "/nonexistent/log: no such file or directory\n" || strings.Count(out, "\n") != 3 {
		t.Errorf("a log that can't be had: %q, %q", reported, out)
	}
}

// A row is out before the next is waited for.
func TestRowsAreNotHeldBack(t *testing.T) {
	in, feed := io.Pipe()
	from, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- Run(Options{Table: mustParse(t, builtIn)}, filter.Env{In: in, Out: out, Report: func(err error) { t.Error(err) }})
		out.Close()
	}()
	buffer := make([]byte, 1000)
	for _, line := range []string{header9, row("groucho", "imapd", 404, 0), row("harpo", "imapd", 405, 0)} {
		io.WriteString(feed, line)
		n, err := from.Read(buffer)
		if err != nil || !strings.Contains(string(buffer[:n]), strings.TrimSpace(line)) {
			t.Errorf("after %q: %q, %v", line, buffer[:n], err)
		}
	}
	feed.Close()
	if _, err := from.Read(buffer); err != io.EOF {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
