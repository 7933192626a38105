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
		found[i] = strings.NewReplacer(`\e`, `\`, `\&`, "", `\ `, " ").Replace(found[i])
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

// The tables that storm.limits(5) shows are good ones. Their accounts may be unknown.
func TestWorkedTables(t *testing.T) {
	shown := 0
	for _, display := range displays(t, "storm.limits.5") {
		if !strings.Contains(display, "user,proc,") {
			continue
		}
		shown++
		file := filepath.Join(t.TempDir(), "limits.csv")
		if err := os.WriteFile(file, []byte(display+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		app := threshold.App()
		app.ErrWriter = &said
		status := filter.Status(app, []string{"threshold", "--check", "--limits", file})
		for line := range strings.Lines(said.String()) {
			if status != 0 || !strings.Contains(line, "user: no account") {
				t.Errorf("%s\n%s", display, line)
			}
		}
	}
	if shown != 5 {
		t.Errorf("%d tables; want 5", shown)
	}
}

// A week's log becomes peaks, and these a table that lets them pass.
func TestPeaksRecipe(t *testing.T) {
	dir := t.TempDir()
	log := strings.Join(rows.Header(rows.AllColumns), ",") + `
2000-04-25T05:17:02Z,moscow,groucho,1004,imapd,20,0,0,,*/imapd,log=20,,,,,
2000-04-25T05:18:02Z,moscow,groucho,1004,imapd,44,0,0,,*/imapd,log=20,,,,,
2000-04-25T05:19:02Z,moscow,groucho,1004,imapd,31,0,0,,*/imapd,log=20,,,,,
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
	run(strings.ReplaceAll(recipe(t, "threshold.8", "peak[name] = $6"), "/var/lib/stormcheck/", ""))
	peaks, err := os.ReadFile(dir + "/peaks.csv")
	if want := "100,harpo,a\\x2c*[b|\\\\\n44,groucho,imapd\n21,harpo,imapd\n"; string(peaks) != want {
		t.Errorf("peaks %q, %v; want %q", peaks, err, want)
	}
	limits := run(recipe(t, "threshold.8", "limit = int("))
	want := `user,proc,log,alert,archive,page,kill
harpo,a\\x2c\*\[b\|\\\\,100,150,,,
groucho,imapd,44,70,,,
harpo,imapd,21,40,,,
`
	if _, faults := threshold.ParseTable("limits", limits); limits != want || len(faults) > 0 {
		t.Errorf("limits\n%s%v\nwant\n%s", limits, faults, want)
	}
}
