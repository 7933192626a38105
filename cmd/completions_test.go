//go:build linux

package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// An option is one flag as a completion knows it.
type option struct {
	names      []string // as they are written, the long one first
	value      string   // what its value is called, DIR; empty where it takes none
	usage      string
	repeatable bool
}

// isPath reports whether the value is the name of a file.
func (o option) isPath() bool { return slices.Contains([]string{"FILE", "DIR", "PATH"}, o.value) }

// options returns the flags of all commands.
func options() (names []string, all map[string][]option) {
	all = map[string][]option{}
	for _, tool := range tools {
		app := tool()
		names = append(names, app.Name)
		for _, f := range app.Flags {
			var o option
			for _, name := range f.Names() {
				o.names = append(o.names, "--"[:min(2, len(name))]+name)
			}
			o.usage = strings.SplitN(f.String(), "\t", 2)[1]
			if parts := strings.Split(f.(cli.DocGenerationFlag).GetUsage(), "`"); len(parts) == 3 {
				o.value = parts[1]
			}
			_, o.repeatable = f.(*cli.StringSliceFlag)
			all[app.Name] = append(all[app.Name], o)
		}
	}
	return names, all
}

// The completions are files, for a program that root runs isn't to be run on a TAB;
// this holds them against the flags. With -update it writes them.
func TestCompletions(t *testing.T) {
	names, all := options()
	for shell, render := range map[string]func([]string, map[string][]option) string{
		"bash": bashCompletions, "zsh": zshCompletions, "fish": fishCompletions,
	} {
		path, want := "stormcheck/completions."+shell, render(names, all)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s isn't made from the flags as they are (%v): go test ./cmd -run TestCompletions -update", path, err)
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		if text, err := exec.Command(shell, "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s -n %s: %v: %s", shell, path, err, text)
		}
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash to ask")
	}
	ask := `. stormcheck/completions.bash; COMP_WORDS=(procstat --to) COMP_CWORD=1; _stormcheck procstat --to procstat; echo "${COMPREPLY[@]}"`
	if text, err := exec.Command("bash", "-c", ask).CombinedOutput(); err != nil || string(text) != "--total\n" {
		t.Errorf("procstat --to is completed by bash to %q (%v)", text, err)
	}
}

const madeBy = "# Completions of stormcheck's commands, from their flags. Made by\n" +
	"#	go test ./cmd -run TestCompletions -update\n"

func bashCompletions(names []string, all map[string][]option) string {
	var b strings.Builder
	b.WriteString(madeBy + "# shellcheck shell=bash\n_stormcheck() {\n\tlocal flags=''\n\tcase ${1##*/} in\n")
	for _, name := range names {
		var flags []string
		for _, o := range all[name] {
			flags = append(flags, o.names...)
		}
		fmt.Fprintf(&b, "\t%s) flags='%s' ;;\n", name, strings.Join(flags, " "))
	}
	b.WriteString("\tesac\n\tCOMPREPLY=()\n\t[[ $2 != -* ]] || mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$2\")\n}\n")
	fmt.Fprintf(&b, "complete -o default -F _stormcheck %s\n", strings.Join(names, " "))
	return b.String()
}

func zshCompletions(names []string, all map[string][]option) string {
	escape := strings.NewReplacer(`[`, `\[`, `]`, `\]`, `'`, `'\''`)
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %s\n%scase $service in\n", strings.Join(names, " "), madeBy)
	for _, name := range names {
		fmt.Fprintf(&b, "%s)\n\t_arguments", name)
		for _, o := range all[name] {
			tail := "[" + escape.Replace(o.usage) + "]"
			switch {
			case o.isPath():
				tail += ":" + o.value + ":_files"
			case o.value != "":
				tail += ":" + o.value + ":"
			}
			for _, flag := range o.names {
				others := "(" + strings.Join(o.names, " ") + ")"
				if o.repeatable {
					others = "*"
				}
				fmt.Fprintf(&b, " \\\n\t\t'%s%s%s'", others, flag, tail)
			}
		}
		b.WriteString("\n\t;;\n")
	}
	b.WriteString("esac\n")
	return b.String()
}

func fishCompletions(names []string, all map[string][]option) string {
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	b.WriteString(madeBy)
	for _, name := range names {
		fmt.Fprintf(&b, "\ncomplete -c %s -f\n", name)
		for _, o := range all[name] {
			fmt.Fprintf(&b, "complete -c %s", name)
			for _, flag := range o.names {
				if long, is := strings.CutPrefix(flag, "--"); is {
					fmt.Fprintf(&b, " -l %s", long)
				} else {
					fmt.Fprintf(&b, " -s %s", flag[1:])
				}
			}
			switch {
			case o.isPath():
				b.WriteString(" -r -F")
			case o.value != "":
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d '%s'\n", escape.Replace(o.usage))
		}
	}
	return b.String()
}
