package cmd_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestLayers checks which packages import which: a tool never imports another tool, a
// shared package only what is listed here, and each library of others belongs to the one
// package that knows its traps.
func TestLayers(t *testing.T) {
	shared := map[string][]string{
		"rows": nil, "trusted": nil, "proc": nil, "mailbox": nil, "syslog": nil,
		"child":   {"proc"}, // children are started at normal priority
		"table":   {"trusted", "rows"},
		"logs":    {"child", "rows"},
		"state":   {"trusted"},
		"metrics": {"trusted"},
		"account": {"child", "proc"},
		"filter":  {"rows", "trusted"},
		"titles":  {"account", "rows", "table", "trusted"},
		"pause":   {"trusted", "table", "rows"},
		"thaw":    {"proc", "trusted"},
	}
	only := map[string][]string{
		"github.com/gocarina/gocsv":  {"rows"},
		"github.com/mitchellh/go-ps": {"proc"},
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go in PATH")
	}
	for _, system := range []string{"linux", "freebsd"} {
		cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "stormcheck/pkg/...", "stormcheck/cmd/...")
		cmd.Env = append(cmd.Environ(), "GOOS="+system)
		text, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			name, isCommand := path.Base(words[0]), strings.HasPrefix(words[0], "stormcheck/cmd/")
			for _, imported := range words[1:] {
				who, own := strings.CutPrefix(imported, "stormcheck/pkg/")
				allowed, isShared := shared[name]
				_, importsShared := shared[who]
				switch {
				case !own:
					if importers, bound := only[imported]; bound && !slices.Contains(importers, name) {
						t.Errorf("%s imports %s", words[0], imported)
					}
				case isCommand && (who == "filter" || who == name || who == "first"): // first knows no other
				case !isCommand && isShared && slices.Contains(allowed, who):
				case !isCommand && !isShared && importsShared:
				default:
					t.Errorf("%s imports %s", words[0], imported)
				}
			}
		}
	}
}

// TestStateAndMetricsAreSmall checks that what keeps state links no library for
// command lines.
func TestStateAndMetricsAreSmall(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go in PATH")
	}
	text, err := exec.Command("go", "list", "-deps", "stormcheck/pkg/state", "stormcheck/pkg/metrics").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.Lines(string(text)) {
		if strings.HasPrefix(name, "github.com/urfave/cli") || strings.HasPrefix(name, "stormcheck/pkg/filter") {
			t.Errorf("state and metrics link %s", name)
		}
	}
}
