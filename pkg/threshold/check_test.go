package threshold

import (
	"os"
	"os/user"
	"strings"
	"testing"

	"stormcheck/pkg/account"
)

func TestWarnings(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	here, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ table, want string }{
		{builtIn, ""},
		{"user,proc,log\n*,imapd,1\n*,imap,1\n*,*,1\n", ""},

		// Rows that never decide.
		{"user,proc,log\n*,x,1\n*,x,2\n", "3: never decides: what it matches is taken by line 2"},
		{"user,proc,log\n# c\n*,*,1\n\n*,x*,2\n", "5: never decides: what it matches is taken by line 3"},
		{"user,proc,log\n**,***,1\n*,*,2\n", "3: never decides: what it matches is taken by line 2"},
		{"user,proc,log\n*,x|y*,1\n*,y*|x,2\n*,y*|z,2\n", "3: never decides: what it matches is taken by line 2"},
		{"user,proc,log\n*,x,1\n*,y,1\n*,x|y,2\n", "4: never decides: what it matches is taken by line 2 and line 3"},
		{"user,proc,log\n*,imap*,1\n*,imapd|imap,2\n", "3: never decides: what it matches is taken by line 2"},
		{"user,proc,log\nroot|x*,a,1\nx*,a,2\nroot,a,3\nx*|y*,a,4\n", "3: never decides: what it matches is taken by line 2\n4: never decides: what it matches is taken by line 2"},
		{"user,proc,log\n[a-c]*,a,1\n[a-c]*,a,2\n[a-d]*,a,3\n", "3: never decides: what it matches is taken by line 2"},
		{"user,proc,log\n*,*,1\n*,total,2\n*,*,3\nx*,total,4\n", "4: never decides: what it matches is taken by line 2\n5: never decides: what it matches is taken by line 3"},
		{"host,user,proc,log\nnowhere*,*,*,1\nelse*,*,*,1\n*,*,*,1\nnowhere1,x*,y,1\n", "5: never decides: what it matches is taken by line 2"},
		{"user,proc,log\nroot,*,1\n*,*,1\n", ""},

		// Names that a process can't have.
		{"user,proc,log\n*,123456789012345,1\n*,1234567890123456|ok,1\n", `3: proc: "1234567890123456" has over 15 bytes, where Linux cuts a name; only a name from a title can be as long`},
		{"user,proc,log\n*,12345678901234[5-7]?*,1\n", `2: proc: "12345678901234??" has over 15 bytes, where Linux cuts a name; only a name from a title can be as long`},
		{"user,proc,log\n*,üüüüüüüü,1\n", `2: proc: "üüüüüüüü" has over 15 bytes, where Linux cuts a name; only a name from a title can be as long`},
		{`user,proc,log` + "\n" + `*,\\x01\\x01\\x01\\x01\\x01,1` + "\n", ""}, // five bytes, escaped
		{"user,proc,log\n*,/usr/lib/dovecot/imap,1\n", ""},

		// What is odd about kill.
		{"user,proc,alert,kill\n*,x,,9\n", "2: kill without alert or page: nobody is warned before it"},
		{"user,proc,kill\n*,x,9\n", "2: kill without alert or page: nobody is warned before it"},
		{"user,proc,page,kill\n*,x,5,9\n", ""},
		{"user,proc,alert,archive,kill\n*,x,1,60,50\n*,y,1,60,60\n*,z,1,,60\n", "2: kill=50 can be due before archive=60: then no mail is saved"},
		{"user,proc,alert,archive,kill\n*,x,1,60,100|+30\n*,y,1,30,100|+30\n*,z,1,60|+20,100|+30\n*,a,1,+20,100\n",
			"2: kill=100|+30 can be due before archive=60: then no mail is saved\n5: kill=100 can be due before archive=+20: then no mail is saved"},
		{"user,proc,alert,kill\n*,*,1,9\n", "2: kill for every name of every user"},
		{"user,proc,alert,kill\n*,total,1,9\n", "2: kill: killstorm ends nothing for a row of all processes"},

		{"user,proc,alrt,page-me,kill,alert\n*,x,1,1,1,1\n", "1: alrt: no tool of stormcheck answers to this action\n1: page-me: no tool of stormcheck answers to this action"},

		// Limits for trim.
		{"user,proc,alert,trim,kill\n*,x,1,40,\n*,y,1,40,100\n", ""},
		{"user,proc,alert,trim,kill\n*,x,,40,\n*,y,1,100,100\n*,z,1,200,100\n*,*,1,40,\n*,total,1,40,\n",
			"2: trim without alert or page: nobody is warned before it\n3: trim=100 is never done: a row that reaches kill=100 isn't trimmed\n4: trim=200 is never done: a row that reaches kill=100 isn't trimmed\n5: trim for every name of every user\n6: trim: killstorm ends nothing for a row of all processes"},

		// Churn limits.
		{"user,proc,alert\n*,x,1\n*,y,5|9/m\n*,*,200|20000/m\n", "3: a churn limit needs the column started, which only procstat --every DUR --churn fills"},

		// Names as the stream doesn't have them.
		{"user,proc,log\nCORP\\\\alice,x,1\n", `2: user: CORP\\alice never matches, for names are escaped in the stream: write CORP\\\\alice`},
		{"user,proc,log\nCORP\\\\*,x,1\n", ""}, // the star takes the second backslash
		{"user,proc,log\nCORP\\\\\\\\*,x,1\n", ""},
		{"user,proc,log\nCORP\\alice,x,1\n", `2: user: CORP\alice has a backslash before a letter or digit, which means just that; to match a backslash of the stream: CORP\\\\alice` + "\n" + `2: user: no account "CORPalice"`},
		{"user,proc,log\n*,a\\x2cb|z,1\n", `2: proc: a\x2cb|z has a backslash before a letter or digit, which means just that; to match a backslash of the stream: a\\x2cb|z`},
		{"user,proc,log\n*,\"a,b\",1\n", `2: proc: a,b never matches, for names are escaped in the stream: write a\\x2cb`},
		{"user,proc,log\n*,\"a,b|imapd\",1\n", `2: proc: a,b|imapd never matches, for names are escaped in the stream: write a\\x2cb|imapd`},
		{"user,proc,log\n*,imapd\u00a0,1\n", "2: proc: imapd\u00a0 never matches, for names are escaped in the stream: write imapd\\\\xc2\\\\xa0"},
		{"user,proc,log\n*,\\*,1\n", `2: proc: \* never matches, for names are escaped in the stream: write \\x2a`},
		{"user,proc,log\n*,“imapd”,1\n", "2: proc: the quotation marks of “imapd” are part of the name; without them: imapd"},
		{"user,proc,log\n*,'imapd'|‘imap’,1\n", "2: proc: the quotation marks of 'imapd'|‘imap’ are part of the name; without them: imapd|imap"},
		{"user,proc,log\n*,\"\"\"imapd\"\"\",1\n", `2: proc: the quotation marks of "imapd" are part of the name; without them: imapd`},
		{"user,proc,log\n*,'|'a|“a,1\n", ""},
		{"account,user,proc,log\n“vmail”,*,x,1\n", "2: account: the quotation marks of “vmail” are part of the name; without them: vmail\n2: account: no account \"“vmail”\""},

		// Names that don't name a program.
		{"user,proc,log\n*,node|x|MainThread,1\n*,python3.11,1\n*,perl*,1\n*,nodes|pythonic|javac,1\n*,sh|bash,1\n",
			`2: proc: "node" runs other programs and doesn't say which; name them with (?P<proc>...) in storm.titles(5)` + "\n" +
				`2: proc: "MainThread" runs other programs and doesn't say which; name them with (?P<proc>...) in storm.titles(5)` + "\n" +
				`3: proc: "python3.11" runs other programs and doesn't say which; name them with (?P<proc>...) in storm.titles(5)` + "\n" +
				`4: proc: "perl" runs other programs and doesn't say which; name them with (?P<proc>...) in storm.titles(5)`},

		// Rows for no host, or for others.
		{"host,user,proc,log\nnowhere,*,x,1\n*.example.org,*,*,1\n", " no row applies to this host: its node name is \"" + here + "\""},
		{"host,user,proc,log\nnowhere,*,x,1\n" + here + ",*,*,1\n", ""},

		// Users that the name service doesn't know.
		{"user,proc,log\n" + me.Username + "|no-such-user,x,1\nno-such-*,x,1\n4711,x,1\n", `2: user: no account "no-such-user"`},
		{"account,user,proc,log\n?*,*,imap,1\nro*,*,*,1\nroot,*,imap,1\n*,*,imap,1\n", "4: never decides: what it matches is taken by line 2"},
		{"account,user,proc,log\nno-such-account,groucho@example.org,x,1\n*,no-such-user,x,1\n", `2: account: no account "no-such-account"` + "\n" + `3: user: no account "no-such-user"`},
		{"host,user,proc,log\nnot" + here + ",no-such-user,x,1\n" + here + "|x,no-such-user,x,1\n", `3: user: no account "no-such-user"`},
	} {
		var got []string
		for _, warning := range mustParse(t, c.table).warnings() {
			got = append(got, strings.Replace(strings.TrimPrefix(strings.TrimPrefix(warning.Error(), "limits.csv"), ":"), "warning: ", "", 1))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", c.table, strings.Join(got, "\n"), c.want)
		}
	}
}

// An account that nobody logs in with may run a service for everybody.
func TestWarningOfKillForServices(t *testing.T) {
	service, err := account.ByName("nobody")
	if err != nil || !service.ForbidsLogin() {
		t.Skip("no account nobody that forbids login")
	}
	const uid = "kill: uid 61500 is one of those that systemd gives to services"
	forbids := `kill: account "nobody" forbids login (` + service.Shell + `), so its processes may serve everybody`
	for _, c := range []struct{ rows, want string }{
		{"nobody,x,1,9", forbids},
		{"no*,x,1,9", ""},
		{"*,x,1,9", ""},
		{"nobody,x,1,", ""},
		{"root|nobody,x,1,9", forbids},
		{"61500,x,1,9", uid},
		{"61500,x,1,", ""},
		{"61183,x,1,9", ""},
		{"65520,x,1,9", ""},
	} {
		got := ""
		for _, warning := range mustParse(t, "user,proc,alert,kill\n"+c.rows+"\n").warnings() {
			got += strings.TrimPrefix(warning.Error(), "limits.csv:2: warning: ")
		}
		if got != c.want {
			t.Errorf("%s: %q; want %q", c.rows, got, c.want)
		}
	}
}
