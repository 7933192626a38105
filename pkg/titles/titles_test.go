package titles

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/account"
)

func TestFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "titles.csv: no header in it",
		"# account,proc,title\n":           "titles.csv: no header in it",
		"account,proc,title\n":             "", // the installed table: all rows are comments
		"account,title\nvmail,x\n":         `titles.csv:1: no column "proc"`,
		"account,proc,titel\nvmail,imap,x": `titles.csv:1: column "titel": there are account, proc, title|titles.csv:1: no column "title"`,
		"account,proc,proc,title\n":        `titles.csv:1: column "proc" twice`,
		"account,proc,title,user\n":        `titles.csv:1: column "user": there are account, proc, title`,
		"# dovecot\naccount,proc,title\n,,\nvmail,imap,\"[\"\nvmail,[,x(?P<User>y)\nvmail,imap\nvmail,imap,(?P<user>x)(?P<user>y)\n": "" +
			"titles.csv:3: account: empty|" + `titles.csv:3: proc: "": empty pattern|` + `titles.csv:3: title: "": no group (?P<user>...) or (?P<proc>...)|` +
			"titles.csv:4: title: error parsing regexp: missing closing ]: `[`|" +
			`titles.csv:5: proc: "[": [ without ]|` + `titles.csv:5: title: "x(?P<User>y)": no group (?P<user>...) or (?P<proc>...)|` +
			"titles.csv:6: 2 cells where the header has 3|" +
			`titles.csv:7: title: "(?P<user>x)(?P<user>y)": two groups (?P<user>...)`,
		"account,proc,title\nvm*,imap,(?P<user>x)\na|b,imap,(?P<user>x)(?P<proc>y)\n[ab],x,(?P<proc>x)\na?,x,(?P<proc>x)\n": "" +
			`titles.csv:2: account: "vm*": with a group (?P<user>...) it must be one account: else one could speak for another|` +
			`titles.csv:3: account: "a|b": with a group (?P<user>...) it must be one account: else one could speak for another`,
		"account,proc,title\n[ab,imap,(?P<proc>x)\nroot,x,(?P<proc>x)(?P<proc>x)\n": `titles.csv:2: account: "[ab": [ without ]|` + `titles.csv:3: title: "(?P<proc>x)(?P<proc>x)": two groups (?P<proc>...)`,
		"account,proc,title\nvmail,imap,\"x\"y\nvmail,imap,x\n":                     "titles.csv:2: extraneous or missing \" in quoted-field|" + `titles.csv:3: title: "x": no group (?P<user>...) or (?P<proc>...)`,
	} {
		_, faults := Parse("titles.csv", text)
		var got []string
		for _, fault := range faults {
			got = append(got, fault.Error())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q:\n%s\nwant\n%s", text, strings.Join(got, "|"), want)
		}
	}
}

// mine returns a table for the account that runs the test, named me in it.
func mine(t *testing.T, text string) (*Table, uint32) {
	t.Helper()
	me, err := user.Current()
	if err != nil || me.Username == "" {
		t.Skipf("an account without a name: %v", err)
	}
	table, faults := Parse("titles.csv", strings.ReplaceAll(text, "me,", me.Username+","))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return table, uint32(os.Geteuid())
}

func TestUser(t *testing.T) {
	table, uid := mine(t, "title,account,proc\n"+
		`"^dovecot/imap \[(?P<user>[^] ]+) ",me,imap|pop3`+"\n"+
		`"^postgres: .* authentication$|^postgres: (?P<user>[^ ]+) ",me,postgres`+"\n"+
		`"^(?P<user>.+): late$",me,*`+"\n"+
		`"(?P<user>.*)",no-such-account,*`+"\n")
	if rules := table.For(uid, "imap"); rules != nil {
		t.Error("rules before the accounts are known")
	}
	if err := table.Resolve(); err == nil || err.Error() != `titles.csv: account "no-such-account": no such account` {
		t.Error(err)
	}
	for _, c := range []struct{ proc, title, want string }{
		{"imap", "dovecot/imap [groucho@example.org 192.0.2.7 IDLE]", "groucho@example.org"},
		{"pop3", "dovecot/imap [groucho 192.0.2.7]", "groucho"},
		{"imap-login", "dovecot/imap [groucho@example.org 192.0.2.7]", ""},
		{"imap", "x dovecot/imap [groucho@example.org 192.0.2.7]", ""},
		{"imap", "dovecot/imap [2 connections]", "2"}, // the table's fault
		{"imap", "dovecot/imap [a]b c]", ""},
		{"imap", "dovecot/imap [a\nb\xff\x1b c", "a\nb\xff\x1b"},
		{"imap", "a: late", "a"},
		{"imap", "a\nb: late", ""},
		{"postgres", "postgres: groucho sales [local] idle", "groucho"},
		{"postgres", "postgres: groucho sales [local] authentication", ""}, // matches, and names nobody
		{"postgres", "", ""},
	} {
		if got := table.For(uid, c.proc).User([]byte(c.title)); got != c.want {
			t.Errorf("%s %q: %q; want %q", c.proc, c.title, got, c.want)
		}
	}
	if table.For(uid+1, "imap") != nil || (*Table)(nil).For(uid, "imap") != nil {
		t.Error("rules for another uid, or of no table")
	}
}

