package cmd_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

// A kitchen is a directory in which recipes of a page are run as they stand there, but
// for the places of files.
type kitchen struct {
	t    *testing.T
	page string
	dir  string
}

// newKitchen returns a kitchen whose mailer keeps what it gets in the file "mail".
func newKitchen(t *testing.T, page string) *kitchen {
	k := &kitchen{t: t, page: page, dir: t.TempDir()}
	for _, dir := range []string{"bin", "state", "archive", "root", "cron.d", "limits.d"} {
		if err := os.Mkdir(k.dir+"/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	k.write("bin/sendmail", "#!/bin/sh\ncat >>"+k.dir+"/mail\n")
	t.Setenv("WORK", k.dir)
	t.Setenv("LC_ALL", "C")
	t.Setenv("PATH", k.dir+"/bin:"+os.Getenv("PATH"))
	return k
}

// write makes a file that may be executed.
func (k *kitchen) write(name, text string) {
	k.t.Helper()
	if err := os.WriteFile(k.dir+"/"+name, []byte(text), 0o700); err != nil {
		k.t.Fatal(err)
	}
}

// read returns a file, or nothing.
func (k *kitchen) read(name string) string {
	text, _ := os.ReadFile(k.dir + "/" + name)
	return string(text)
}

// recipe returns the display that holds text, with the places of this kitchen.
func (k *kitchen) recipe(text string) string {
	k.t.Helper()
	return k.place(recipe(k.t, k.page, text))
}

func (k *kitchen) place(script string) string {
	return strings.NewReplacer(
		"/var/lib/prometheus/node-exporter", k.dir, "/var/lib/stormcheck", k.dir+"/state", "/etc/stormcheck", k.dir, "/etc/cron.d", k.dir+"/cron.d",
		"/root", k.dir+"/root", "/run/", k.dir+"/", "/usr/local/bin", k.dir+"/bin", "/usr/local/sbin", k.dir+"/bin",
		"alertmail --to root", "alertmail --to root --sendmail "+k.dir+"/bin/sendmail", "/var/log/mail.log", k.dir+"/mail.log",
	).Replace(script)
}

// line returns the line that the page shows by itself and that begins with text.
func (k *kitchen) line(text string) string {
	k.t.Helper()
	for _, line := range submatches(`(?m)^\.Dl (.*)$`, manPage(k.t, k.page)) {
		if line = strings.NewReplacer(`\(aq`, "'", `\(ti`, "~", `\(ha`, "^").Replace(line); strings.HasPrefix(line, text) {
			return k.place(line)
		}
	}
	k.t.Fatalf("%s: no line begins with %q", k.page, text)
	return ""
}

// run runs a script and returns what it prints.
func (k *kitchen) run(script, stdin string) (string, error) {
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Stdin = k.dir, strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+k.dir) // sqlite3 complains without one
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// processes makes the processes of ps.txt those of this machine: 150 imapd of groucho,
// who has no account.
func (k *kitchen) processes() {
	k.t.Helper()
	real, err := exec.LookPath("procstat")
	if err != nil {
		k.t.Fatal(err)
	}
	k.write("ps.txt", "USER    STAT COMMAND\n"+strings.Repeat("groucho S    imapd\n", 150)+"harpo   S    vi\n")
	k.write("bin/procstat", "#!/bin/sh\ncase $* in\n*--input*) ;;\n*) set -- --host \"$(uname -n)\" --input "+k.dir+"/ps.txt \"$@\" ;;\nesac\nexec "+real+" \"$@\"\n")
}

// prints runs a script that must succeed and print this.
func (k *kitchen) prints(script, stdin, want string) {
	k.t.Helper()
	if out, err := k.run(script, stdin); err != nil || out != want {
		k.t.Errorf("%s\nprints\n%s%v; want\n%s", script, out, err, want)
	}
}

// has returns text if a file has each of the words, and else reports what is missing.
func (k *kitchen) has(name string, words ...string) {
	k.t.Helper()
	for _, word := range words {
		if text := k.read(name); !strings.Contains(text, word) {
			k.t.Errorf("%s: no %q in\n%s", name, word, text)
		}
	}
}

// needs skips the test where a tool is missing.
func needs(t *testing.T, tools ...string) {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
}

const recipeRows = `2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,404,0,57,,*/imapd,log=20 kill=100,,,,,,,,
2000-04-25T05:17:02Z,moscow,harpo,1005,httpd,25,0,0,,*/*,log=20,,,,mailarchive: note,,,,
`

func recipeStream() string {
	return strings.Join(rows.Header(rows.AllColumns), ",") + "\n" + recipeRows
}

// Each recipe of stormcheck(8), stormcheck.conf(5) and stormcheck-recipes(7) is run by one
// of the tests below, or by one of another tool's page.
func TestStormcheckRecipesAreAllTried(t *testing.T) {
	tried := []string{"procstat -> threshold", "# stormcheck --status", "# stormcheck --end"} // a drawing, and samples
	for _, texts := range [][]string{triedCommands, triedSettings, triedFilters, triedLogs, triedPipes, triedPlots, triedPeaks, triedAlertmail} {
		tried = append(tried, texts...)
	}
	for _, page := range []string{"stormcheck.8", "stormcheck.conf.5", "stormcheck-recipes.7"} {
		for _, display := range displays(t, page) {
			if !slices.ContainsFunc(tried, func(text string) bool { return strings.Contains(display, text) }) {
				t.Errorf("%s: not tried:\n%s", page, display)
			}
		}
	}
}

var triedCommands = []string{"stormcheck --check", "stormcheck --pause", "00-off.csv", "systemctl", "* * * * * root ["}

// What is typed on a terminal: no command is a usage error.
func TestStormcheckCommandRecipes(t *testing.T) {
	k := newKitchen(t, "stormcheck.8")
	k.write("stormcheck.conf", "ALERTMAIL=\"--sendmail "+k.dir+"/bin/sendmail\"\n")
	if err := os.Chmod(k.dir+"/stormcheck.conf", 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range strings.Split(k.recipe(triedCommands[0])+"\n"+k.recipe(triedCommands[1]), "\n") {
		out, err := k.run(command+"; [ $? -ne 2 ]", "")
		if err != nil || strings.Contains(out, "usage:") {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
	k.has("mail", "Subject: [TEST] ")
	k.has("state/pause", ",*,*\n")

	k.prints(k.recipe(triedCommands[2]), "", "")
	if off := k.read("limits.d/00-off.csv"); off != "user,proc\ngroucho,*\n" {
		t.Errorf("00-off.csv: %q", off)
	}
	k.write("systemctl.args", "")
	k.write("bin/systemctl", "#!/bin/sh\necho \"$*\" >"+k.dir+"/systemctl.args\n")
	k.write("cron.d/stormcheck", "")
	k.prints(k.recipe(triedCommands[3]), "", "")
	k.has("systemctl.args", "disable --now stormcheck.timer stormcheck-standing.service\n")
	if _, err := os.Stat(k.dir + "/cron.d/stormcheck"); err == nil {
		t.Error("the crontab line is still there")
	}
	line := k.recipe(triedCommands[4])
	if crontab, err := os.ReadFile("stormcheck/stormcheck.cron"); err != nil || !strings.Contains(string(crontab), "\n"+strings.ReplaceAll(line, k.dir+"/bin", "/usr/local/bin")+"\n") {
		t.Errorf("the page's crontab line is not the installed one: %v", err)
	}
	_, command, _ := strings.Cut(line, "root ")
	k.prints(strings.ReplaceAll(command, k.dir, "/nonexistent"), "", "") // a removed package's line
}

var triedSettings = []string{`MAILARCHIVE="--mailbox`, "PROCSTAT=\"$PROCSTAT\n--metrics", "--alertmanager http://alert1"}

// Settings: --check finds nothing wrong with them, and each stage takes its flags.
func TestStormcheckSettingsRecipes(t *testing.T) {
	k := newKitchen(t, "stormcheck.conf.5")
	k.write("bin/daytime", "#!/bin/sh\nexec cat\n")
	k.write("bin/duty", "#!/bin/sh\nexec cat\n")
	settings := []string{k.line(`ALERTMAIL="$ALERTMAIL --page`), k.line(`ALERTMAIL="$ALERTMAIL --owner`), k.line(`PROCSTAT="--churn`), k.recipe(triedSettings[0])}
	k.page = "stormcheck-recipes.7"
	settings = append(settings, k.line(`FILTERS="daytime`), k.line(`FILTERS="mailarchive`))
	for _, text := range triedSettings[1:] {
		settings = append(settings, k.recipe(text))
	}
	for _, text := range settings {
		k.write("stormcheck.conf", "PATH=\""+k.dir+"/bin:$PATH\"\n"+text+"\n")
		if err := os.Chmod(k.dir+"/stormcheck.conf", 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := k.run("stormcheck --check", "")
		if !strings.Contains(out, "ok     settings: ") {
			t.Errorf("%s\n%s", text, out)
		}
		for line := range strings.Lines(out) {
			for _, kind := range []string{"wrong  settings:", "warn   settings:", "wrong  stage:", "wrong  mailboxes:"} {
				// An ordinary user has no archive, and a busy machine takes its time.
				if strings.HasPrefix(line, kind) && !strings.Contains(line, "stage: mailarchive") && !strings.Contains(line, ": has not ended after ") {
					t.Errorf("%s\n%s", text, line)
				}
			}
		}
	}
}

var triedFilters = []string{"# daytime -", "# duty -", "# spare -"}

// Filters of one's own: all rows pass, and the hour decides.
func TestStormcheckFilterRecipes(t *testing.T) {
	needs(t, "awk", "sh")
	k := newKitchen(t, "stormcheck-recipes.7")
	k.write("bin/date", "#!/bin/sh\ncat "+k.dir+"/hour\n")
	daytime := k.recipe(triedFilters[0])
	k.write("hour", "08\n")
	k.prints(daytime, recipeStream(), recipeStream())
	k.write("hour", "12\n")
	k.prints(daytime, recipeStream(), strings.Replace(recipeStream(), "log=20 kill=100,,,,,", "log=20,,,,daytime: not killed at this hour,", 1))

	k.write("bin/alertmail", "#!/bin/sh\n{ echo \"$*\"; cat; } >"+k.dir+"/reported\n")
	k.write("bin/duty", k.recipe(triedFilters[1]))
	k.prints("duty -n", recipeStream(), recipeStream())
	if reported := k.read("reported"); reported != "" {
		t.Errorf("in a dry run it reports %q", reported)
	}
	k.prints("duty", recipeStream(), recipeStream())
	lines := strings.SplitAfter(recipeStream(), "\n")
	if want := "--to duty@example.org\n" + lines[0] + lines[1]; k.read("reported") != want {
		t.Errorf("duty reports\n%s; want\n%s", k.read("reported"), want)
	}

	if _, err := exec.LookPath("mlr"); err != nil {
		t.Log(err)
		return
	}
	spare := k.recipe(triedFilters[2])
	ofBackup := strings.ReplaceAll(recipeStream(), ",groucho,", ",backup,")
	k.prints(spare, ofBackup, strings.Replace(ofBackup, "log=20 kill=100", "", 1))
	k.prints(spare, lines[0], lines[0]) // of a stream without rows the header passes
}

var triedLogs = []string{"most[$3", "mlr --icsv", "sqlite3 :memory:"}

// The logs, read by others.
func TestStormcheckLogRecipes(t *testing.T) {
	k := newKitchen(t, "stormcheck-recipes.7")
	log := recipeStream() + strings.Replace(recipeRows, "imapd,404", "imapd,150", 1)
	today := strings.ReplaceAll(log, "2000-04-25", time.Now().UTC().Format(time.DateOnly))
	k.write("state/log.csv", today+strings.ReplaceAll(recipeRows, "404", "999"))
	k.write("state/done.csv", strings.Replace(log, "kill=100,,,,", "kill=100,,404,0,", 1))
	for i, want := range []string{
		"404 groucho imapd\n25 harpo httpd\n",
		"time                 user    proc  count killed remaining\n2000-04-25T05:17:02Z groucho imapd 404   404    0\n",
		"2000-04-25T05|groucho|999\n2000-04-25T05|harpo|25\n" + today[strings.Index(today, "\n")+1:][:13] + "|groucho|404\n" + today[strings.Index(today, "\n")+1:][:13] + "|harpo|25\n",
	} {
		script := k.recipe(triedLogs[i])
		if _, err := exec.LookPath(strings.Fields(script)[0]); err != nil {
			t.Log(err)
			continue
		}
		k.prints(script, "", want)
	}
}

var triedPipes = []string{"# storm -", "# stormfleet -"}

// The check without stormcheck, as cron runs it; and of many hosts, of which one
// doesn't answer.
func TestStormcheckPipeRecipes(t *testing.T) {
	needs(t, "sh", "flock", "timeout", "xargs")
	k := newKitchen(t, "stormcheck-recipes.7")
	k.processes()
	k.write("bin/storm", k.recipe(triedPipes[0]))
	crontab := strings.TrimPrefix(k.line("* * * * * root flock"), "* * * * * root ")
	_, _ = k.run("flock "+k.dir+"/storm.lock sh -c '"+crontab+"'", "")
	if mail := k.read("mail"); mail != "" {
		t.Errorf("a second run sends\n%s", mail)
	}
	said, _ := k.run(crontab, "")
	t.Log(said) // there is no account
	k.has("mail", "150 groucho imapd", "URGENT", "FAILED killstorm: ")

	k.write("mail", "")
	k.write("hosts", "mail1\nmail2\nmail3\n")
	k.write("bin/ssh", "#!/bin/sh\ncase $* in\n*mail1*) grep -v imapd "+k.dir+"/ps.txt ;;\n*mail2*) cat "+k.dir+"/ps.txt ;;\n*) echo no route >/dev/null; exit 255 ;;\nesac\n")
	out, err := k.run(k.recipe(triedPipes[1]), "")
	if err != nil || out != "" {
		t.Errorf("stormfleet: %v: %s", err, out)
	}
	k.has("mail", "150 groucho imapd on mail2", "stormcheck on mail3 is not working: ssh or procstat failed")
	k.has("state/fleet.csv", "mail2")
}

// The output that stormcheck(8) shows of --status and --end is theirs, but for the times
// and for the name and the number of the processes.
func TestStormcheckSamples(t *testing.T) {
	needs(t, "script", "setsid")
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes uid")
	}
	k := newKitchen(t, "stormcheck.8")
	t.Setenv("TZ", "America/Chicago")
	sample := func(command string) string {
		text := strings.ReplaceAll(recipe(t, k.page, "# stormcheck "+command), ";\n     ", "; ")
		_, output, _ := strings.Cut(text, "\n")
		return strings.ReplaceAll(output, "/var/lib/stormcheck", k.dir)
	}
	conf := func(text string) {
		t.Helper()
		k.write("stormcheck.conf", text)
		if err := os.Chmod(k.dir+"/stormcheck.conf", 0o600); err != nil {
			t.Fatal(err)
		}
	}
	same := func(got, want string, masks ...string) {
		t.Helper()
		got = strings.ReplaceAll(got, "\r", "")
		for i := 0; i < len(masks); i += 2 {
			got = regexp.MustCompile(masks[i]).ReplaceAllString(got, masks[i+1])
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("prints\n%s\nand the page shows\n%s", got, want)
		}
	}

	conf("KILL=yes\nTO=\nPROCSTAT=\"--min 100000\"\nALERTMAIL=\"--log " + k.dir + "/state/done.csv\"\n")
	if out, err := k.run("stormcheck", ""); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	k.write("state/done.csv", strings.Join(rows.Header(rows.AllColumns), ",")+"\n2000-04-25T05:17:02Z,moscow,groucho,1001,imapd,404,0,57,,*/imapd|imap,log=20 alert=60 archive=60 kill=100,"+k.dir+"/archive/groucho.956639822,404,0,,,,,\n")
	if err := os.Chmod(k.dir+"/state/done.csv", 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := k.run("stormcheck --status", "")
	same(out, sample("--status"), `last run ..:..:..: took \d+`, "last run 00:17:02: took 1", `\d+ s ago`, "3 s ago", "Apr 25 00:17:02", "00:17:02", `: \d of 1,440`, ": 1,440 of 1,440")

	const uid, name = 54327, "pagestorm"
	storm := exec.Command("crowd", strconv.Itoa(uid), name, "30", "60")
	ready, err := storm.StdoutPipe()
	if err == nil {
		err = storm.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = storm.Wait() }()
	for lines := bufio.NewScanner(ready); lines.Scan(); { // until all are there
	}
	mailbox := k.dir + "/" + strconv.Itoa(uid)
	if err := errors.Join(os.WriteFile(mailbox, []byte("From x\n"), 0o600), os.Chown(mailbox, uid, uid)); err != nil {
		t.Fatal(err)
	}
	conf("ALERTMAIL=\"--sendmail " + k.dir + "/bin/sendmail\"\nMAILARCHIVE=\"--dir " + k.dir + "/archive --mailbox " + k.dir + "/{user}\"\n")
	out, _ = k.run("script -qec 'stormcheck --end "+strconv.Itoa(uid)+"/"+name+"' /dev/null", "y\n")
	shown := regexp.MustCompile(`(?m)(^|\[y/N\] )y\r?\n`) // the answer: the terminal shows it as soon as it comes
	out = shown.ReplaceAllString(out, "$1")
	same(strings.Replace(out, "[y/N] ", "[y/N] y\n", 1), sample("--end"), `since ... .. ..:..:..`, "since Apr 25 00:14:21", strconv.Itoa(uid), "groucho", name, "imapd", `\b30\b`, "404", `\.\d+\n`, ".956639822\n")
}
