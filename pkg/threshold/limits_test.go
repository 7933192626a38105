package threshold

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stormcheck/pkg/table"
)

// place makes a place with these files, by their names below it.
func place(t *testing.T, files map[string]string) table.Place {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return table.Place{File: dir + "/limits.csv", Dir: dir + "/limits.d"}
}

// inPlace makes messages about a place short.
func inPlace(p table.Place, messages []error) string {
	var all strings.Builder
	for _, message := range messages {
		all.WriteString(strings.ReplaceAll(message.Error(), filepath.Dir(p.File)+"/", "") + "\n")
	}
	return all.String()
}

func TestDropInsComeFirst(t *testing.T) {
	p := place(t, map[string]string{
		"limits.csv":            "user,proc,log,alert,kill\n*,imapd,20,60,100\n*,*,20,20,\n",
		"limits.d/50-site.csv":  "proc,mine,user,alert\nimapd,5,harpo,40\n",
		"limits.d/00-off.csv":   "\ufeffuser,proc\r\ngroucho,*\r\n",
		"limits.d/60-web.csv":   "# hosts\nhost,user,proc,kill,log\nweb*,*,httpd,50,10\nmoscow,*,httpd,60,10\n",
		"limits.d/.hidden.csv":  "nonsense",
		"limits.d/50-site.csv~": "nonsense",
		"limits.d/README":       "nonsense",
	})
	limits, faults := load("", p)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, c := range []struct{ row, want string }{
		{row("groucho", "imapd", 999, 0), ""},
		{row("harpo", "imapd", 39, 0), "harpo|imapd|harpo/imapd|mine=5"},
		{row("harpo", "imapd", 40, 0), "harpo|imapd|harpo/imapd|mine=5 alert=40"},
		{row("harpo", "httpd", 60, 0), "harpo|httpd|*/httpd|kill=60 log=10"},
		{strings.Replace(row("harpo", "httpd", 50, 0), "moscow", "web3", 1), "harpo|httpd|*/httpd|kill=50 log=10"},
		{strings.Replace(row("harpo", "httpd", 50, 0), "moscow", "mail", 1), "harpo|httpd|*/*|alert=20 log=20"},
		{row("chico", "imapd", 100, 0), "chico|imapd|*/imapd|alert=60 kill=100 log=20"},
	} {
		got, _, reported := through(t, Options{Table: limits}, header9+c.row)
		if strings.Join(got, "\n") != c.want || reported != "" {
			t.Errorf("%s: %q, %s; want %s", c.row, got, reported, c.want)
		}
	}

	// What is printed says where each row comes from, and is a table that decides the same.
	var printed strings.Builder
	if err := limits.print(&printed); err != nil {
		t.Fatal(err)
	}
	want := `user,proc,mine,alert,host,kill,log
# limits.d/00-off.csv
groucho,*,,,*,,
# limits.d/50-site.csv
harpo,imapd,5,40,*,,
# limits.d/60-web.csv
*,httpd,,,web*,50,10
*,httpd,,,moscow,60,10
# limits.csv
*,imapd,,60,*,100,20
*,*,,20,*,,20
`
	if got := strings.ReplaceAll(printed.String(), filepath.Dir(p.File)+"/", ""); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	again := mustParse(t, printed.String())
	for i, r := range again.rules {
		if !slices.Equal(r.limits, limits.rules[i].limits) {
			t.Errorf("printed row %d has limits %v; want %v", i, r.limits, limits.rules[i].limits)
		}
	}

	// --limits names one file, without the directory.
	alone, faults := load(p.File, p)
	if len(faults) > 0 || len(alone.rules) != 2 || len(alone.files) != 1 {
		t.Errorf("%d rows of %d files, %v; want those of one file", len(alone.rules), len(alone.files), faults)
	}
}