// Programs are named for all accounts that match, and users only for one.
func TestPrograms(t *testing.T) {
	const text = "account,proc,title\n" +
		`dev-*|build,node|MainThread,"^node (?:-e |(?P<proc>[^ ]+))"` + "\n" +
		`?*,python3,"^python3 (?P<proc>.+)"` + "\n" +
		`root,imap,"^(?P<proc>[^ ]+) \[(?P<user>[^]]+)\]"` + "\n"
	table, faults := Parse("titles.csv", text)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if err := table.Resolve(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxProgram)
	for _, c := range []struct {
		account     account.Account
		comm, title string
		want        Saying
	}{
		{account.Account{Name: "dev-groucho", UID: 1004}, "node", "node /srv/mcp/server.js --port 80", Saying{Proc: "server.js"}},
		{account.Account{Name: "dev-groucho", UID: 1004}, "MainThread", "node server.js", Saying{Proc: "server.js"}},
		{account.Account{Name: "build", UID: 1005}, "node", "node server.js", Saying{Proc: "server.js"}},
		{account.Account{Name: "groucho", UID: 1006}, "node", "node server.js", Saying{}},
		{account.Account{Name: "", UID: 1007}, "node", "node server.js", Saying{}},
		{account.Account{Name: "build", UID: 1005}, "nodejs", "node server.js", Saying{}},
		{account.Account{Name: "build", UID: 1005}, "node", "node -e secret", Saying{}}, // matches, and names nothing
		{account.Account{Name: "build", UID: 1005}, "node", "node /srv/", Saying{}},
		{account.Account{Name: "build", UID: 1005}, "node", "node /srv/" + long, Saying{Proc: long}},
		{account.Account{Name: "build", UID: 1005}, "node", "node /srv/x" + long, Saying{}},
		{account.Account{Name: "build", UID: 1005}, "node", "node a\xff\x1b*", Saying{Proc: "a\xff\x1b*"}},
		// What holds arguments is none: they may be secrets.
		{account.Account{UID: 1007}, "python3", "python3 train.py", Saying{Proc: "train.py"}},
		{account.Account{UID: 1007}, "python3", "python3 train.py --password secret", Saying{}},
		{account.Account{UID: 1007}, "python3", "python3 x\ty", Saying{}},
		{account.Account{Name: "root", UID: 0}, "imap", "dovecot/imap [groucho@example.org]", Saying{"groucho@example.org", "imap"}},
		{account.Account{Name: "root", UID: 1}, "imap", "dovecot/imap [groucho@example.org]", Saying{}},
	} {
		if concerns := table.Concerns(c.account.UID, c.comm); !concerns && c.want != (Saying{}) {
			t.Errorf("%s %s: of no concern", c.account.Name, c.comm)
		}
		if got := table.RulesOf(c.account, c.comm).Read([]byte(c.title)); got != c.want {
			t.Errorf("%s %s %.40q: %+.40v; want %+.40v", c.account.Name, c.comm, c.title, got, c.want)
		}
	}
	if table.Concerns(0, "bash") || !table.NeedsNames() || (*Table)(nil).Concerns(0, "node") {
		t.Error("what concerns nobody")
	}
	if everybody, _ := Parse("", "account,proc,title\n*,node,(?P<proc>x)\nroot,imap,(?P<user>x)\n"); everybody.NeedsNames() {
		t.Error("names of accounts are asked for where all match")
	}
	rules := table.RulesOf(account.Account{UID: 1007}, "python3")
	if rules.Of(4) != nil || len(rules.Of(5)) != 1 || len(table.RulesOf(account.Account{UID: 0}, "imap").Of(1)) != 1 {
		t.Error("rules of few processes")
	}
}

func TestStanding(t *testing.T) {
	many := Programs{"": 900, "server.js": 404, "few": 4, "enough": 5}
	for i := range 500 { // names that somebody makes up
		many[fmt.Sprintf("name%03d", i)] = 1
	}
	if got := many.Standing(); !maps.Equal(got, Programs{"server.js": 404, "enough": 5}) {
		t.Errorf("%v", got)
	}
	for i := range 500 {
		many[fmt.Sprintf("name%03d", i)] = 6
	}
	if got := many.Standing(); !maps.Equal(got, Programs{"server.js": 404, "name000": 6, "name001": 6, "name002": 6, "name003": 6}) {
		t.Errorf("%v", got)
	}
}

// An expression takes time that grows with the title, whatever is in both.
func TestLinear(t *testing.T) {
	table, uid := mine(t, "account,proc,title\nme,*,^(?P<user>(a*)*)*b$\n")
	if err := table.Resolve(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	table.For(uid, "x").User([]byte(strings.Repeat("a", 4096)))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestUnchanged(t *testing.T) {
	dir, err := os.MkdirTemp("", "titles")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := dir + "/titles.csv"
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("account,proc,title\nroot,*,(?P<user>x)\n")
	table, faults := Load(path)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	later := time.Now().Add(time.Minute)
	if err := table.Unchanged(later); err != nil {
		t.Error(err)
	}
	if err := table.Unchanged(time.Now().Add(-time.Minute)); err == nil || err.Error() != path+": changed meanwhile" {
		t.Errorf("older than it: %v", err)
	}
	write("account,proc,title\nroot,*,(?P<user>y)\n")
	if err := table.Unchanged(later); err == nil || err.Error() != path+": changed meanwhile" {
		t.Errorf("another: %v", err)
	}
	os.Remove(path)
	if err := table.Unchanged(later); err == nil {
		t.Error("gone, and unchanged")
	}
	if table, faults := Load(path); table != nil || len(faults) != 1 {
		t.Errorf("no such file: %v, %q", table, faults)
	}
}
