package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stormcheck/pkg/titles"
)

// The tables that storm.titles(5) shows read the titles that it speaks of.
func TestTitleTables(t *testing.T) {
	said := map[string]map[string]string{ // by process and title: the user
		"imap": {
			"dovecot/imap [groucho@example.org 192.0.2.7]":           "groucho@example.org",
			"dovecot/imap [groucho@example.org 2001:db8::7 IDLE]":    "groucho@example.org",
			"dovecot/imap [2 connections]":                           "",
			"dovecot/imap":                                           "",
			"x dovecot/imap [groucho@example.org 192.0.2.7 IDLE]":    "",
			"dovecot/imap [a] [groucho@example.org 192.0.2.7 IDLE]":  "",
			"dovecot/imap [a groucho@example.org 192.0.2.7 IDLE]":    "",
			"dovecot/imap-login [groucho@example.org 192.0.2.7 TLS]": "",
		},
		"php-fpm8.2": {"php-fpm: pool shop": "shop", "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)": ""},
		"postgres": {
			"postgres: 15/main: groucho sales [local] idle":                       "groucho",
			"postgres: groucho sales 192.0.2.7(50962) SELECT":                     "groucho",
			"postgres: 15/main: groucho sales 192.0.2.7(50962) authentication  ":  "",
			"postgres: groucho sales 2001:db8::7(5) startup":                      "",
			"postgres: 15/main: checkpointer ":                                    "",
			"postgres: 15/main: autovacuum worker sales":                          "",
			"postgres: walsender groucho 192.0.2.7(50962) streaming 0/3000148":    "walsender", // its name is that
			"/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main ": "",
		},
		"sshd":  {"sshd: harpo [priv]": "harpo", "sshd: harpo@pts/3": "", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups": ""},
		"imapd": {"imapd: host [192.0.2.7] groucho": "groucho", "imapd -U 30": ""},
	}
	shown := 0
	for _, display := range displays(t, "storm.titles.5") {
		if !strings.HasPrefix(display, "account,proc,title") {
			continue
		}
		shown++
		_, rule, _ := strings.Cut(display, "\n")
		account, _, _ := strings.Cut(rule, ",")
		table, faults := titles.Parse("titles.csv", strings.Replace(display, account+",", "root,", 1))
		if len(faults) > 0 {
			t.Errorf("%s: %v", display, faults)
			continue
		}
		if err := table.Resolve(); err != nil {
			t.Fatal(err)
		}
		for proc, all := range said {
			rules := table.For(0, proc)
			if rules == nil {
				continue
			}
			for title, want := range all {
				if got := rules.User([]byte(title)); got != want {
					t.Errorf("%s\n%s: %q; want %q", display, title, got, want)
				}
			}
		}
	}
	if shown != 5 {
		t.Errorf("%d tables; want 5", shown)
	}
}

// The limits that storm.titles(5) shows have no fault, and decide as it says.
func TestTitleLimits(t *testing.T) {
	for display, decisions := range map[string]map[string]string{
		"mcp-server-git": {"groucho,,mcp-server-git,59": "log=20 alert=40", "groucho,,mcp-server-git,60": "log=20 alert=40 kill=60", "groucho,,node,600": ""},
		"account,user,proc,log": {
			"groucho@example.org,vmail,imap,100": "log=30 alert=60 kill=100", "vmail,,imap,999": "log=300", "groucho,,imap,100": "log=20 alert=40",
		},
	} {
		file := filepath.Join(t.TempDir(), "limits.csv")
		if err := os.WriteFile(file, []byte(recipe(t, "storm.titles.5", display)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, said := runThreshold("", "--check", "--limits", file); status != 0 {
			t.Errorf("%s: %s", display, said)
		}
		for row, want := range decisions {
			_, out, said := runThreshold("host,user,account,proc,count\nh,"+row+"\n", "--all", "--limits", file)
			lines := strings.Split(out, "\n")
			if len(lines) != 3 || strings.Split(lines[1], ",")[10] != want {
				t.Errorf("%s: %s: %q %s; want %q", display, row, out, said, want)
			}
		}
	}
}

// The filter that kicks: only users that are due, and no name that doveadm would take
// for more than one.
func TestKickRecipe(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh")
	}
	dir := t.TempDir()
	fake := "#!/bin/sh\necho \"$*\" >>" + dir + "/kicked\n"
	if err := os.WriteFile(filepath.Join(dir, "doveadm"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := exec.Command("uname", "-n").Output()
	if err != nil {
		t.Fatal(err)
	}
	in := "time,host,user,uid,proc,count,zombies,recent,account,rule,actions,archived,killed,remaining,notes,errors,parent,oldest,started\n"
	for _, cells := range []string{
		"HERE,groucho@example.org,5000,imap,150,0,9,vmail,r,alert=60 kill=100", "HERE,*,5000,imap,150,0,9,vmail,r,kill=100",
		"HERE,-x,5000,imap,150,0,9,vmail,r,kill=100", `HERE,a\x3f,5000,imap,150,0,9,vmail,r,kill=100`, "HERE,harpo,5001,imap,150,0,9,,r,kill=100",
		"HERE,harpo@example.org,5000,imap,61,0,9,vmail,r,alert=60", "elsewhere,harpo@example.org,5000,imap,150,0,9,vmail,r,kill=100",
		"HERE,harpo@example.org,5000,pop3,150,0,9,vmail,r,kill=100", "HERE,harpo@example.org,5000,imap,150,0,9,vmail,r,overkill=100",
	} {
		in += "2000-04-25T05:17:02Z," + strings.Replace(cells, "HERE", strings.TrimSpace(string(here)), 1) + ",,,,,\n"
	}
	cmd := exec.Command("sh", "-c", recipe(t, "storm.titles.5", "doveadm kick \""))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(in)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if string(out) != in || err == nil || strings.Count(problems.String(), "not a name for doveadm\n") != 3 {
		t.Errorf("%v, said %q, passed\n%s", err, problems.String(), out)
	}
	if kicked, err := os.ReadFile(dir + "/kicked"); string(kicked) != "kick groucho@example.org\n" {
		t.Errorf("kicked %q, %v", kicked, err)
	}
}