func TestDropInsComeBeforeBuiltInTable(t *testing.T) {
	p := place(t, map[string]string{"limits.d/00-off.csv": "user,proc\ngroucho,*\n"})
	limits, faults := load("", p)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	got, _, _ := through(t, Options{Table: limits}, header9+row("groucho", "imapd", 404, 0)+row("harpo", "imapd", 404, 0))
	if want := []string{"harpo|imapd|*/imapd|imap|log=20 alert=60 archive=60 kill=100"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	var printed strings.Builder
	if err := limits.print(&printed); err != nil || !strings.Contains(printed.String(), "\n# built-in limits\n*,sendmail,20,60,,,\n") {
		t.Errorf("printed\n%s%v", printed.String(), err)
	}
}

// One unfit file makes the table unfit, and all faults of all files are reported.
func TestFaultsOfDropIns(t *testing.T) {
	const good = "user,proc,log\n*,*,20\n"
	const hides = ` on every host hides all rows after it: put it into the last file, limits.csv`
	for name, c := range map[string]struct{ dropIn, want string }{
		"a star row":                          {"user,proc,log\n*,*,20\n", "limits.d/x.csv:2: \"*,*\"" + hides},
		"another spelling of it":              {"user,proc,log\na,b,1\n?*|a,**,20\n", "limits.d/x.csv:3: \"?*|a,**\"" + hides},
		"a star row on every host":            {"host,user,proc,log\n*,*,*,20\n", "limits.d/x.csv:2: \"*,*,*\"" + hides},
		"a star row with accounts":            {"account,user,proc,log\n*,*,*,20\n", "limits.d/x.csv:2: \"*,*,*\"" + hides},
		"a star row on some hosts":            {"host,user,proc,log\nmail*,*,*,20\n", ""},
		"a star row for people behind titles": {"account,user,proc,log\n?*,*,*,20\n", ""},
		"a star row for all processes":        {"user,proc,log\n*,total,20\n", ""},
		"a star and a name":                   {"user,proc,log\n*,imapd,20\ngroucho,*,3\n", ""},
		"no row":                              {"user,proc,log\n# groucho,*,\n", ""},
		"nothing":                             {"", "limits.d/x.csv: no header"},
		"comments alone":                      {"# user,proc\n", "limits.d/x.csv: no header"},
		"no column":                           {"user,log\na,1\n", `limits.d/x.csv:1: no column "proc"`},
		"another's separator":                 {"user;proc\n", "limits.d/x.csv:1: semicolons between the cells: write commas"},
		"a bad limit":                         {"user,proc,kill\na,b,many\n", `limits.d/x.csv:2: kill: "many" is not a number`},
	} {
		p := place(t, map[string]string{"limits.d/x.csv": c.dropIn, "limits.csv": good})
		_, faults := load("", p)
		if got := strings.TrimSuffix(inPlace(p, faults), "\n"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
	p := place(t, map[string]string{"limits.d/a.csv": "user,proc,log\na,b,x\n", "limits.d/b.csv": "user\na\n", "limits.csv": "user,proc,log\n*,*,y\n"})
	_, faults := load("", p)
	if got, want := inPlace(p, faults), "limits.d/a.csv:2: log: \"x\" is not a number\nlimits.d/b.csv:1: no column \"proc\"\nlimits.csv:2: log: \"y\" is not a number\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A drop-in is under the same rules as limits.csv.
func TestDropInThatRootMayNotTrust(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is so strict")
	}
	for name, spoil := range map[string]func(path string) error{
		"limits.d/a.csv: writable by group or others": func(path string) error { return os.Chmod(path, 0o666) },
		"limits.d/a.csv: owner is not root":           func(path string) error { return os.Chown(path, 60901, 0) },
		"limits.d/a.csv: a symbolic link": func(path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
		"limits.d/a.csv: not a regular file": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o755)
		},
	} {
		p := place(t, map[string]string{"limits.d/a.csv": "user,proc\ngroucho,*\n", "limits.csv": "user,proc,log\n*,*,20\n"})
		if err := spoil(p.Dir + "/a.csv"); err != nil {
			t.Fatal(err)
		}
		if _, faults := load("", p); inPlace(p, faults) != name+"\n" {
			t.Errorf("got %s; want %s", inPlace(p, faults), name)
		}
	}
}

func TestWarningsOfDropIns(t *testing.T) {
	for name, c := range map[string]struct {
		dropIns map[string]string
		last    string
		want    string
	}{
		"an off switch": {map[string]string{"limits.d/00-off.csv": "user,proc\nroot,*\n"}, "user,proc,log,alert,kill\n*,x,20,60,100\n", ""},
		"a hidden row": {map[string]string{"limits.d/a.csv": "user,proc,log\n*,x|y,5\n", "limits.d/b.csv": "user,proc,log\nroot,x,5\n*,z,9\n"}, "user,proc,log\n*,z|y,20\n*,*,20\n",
			"limits.d/b.csv:2: warning: never decides: what it matches is taken by limits.d/a.csv:2\n" +
				"limits.csv:2: warning: never decides: what it matches is taken by limits.d/b.csv:3 and limits.d/a.csv:2\n"},
		"a missing column": {map[string]string{"limits.d/a.csv": "user,proc,log\n*,y,5\n"}, "host,user,proc,log,alert\n*,*,x,20,20\n",
			"limits.d/a.csv:1: warning: no column \"host\", which limits.csv has: its rows are for every host\n" +
				"limits.d/a.csv:1: warning: no column \"alert\", which limits.csv has: alert is never due in its rows\n"},
		"a column of its own":       {map[string]string{"limits.d/a.csv": "user,proc,alert,log\n*,y,5,5\n"}, "user,proc,log\n*,x,20\n", ""},
		"an unknown action":         {map[string]string{"limits.d/a.csv": "# x\nuser,proc,log,alrt\n*,y,5,5\n"}, "user,proc,log\n*,x,20\n", "limits.d/a.csv:2: warning: alrt: no tool of stormcheck answers to this action\n"},
		"rows of a host and of all": {map[string]string{"limits.d/a.csv": "host,user,proc,log\nnowhere,*,x,5\n"}, "user,proc,log\n*,x,20\n", ""},
		"rows of all and of a host": {map[string]string{"limits.d/a.csv": "user,proc,log\n*,x,5\n"}, "host,user,proc,log\nnowhere,*,x,5\n*,*,y,5\n",
			"limits.d/a.csv:1: warning: no column \"host\", which limits.csv has: its rows are for every host\n" +
				"limits.csv:2: warning: never decides: what it matches is taken by limits.d/a.csv:2\n"},
	} {
		c.dropIns["limits.csv"] = c.last
		p := place(t, c.dropIns)
		limits, faults := load("", p)
		if len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
			continue
		}
		if got := inPlace(p, limits.warnings()); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", name, got, c.want)
		}
	}
}

