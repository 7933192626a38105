package cmd_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

var triedPlots = []string{"for host in", "Content-Type"}

// The recipes of stormplot(8), and those for stormplot of stormcheck-recipes(7), are run as
// they stand there, but for the directory of the logs, on logs of which one is rotated and
// compressed.
func TestPlotRecipes(t *testing.T) {
	for _, tool := range []string{"sh", "zcat", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(dir+"/"+name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	row := func(ago time.Duration, user, count, killed string) string {
		return time.Now().Add(-ago).UTC().Format(time.RFC3339) + ",moscow," + user + ",,imapd," + count + ",,,,*/*,kill=100,," + killed + ",,,,,,\n"
	}
	header := strings.Join(rows.Header(rows.AllColumns), ",") + "\n"
	old := strings.Join(rows.Header(rows.AllColumns[:16]), ",") + "\n"
	write("log.csv", header+row(2*time.Hour, "groucho", "404", ""), 0o600)
	write("log.csv.1", strings.ReplaceAll(old+row(40*time.Hour, "harpo", "150", ""), ",,,\n", "\n"), 0o600)
	write("done.csv", header+row(2*time.Hour, "groucho", "404", "404"), 0o600)
	runs := "time,period,seconds,status,rows,killed\n"
	for minute := range 60 {
		runs += time.Now().Add(-time.Duration(minute)*time.Minute).UTC().Format(time.RFC3339) + ",60,0.2,0,0,0\n"
	}
	write("runs.csv", runs, 0o600)
	if out, err := exec.Command("gzip", dir+"/log.csv.1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// mail3 doesn't answer; sendmail keeps what it gets.
	if err := os.Mkdir(dir+"/bin", 0o700); err != nil {
		t.Fatal(err)
	}
	write("bin/ssh", "#!/bin/sh\n[ \"$1\" != mail3 ] || exit 255\nsh -c \"$2\" | sed s/,moscow,/,$1,/\n", 0o700)
	write("bin/sendmail", "#!/bin/sh\ncat\n", 0o700)
	run := func(text string) string {
		t.Helper()
		page := "stormplot.8"
		if slices.Contains(triedPlots, text) {
			page = "stormcheck-recipes.7"
		}
		script := strings.ReplaceAll(recipe(t, page, text), "/var/lib/stormcheck/", dir+"/")
		if crontab, is := strings.CutPrefix(script, "0 7 * * 1 root "); is {
			script = strings.Replace(crontab, "/usr/local/bin/", "", 1)
		}
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+"/bin:"+os.Getenv("PATH"), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	for text, wants := range map[string][]string{
		"--since 12h":    {"groucho imapd", " 404 ", "X killed", "runs", "? unknown"},
		"--heat":         {"Mon", "each hour's maximum; the highest is 404", "150 at "},
		triedPlots[0]:    {"groucho imapd mail1", "groucho imapd mail2"},
		triedPlots[1]:    {"Subject: storms of the week", "Content-Disposition: attachment", "\n\n<svg ", "harpo imapd: peak 150", "</svg>\n"},
		"0 7 * * 1 root": {"groucho imapd", "harpo   imapd", "k kill"},
	} {
		out := run(text)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", text, want, out)
			}
		}
	}
	if shown := len(displays(t, "stormplot.8")); shown != 4 {
		t.Errorf("%d displays; want a drawing, and three recipes that are tested here", shown)
	}
	night, err := os.ReadFile("../pkg/stormplot/testdata/night.ascii.txt")
	if shown := recipe(t, "stormplot.8", "a bar is") + "\n"; err != nil || shown != string(night) {
		t.Errorf("the page shows\n%s; stormplot draws (%v)\n%s", shown, err, night)
	}
}
