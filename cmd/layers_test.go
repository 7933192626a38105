package cmd_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestLayers holds the packages to who may import whom: a tool never another tool,
// the shared packages only what is listed here, and each library of others one
// package that knows its traps.
func TestLayers(t *testing.T) {
	shared := map[string][]string{
		"rows": nil, "proc": nil, "mailbox": nil, "glob": nil,
		"account": {"proc"}, // getent is started at normal priority
		"filter":  {"rows"},
		"state":   {"filter"},
		"pause":   {"filter", "rows", "state"},
		"titles":  {"account", "filter", "glob"},
		"metrics": {"filter", "state"},
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
				case isCommand && (who == "filter" || who == name):
				case !isCommand && isShared && slices.Contains(allowed, who):
				case !isCommand && !isShared && importsShared:
				default:
					t.Errorf("%s imports %s", words[0], imported)
				}
			}
		}
	}
}
