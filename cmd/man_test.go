package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/killstorm"
	"stormcheck/pkg/mailarchive"
	"stormcheck/pkg/procstat"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/stormcheck"
	"stormcheck/pkg/stormplot"
	"stormcheck/pkg/threshold"
)

// tools are all tools: the five filters in the order of the pipe, what draws their
// logs, and what runs them.
var tools = []func() *cli.App{procstat.App, threshold.App, mailarchive.App, killstorm.App, alertmail.App, stormplot.App, stormcheck.App}

// A command is the subject of a page of section 8.
type command struct {
	name, usage, synopsis string
	flags                 []string // as they are written, "-n"
}

// commands returns all tools.
func commands() []command {
	var all []command
	for _, tool := range tools {
		app := tool()
		c := command{name: app.Name, usage: app.Usage, synopsis: app.UsageText}
		for _, f := range app.Flags {
			for _, name := range f.Names() {
				c.flags = append(c.flags, "--"[:min(2, len(name))]+name)
			}
		}
		all = append(all, c)
	}
	return all
}

// manPage returns the source of a page. Its hyphens are plain: whether one is \-
// is for the eye.
func manPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../man/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `\-`, "-")
}

// submatches returns the first group of all matches.
func submatches(pattern, text string) (found []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// documentedFlags returns the flags that a page has as items of a list:
// ".It Fl n , Fl Fl dry-run".
func documentedFlags(page string) (flags []string) {
	for _, item := range submatches(`(?m)^\.It (Fl .*)$`, page) {
		for _, name := range strings.Split(item, " , ") {
			flag, _, _ := strings.Cut(strings.ReplaceAll(name, "Fl ", "-"), " ")
			flags = append(flags, flag)
		}
	}
	return flags
}

func TestManFlags(t *testing.T) {
	for _, c := range commands() {
		documented := documentedFlags(manPage(t, c.name+".8"))
		slices.Sort(documented)
		slices.Sort(c.flags)
		if !slices.Equal(documented, c.flags) {
			t.Errorf("%s.8 documents %q; %s takes %q", c.name, documented, c.name, c.flags)
		}
	}
}

func TestManDescribes(t *testing.T) {
	for _, c := range commands() {
		page := manPage(t, c.name+".8")
		if got := submatches(`(?m)^\.Nd (.*)$`, page); !slices.Equal(got, []string{c.usage}) {
			t.Errorf("%s.8 has .Nd %q; want %q", c.name, got, c.usage)
		}
		section := strings.Join(submatches(`(?s)\n\.Sh EXIT STATUS\n(.*?)\n\.Sh `, page), "")
		if got, want := submatches(`(?m)^\.It (.*)$`, section), []string{"0", "1", "2"}; !slices.Equal(got, want) {
			t.Errorf("%s.8 has EXIT STATUS %q; want %q", c.name, got, want)
		}
	}
}

// mandoc returns what mandoc(1) prints of a page, or its complaints.
func mandoc(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc isn't installed: pages can't be rendered or checked")
	}
	text, err := exec.Command(path, args...).CombinedOutput()
	if err != nil && len(text) == 0 {
		t.Fatal(err)
	}
	return string(text)
}

func TestManSynopsis(t *testing.T) {
	bold := regexp.MustCompile(".\b") // and underlined, as on a typewriter
	for _, c := range commands() {
		text := bold.ReplaceAllString(mandoc(t, "-Tascii", "../man/"+c.name+".8"), "")
		section := strings.Join(submatches(`(?s)\nSYNOPSIS\n(.*?)\nDESCRIPTION\n`, text), "")
		if got, want := strings.Fields(section), strings.Fields(c.synopsis); !slices.Equal(got, want) {
			t.Errorf("%s.8 has SYNOPSIS\n%q; want\n%q", c.name, got, want)
		}
	}
}

func TestManLint(t *testing.T) {
	pages, err := filepath.Glob("../man/*")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	if complaints := mandoc(t, append([]string{"-Tlint", "-Wwarning"}, pages...)...); complaints != "" {
		t.Error(complaints)
	}
}

// What is shown as it has to be typed is rendered so. In mdoc(7) a bracket or an
// exclamation mark between blanks would be a delimiter, and lose a blank; and newer groffs
// make quotes and hyphens of a page typographic unless they are escaped.
func TestManLinesAreRenderedAsWritten(t *testing.T) {
	pages, _ := filepath.Glob("../man/*")
	for _, path := range pages {
		text := regexp.MustCompile(".\b").ReplaceAllString(mandoc(t, "-Tutf8", "-Owidth=200", path), "")
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range append(submatches(`(?s)\n\.Bd -literal[^\n]*\n(.*?)\n\.Ed`, string(source)), submatches(`(?m)^\.Dl (.*)$`, string(source))...) {
			for _, bare := range regexp.MustCompile("(?m)^.*(?:^|[^\\\\])['`^~-].*$").FindAllString(shown, -1) {
				t.Errorf("%s: not escaped, as \\(aq, \\(ga, \\(ha, \\(ti or \\-: %s", path, bare)
			}
		}
		for _, line := range submatches(`(?m)^\.Dl (.*)$`, manPage(t, filepath.Base(path))) {
			line = strings.NewReplacer(`\e`, `\`, `\&`, "", `\(aq`, "'", `\(dq`, `"`, `\(ti`, "~", `\(ha`, "^").Replace(line)
			if !strings.Contains(text, line+"\n") {
				t.Errorf("%s doesn't show the line %s", path, line)
			}
		}
	}
}

func TestManColumns(t *testing.T) {
	got := submatches(`(?m)^\.It Cm (.*)$`, manPage(t, "storm.csv.5"))
	if want := rows.Header(rows.AllColumns); !slices.Equal(got, want) {
		t.Errorf("storm.csv.5 documents %q; want %q", got, want)
	}
}

// What a page refers to is there: a section of its own, or another page of ours.
func TestManReferences(t *testing.T) {
	pages, _ := filepath.Glob("../man/*")
	for _, path := range pages {
		page := manPage(t, filepath.Base(path))
		for _, name := range submatches(`(?m)^\.Sx (.*?)(?: [.,;:)]+)?$`, page) {
			if found, _ := regexp.MatchString(`(?m)^\.S[sh] (\\&)?`+regexp.QuoteMeta(name)+`$`, page); !found {
				t.Errorf("%s refers to its section %q, which it hasn't", path, name)
			}
		}
		for _, name := range submatches(`(?m)^\.Xr (\S+ [1-8])`, page) {
			name = strings.Replace(name, " ", ".", 1)
			tool := func(c command) bool { return strings.HasPrefix(name, c.name) }
			if _, err := os.Stat("../man/" + name); err != nil && (strings.HasPrefix(name, "storm") || slices.ContainsFunc(commands(), tool)) {
				t.Errorf("%s refers to %s, which is no page", path, name)
			}
		}
	}
}

// The settings and their defaults stand in three places: the program, the file that
// is installed, all of it commented, and the page.
func TestManSettings(t *testing.T) {
	conf, err := os.ReadFile("stormcheck/stormcheck.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := stormcheck.Defaults()
	for place, got := range map[string][]string{
		"stormcheck.conf":   submatches(`(?m)^#([A-Z]+=.*)$`, string(conf)),
		"stormcheck.conf.5": submatches(`(?m)^\.It Va (.*)$`, manPage(t, "stormcheck.conf.5")),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s has %q; stormcheck has %q", place, got, want)
		}
	}
}
