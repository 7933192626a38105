package threshold

import (
	"os"
	"os/user"
	"strings"
	"testing"
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
		{"user,proc,log\n*,123456789012345,1\n*,1234567890123456|ok,1\n", `3: proc: a name like "1234567890123456" has over 15 bytes, where Linux cuts it`},
		{"user,proc,log\n*,12345678901234[5-7]?*,1\n", `2: proc: a name like "12345678901234??" has over 15 bytes, where Linux cuts it`},
		{"user,proc,log\n*,üüüüüüüü,1\n", `2: proc: a name like "üüüüüüüü" has over 15 bytes, where Linux cuts it`},
		{`user,proc,log` + "\n" + `*,\\x01\\x01\\x01\\x01\\x01,1` + "\n", ""}, // five bytes, escaped
		{"user,proc,log\n*,/usr/lib/dovecot/imap,1\n", ""},

		// What is odd about kill.
		{"user,proc,alert,kill\n*,x,,9\n", "2: kill without alert: nobody is told before it comes to that"},
		{"user,proc,kill\n*,x,9\n", "2: kill without alert: nobody is told before it comes to that"},
		{"user,proc,page,kill\n*,x,5,9\n", ""},
		{"user,proc,alert,archive,kill\n*,x,1,60,50\n*,y,1,60,60\n*,z,1,,60\n", "2: kill=50 can be due before archive=60: then no mail is saved"},
		{"user,proc,alert,archive,kill\n*,x,1,60,100|+30\n*,y,1,30,100|+30\n*,z,1,60|+20,100|+30\n*,a,1,+20,100\n",
			"2: kill=100|+30 can be due before archive=60: then no mail is saved\n5: kill=100 can be due before archive=+20: then no mail is saved"},
		{"user,proc,alert,kill\n*,*,1,9\n", "2: kill for every name of every user"},
		{"user,proc,alert,kill\n*,total,1,9\n", "2: kill: killstorm ends nothing for a row of all processes"},

		{"user,proc,alrt,page-me,kill,alert\n*,x,1,1,1,1\n", "1: alrt: no tool of stormcheck answers to this action\n1: page-me: no tool of stormcheck answers to this action"},

		// Users that the name service doesn't know.
		{"user,proc,log\n" + me.Username + "|no-such-user,x,1\nno-such-*,x,1\n4711,x,1\n", `2: user: no account "no-such-user"`},
		{"account,user,proc,log\n?*,*,imap,1\nro*,*,*,1\nroot,*,imap,1\n*,*,imap,1\n", "4: never decides: what it matches is taken by line 2"},
		{"account,user,proc,log\nno-such-account,groucho@example.org,x,1\n*,no-such-user,x,1\n", `2: account: no account "no-such-account"` + "\n" + `3: user: no account "no-such-user"`},
		{"host,user,proc,log\nnot" + here + ",no-such-user,x,1\n" + here + "|x,no-such-user,x,1\n", `3: user: no account "no-such-user"`},
	} {
		var got []string
		for _, warning := range mustParse(t, c.table).warnings() {
			got = append(got, strings.Replace(strings.TrimPrefix(warning.Error(), "limits.csv:"), "warning: ", "", 1))
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", c.table, strings.Join(got, "\n"), c.want)
		}
	}
}
