package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/threshold"
)

// displays returns the literal displays of a page, as a reader sees them.
func displays(t *testing.T, page string) []string {
	t.Helper()
	found := submatches(`(?s)\n\.Bd -literal[^\n]*\n(.*?)\n\.Ed`, manPage(t, page))
	for i := range found {
		found[i] = strings.NewReplacer(`\e`, `\`, `\&`, "", `\ `, " ", `\(aq`, "'", `\(ti`, "~", `\(ha`, "^").Replace(found[i])
	}
	return found
}

// recipe returns the literal display of a page that holds text.
func recipe(t *testing.T, page, text string) string {
	t.Helper()
	for _, display := range displays(t, page) {
		if strings.Contains(display, text) {
			return display
		}
	}
	t.Fatalf("%s: no display with %q", page, text)
	return ""
}

// The tables that storm.limits(5) shows have no fault, no warning except that this
// machine lacks an account or the churn flag, and decide as the page says.
func TestWorkedTables(t *testing.T) {
	const header = "host,user,proc,count,recent,started\n"
	tables := map[string]map[string]string{ // by what a table begins with: rows and the actions that are due
		"user,proc,log,alert,archive,page,kill\n*,sendmail,20,60,,,\n": {
			"h,u,imapd,19,,": "", "h,u,imapd,20,,": "log=20", "h,u,imap,60,,": "log=20 alert=60 archive=60", "h,u,imapd,100,,": "log=20 alert=60 archive=60 kill=100",
		},
		"user,proc\ngroucho,*": {"h,groucho,imapd,9999,9999,99999": "", "h,harpo,imapd,9999,,": ""},
		"user,proc,log,alert,archive,page,kill\n# Mail comes in waves.": {"h,u,sendmail,59,,": "log=20", "h,u,httpd,40,,": "log=20 alert=40", "h,u,x,20,,": "log=20 alert=20"},
		"user,proc,log,alert,archive,page,kill\n*,sendmail,20,60,,1000,": {
			"h,u,sendmail,999,,": "log=20 alert=60", "h,u,sendmail,1000,,": "log=20 alert=60 page=1000", "h,u,imapd,1000,,": "log=20 alert=60 archive=60 page=1000 kill=100",
			"h,u,httpd,1000,,": "log=20 alert=40 page=1000", "h,u,anything,1000,,": "log=20 alert=20 page=1000",
		},
		"user,proc,log,alert,archive,page,trim,kill":               {"h,u,imap,39,,": "log=20", "h,u,imap,40,,": "log=20 archive=40 trim=40", "h,u,imapd,400,,": "log=20 alert=60 archive=40 trim=40 kill=400"},
		"user,proc,log,alert,archive,page,kill\n*,*,20,20|20000/m": {"h,u,curl,3,3,20000": "alert=20|20000/m", "h,u,make,19,19,5000": "", "h,u,curl,20,,": "log=20 alert=20|20000/m"},
		"user,proc,log,alert,archive,page,kill\n# Dovecot's": {
			"h,dovenull,imap-login,500,,": "log=200", "h,postfix,smtpd,100,,": "log=60 alert=100", "h,u,imap,399,299,": "log=50 alert=100 archive=100 page=250",
			"h,u,imap,300,300,": "log=50 alert=100 archive=100 page=250 kill=400|+300", "h,u,procmail,40,,": "log=20 alert=40",
		},
		"user,proc,log,alert,archive,page,kill\n# backup may": {
			"h,backup,bash,9999,9999,": "", "h,root,sshd-session,499,,": "log=200", "h,root,bash,399,399,": "log=50", "h,u,make,299,299,": "log=100",
			"h,u,bash,300,300,": "log=40 alert=80 page=300|+200 kill=600|+300", "h,u,vi,20,,": "log=20 alert=20",
		},
		"host,user,proc,alert,kill": {
			"mail2,u,imapd,100,,": "alert=60 kill=100", "web1,www-data,php,499,,": "", "web1,u,imapd,100,,": "alert=40", "shell,u,bash,40,,": "alert=40",
		},
	}
	dir := t.TempDir()
	for _, display := range displays(t, "storm.limits.5") {
		decisions, found := map[string]string(nil), ""
		for begin, rows := range tables {
			if strings.HasPrefix(display+"\n", begin) {
				decisions, found = rows, begin
			}
		}
		if found == "" {
			t.Errorf("nothing is expected of\n%s", display)
			continue
		}
		delete(tables, found)
		file := filepath.Join(dir, "limits.csv")
		if err := os.WriteFile(file, []byte(display+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		status, _, said := runThreshold("", "--check", "--limits", file)
		for line := range strings.Lines(said) {
			if status != 0 || !strings.Contains(line, ": no account") && !strings.Contains(line, "--churn fills") {
				t.Errorf("%s\n%s", display, line)
			}
		}
		for row, want := range decisions {
			status, out, said := runThreshold(header+row+"\n", "--all", "--limits", file)
			lines := strings.Split(out, "\n")
			if status != 0 || len(lines) != 3 || strings.Split(lines[1], ",")[10] != want {
				t.Errorf("%s\n%s: %q, status %d, %s; want %q", display, row, out, status, said, want)
			}
		}
	}
	for begin := range tables {
		t.Errorf("the page has no table that begins\n%s", begin)
	}
}

// runThreshold runs threshold with a stream as its input.
func runThreshold(stream string, args ...string) (status int, out, said string) {
	var written, problems strings.Builder
	app := threshold.App()
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(stream), &written, &problems
	status = filter.Status(app, append([]string{"threshold"}, args...))
	return status, written.String(), problems.String()
}

var triedPeaks = []string{"peak[name] = $6", "limit = int("}

// A week's log becomes peaks, and these a table that lets them pass.
func TestPeaksRecipe(t *testing.T) {
	dir := t.TempDir()
	log := strings.Join(rows.Header(rows.AllColumns), ",") + `
2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,20,0,0,,*/imapd,log=20,,,,,
2000-04-25T05:18:02Z,moscow,groucho,1004,imapd,44,0,0,,*/imapd,log=20,,,,,
2000-04-25T05:19:02Z,moscow,groucho,1004,imapd,31,0,0,,*/imapd,log=20,,,,,
2000-04-25T05:19:02Z,moscow,groucho,1004,*,130,0,0,,*/\x2a,log=100,,,,,
` + strings.Join(rows.Header(rows.AllColumns), ",") + `
2000-04-25T05:19:02Z,moscow,harpo,1005,a\x2c*[b|\\,100,0,0,,*/*,log=20,,,,,
2000-04-25T05:20:02Z,moscow,harpo,1005,imapd,21,0,0,,*/imapd,log=20,,,,,
`
	if err := os.WriteFile(dir+"/log.csv", []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(script string) string {
		cmd := exec.Command("sh", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	run(strings.ReplaceAll(recipe(t, "stormcheck-recipes.7", triedPeaks[0]), "/var/lib/stormcheck/", ""))
	peaks, err := os.ReadFile(dir + "/peaks.csv")
	if want := "100,harpo,a\\x2c*[b|\\\\\n44,groucho,imapd\n21,harpo,imapd\n"; string(peaks) != want {
		t.Errorf("peaks %q, %v; want %q", peaks, err, want)
	}
	limits := run(recipe(t, "stormcheck-recipes.7", triedPeaks[1]))
	want := `user,proc,log,alert,archive,page,kill
harpo,a\\x2c\*\[b\|\\\\,100,150,,,
groucho,imapd,44,70,,,
harpo,imapd,21,40,,,
`
	if _, faults := threshold.ParseTable("limits", limits); limits != want || len(faults) > 0 {
		t.Errorf("limits\n%s%v\nwant\n%s", limits, faults, want)
	}
}