func TestChurnAndTrim(t *testing.T) {
	header := "time,host,user,uid,proc,count,zombies,recent,account,parent,oldest,started\n"
	churned := func(user string, count, started string) string {
		return "2000-04-25T05:17:02Z,moscow," + user + ",1004,curl," + count + ",0,0,,,," + started + "\n"
	}
	limits := mustParse(t, "user,proc,log,alert,page,trim,kill\n*,curl,20|+9|3000/m,3000/m,200|9000/m,,\n*,*,,,,40,100\n")
	var explained strings.Builder
	got, _, reported := through(t, Options{Table: limits, Explain: &explained}, header+churned("a", "0", "2999")+churned("b", "0", "3000")+
		churned("c", "200", "")+churned("d", "3", "9000")+strings.Replace(churned("e", "41", "5000"), "curl", "imapd", 1))
	want := []string{
		"b|curl|*/curl|log=20|+9|3000/m alert=3000/m",
		"c|curl|*/curl|log=20|+9|3000/m page=200|9000/m",
		"d|curl|*/curl|log=20|+9|3000/m alert=3000/m page=200|9000/m",
		"e|imapd|*/*|trim=40",
	}
	if !slices.Equal(got, want) || reported != "" {
		t.Errorf("got %q, %s; want %q", got, reported, want)
	}
	const why = `a curl 0: limits.csv:2 "*,curl": log=20|+9|3000/m in 1 started
b curl 0: limits.csv:2 "*,curl": log=20|+9|3000/m alert=3000/m reached, page=200|9000/m in 200
c curl 200: limits.csv:2 "*,curl": log=20|+9|3000/m page=200|9000/m reached, alert=3000/m needs the column started
d curl 3: limits.csv:2 "*,curl": log=20|+9|3000/m alert=3000/m page=200|9000/m reached
e imapd 41: limits.csv:3 "*,*": trim=40 reached, kill=100 in 59
`
	if explained.String() != why {
		t.Errorf("explained\n%swant\n%s", &explained, why)
	}

	const churn = `: a churn limit counts processes that have ended; it is for log, alert and page`
	for cell, want := range map[string]string{
		"archive=3000/m": `archive: "3000/m"` + churn, "trim=40|3000/m": `trim: "40|3000/m"` + churn, "kill=100|+60|3000/m": `kill: "100|+60|3000/m"` + churn,
		"trim=+30": `trim: "+30": a growth limit says nothing of how many may stay`, "trim=40|+30": `trim: "40|+30": a growth limit says nothing of how many may stay`,
		"kill=100|+60": "", "archive=+30": "", "trim=40": "", "alert=3000/m": "", "mine=3000/m": "",
		"alert=3000/h": `alert: "3000/h" is not a number`, "alert=/m": `alert: "" is not a number`, "alert=0/m": `alert: "0/m" is not a limit`,
		"alert=3000/m|200": `alert: "3000/m|200" is not a limit`, "alert=+3/m": `alert: "3/m" is not a number`,
	} {
		action, limit, _ := strings.Cut(cell, "=")
		_, faults := ParseTable("limits.csv", "user,proc,"+action+"\n*,*,"+limit+"\n")
		got := ""
		for _, fault := range faults {
			got += strings.TrimPrefix(fault.Error(), "limits.csv:2: ")
		}
		if got != want {
			t.Errorf("%s: %s; want %s", cell, got, want)
		}
	}
}
