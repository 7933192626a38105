package stormcheck

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// changed returns the settings of a text that aren't at their default.
func changed(s Settings) map[string]string {
	values := maps.Clone(s.values)
	maps.DeleteFunc(values, func(name, value string) bool { return defaultSettings().values[name] == value })
	return values
}

func TestSettingsAreAssignmentsOfTheShell(t *testing.T) {
	alertmail := defaultSettings().values["ALERTMAIL"]
	for text, want := range map[string]map[string]string{
		"":                                   {},
		"\n# TO=nobody\n  # x\n":             {},
		"TO=ops":                             {"TO": "ops"},
		"TO=ops\nTO=chico\n":                 {"TO": "chico"},
		"TO=":                                {"TO": ""},
		"TO=''":                              {"TO": ""},
		"KILL=yes # since May":               {"KILL": "yes"},
		"KILL=\"yes\"\t# since May":          {"KILL": "yes"},
		"TO=a#b":                             {"TO": "a#b"},
		"\ufeffTO=ops":                       {"TO": "ops"},
		"  TO=ops  ":                         {"TO": "ops"},
		`TO="a b" KILL='yes'`:                {"TO": "a b", "KILL": "yes"},
		`TO='$TO "x" \'`:                     {"TO": `$TO "x" \`},
		`TO="a\"b\\c\$d\e"`:                  {"TO": `a"b\c$d\e`},
		`TO="$TO ops"`:                       {"TO": "root ops"},
		`TO="${TO}s"`:                        {"TO": "roots"},
		`TO=$TO`:                             {},
		"TO=a\nTO=\"$TO $TO\"":               {"TO": "a a"},
		`ALERTMAIL="$ALERTMAIL --page-to x"`: {"ALERTMAIL": alertmail + " --page-to x"},
		"TO=\"a\nb\"\nKILL=yes":              {"TO": "a\nb", "KILL": "yes"},
		"TO=\"a \\\nb\"":                     {"TO": "a b"},
		`TO="a"b'c'`:                         {"TO": "abc"},
		`TO=a\ b`:                            {"TO": "a b"},
		`KILLSTORM="--protect a$ --max 5"`:   {"KILLSTORM": "--protect a$ --max 5"},
		"PATH=/opt/bin:$PATH":                {"PATH": "/opt/bin:" + defaultPath()},
		"FILTERS=\"a 1 2 | b\"":              {"FILTERS": "a 1 2 | b"},
	} {
		s := parseSettings("conf", text)
		if got := changed(s); !maps.Equal(got, want) || len(s.Faults) > 0 {
			t.Errorf("%q: %q, %v; want %q", text, got, s.Faults, want)
		}
	}
}

func TestFaultNamesItsLineAndTheCure(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"KILL=Yes":                      "conf:1: KILL=Yes: yes or no, in small letters",
		"KILL=on":                       "conf:1: KILL=on: yes or no, in small letters",
		"KILL=":                         "conf:1: KILL=: yes or no, in small letters",
		"\nKIL=yes":                     "conf:2: KIL is no setting: write KILL",
		"kill=yes":                      "conf:1: kill is no setting: write KILL",
		"MAILTO=ops":                    "conf:1: MAILTO is no setting: write its value where it is used",
		"KILL = yes":                    "conf:1: blank before =: write KILL=yes",
		"KILL= yes":                     "conf:1: blank after =: write KILL=yes",
		"TO=root ops@example.org":       `conf:1: a value with blanks needs quotes: write TO="root ops@example.org"`,
		"TO=ops\r\n":                    `conf:1: the line ends in a carriage return: remove them all with sed -i 's/\r$//' conf`,
		"TO=\"a b\"\r\nKILL=yes\r\n":    `conf:1: the line ends in a carriage return: remove them all with sed -i 's/\r$//' conf`,
		"\r\nKILL=yes":                  `conf:1: the line ends in a carriage return: remove them all with sed -i 's/\r$//' conf`,
		"KILL=\"yes\nTO=a\n":            `conf:1: KILL: a quote is not closed: write the second "`,
		"TO='a\n":                       `conf:1: TO: a quote is not closed: write the second '`,
		"TO=\"root@$(hostname)\"":       "conf:1: $(hostname): commands are not run: write " + host + " in its place",
		"TO=$(cat /etc/to)":             "conf:1: $(cat /etc/to): commands are not run: write what the command prints",
		"TO=`hostname`":                 "conf:1: backquotes: commands are not run: write what the command prints",
		"TO=\"$ADMIN\"":                 "conf:1: $ADMIN is no setting: write its value in its place",
		"TO=${TO:-root}":                "conf:1: ${: only ${NAME} is replaced",
		"TO=$1":                         `conf:1: $1 is nothing here: write \$ for a dollar sign`,
		"export TO=ops":                 "conf:1: export is a command: write TO=ops",
		"if [ -e /x ]; then":            `conf:1: "if [ -e /x ]; then" is a command, and none is run: write the settings that it would make as NAME=value`,
		". /etc/default/stormcheck":     `conf:1: ". /etc/default/stormcheck" is a command, and none is run: write the settings that it would make as NAME=value`,
		"KILL=yes; TO=ops":              `conf:1: ';' has a meaning to a shell: put the value in quotes, and each setting on a line of its own`,
		"FILTERS=a|b":                   `conf:1: '|' has a meaning to a shell: put the value in quotes, and each setting on a line of its own`,
		"MAILARCHIVE=~/x":               "conf:1: ~ is not replaced: write the directory",
		"TO=a\x00b":                     `conf:1: control character '\x00'`,
		"FILTERS=\"killstorm --max 5\"": "conf:1: FILTERS: names only: to give a filter arguments separate the filters by |",
		"FILTERS=\"killstorm |\"":       "conf:1: FILTERS: nothing stands on one side of a |",
	} {
		s := parseSettings("conf", text)
		var got []string
		for _, fault := range s.Faults {
			got = append(got, fault.Error())
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%q: %q; want %q", text, got, want)
		}
		if s.kill() {
			t.Errorf("%q: kills", text)
		}
	}
}

// A conf that a shell would execute is not in force where it would, and says what to
// write instead.
func TestOldConfIsNotDisarmedInSilence(t *testing.T) {
	const text = `ADMIN=ops@example.org
export PAGER=oncall@example.org
TO="$ADMIN"
if [ "$(hostname)" = mail2 ]; then
	KILL=yes
fi
ALERTMAIL="$ALERTMAIL --from storm@$(hostname -f)"
THRESHOLD='--limits /etc/stormcheck/mail.csv'
`
	s := parseSettings("conf", text)
	lines := []int{}
	for _, fault := range s.Faults {
		lines = append(lines, fault.Line)
	}
	if want := []int{1, 2, 3, 4, 6, 7}; !slices.Equal(lines, want) {
		t.Errorf("faults in lines %v; want %v: %v", lines, want, s.Faults)
	}
	want := map[string]string{"KILL": "yes", "THRESHOLD": "--limits /etc/stormcheck/mail.csv"}
	if got := changed(s); !maps.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if s.kill() {
		t.Error("with faults it kills")
	}
}

func TestFaultyAssignmentLeavesTheOneBefore(t *testing.T) {
	s := parseSettings("conf", "KILL=yes\nTO=a\nKILL=No\nTO=b c\nTO=\"$X\n d\"\nMAILARCHIVE=--keep=3\n")
	want := map[string]string{"KILL": "yes", "TO": "a", "MAILARCHIVE": "--keep=3"}
	if got := changed(s); !maps.Equal(got, want) || len(s.Faults) != 3 {
		t.Errorf("%q, %v; want %q and three faults", got, s.Faults, want)
	}
}

func TestStagesGetTheirFlags(t *testing.T) {
	show := func(text string, m mode) string {
		var lines []string
		for _, s := range parseSettings("conf", text).stages(m) {
			lines = append(lines, strings.Join(append([]string{s.name}, s.args...), " "))
		}
		return strings.Join(lines, "; ")
	}
	const quiet = "THRESHOLD=\nKILLSTORM=\nALERTMAIL=\nTO=\n"
	for _, test := range []struct {
		text string
		mode mode
		want string
	}{
		{quiet, mode{}, "procstat; threshold; mailarchive; killstorm -n; alertmail"},
		{quiet + "KILL=yes", mode{}, "procstat; threshold; mailarchive; killstorm; alertmail"},
		{quiet + "KILL=yes\nKIL=no", mode{}, "procstat; threshold; mailarchive; killstorm -n; alertmail"},
		{quiet + "KILL=yes", mode{dry: true}, "procstat; threshold -n; mailarchive -n; killstorm -n; alertmail -n"},
		{quiet + "KILL=yes", mode{every: "5s"}, "procstat --every 5s; threshold; mailarchive; killstorm; alertmail --each"},
		{quiet + "TO=\"a b\"", mode{}, "procstat; threshold; mailarchive; killstorm -n; alertmail --to a --to b"},
		{quiet + "KILLSTORM=-n\nTHRESHOLD=--dry-run", mode{dry: true}, "procstat; threshold --dry-run; mailarchive -n; killstorm -n; alertmail -n"},
		{quiet + "FILTERS=\"./own\"", mode{}, "procstat; threshold; ./own; alertmail"},
		{quiet + "FILTERS=\"./own\"", mode{dry: true}, "procstat; threshold -n; ./own -n; alertmail -n"},
		{quiet + "FILTERS=\"own 9 17 | killstorm --max 5\"\nKILLSTORM=--grace=1s", mode{dry: true},
			"procstat; threshold -n; own 9 17 -n; killstorm --grace=1s --max 5 -n; alertmail -n"},
		// By its path it is killstorm all the same.
		{quiet + "FILTERS=/opt/bin/killstorm", mode{}, "procstat; threshold; /opt/bin/killstorm -n; alertmail"},
	} {
		if got := show(test.text, test.mode); got != test.want {
			t.Errorf("%q %+v: %s; want %s", test.text, test.mode, got, test.want)
		}
	}
}

func TestDroppedFlagOfADefault(t *testing.T) {
	for text, want := range map[string]int{
		"":                              0,
		"ALERTMAIL=\"--context /x\"":    2,
		"ALERTMAIL=\"$ALERTMAIL -x\"":   0,
		"ALERTMAIL=\"--state=/x -y\"":   1,
		"ALERTMAIL=-n\nTHRESHOLD=-n":    0,
		"THRESHOLD=\"--limits /x.csv\"": 1,
	} {
		if got := parseSettings("conf", text).dropped(); len(got) != want {
			t.Errorf("%q: %q; want %d", text, got, want)
		}
	}
}

// No text crashes or hangs the parser, and each is either in force or a fault.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"TO=a\nKILL=\"yes\"", "TO=\"$TO${TO}\\\"\n'\"'a'#", "A=$(x(y)) `z`", "KILL = yes\r\n", "TO=\\"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := parseSettings("conf", text)
		lines := strings.Count(text, "\n") + 1
		for _, fault := range s.Faults {
			if fault.Line < 1 || fault.Line > lines {
				t.Errorf("%q: fault in line %d of %d", text, fault.Line, lines)
			}
		}
		for name, value := range changed(s) {
			if !strings.Contains(text, name+"=") {
				t.Errorf("%q sets %s=%q", text, name, value)
			}
		}
		if kill := s.values["KILL"]; kill != "yes" && kill != "no" {
			t.Errorf("%q: KILL=%q", text, kill)
		}
		_ = fmt.Sprint(s.stages(mode{}))
	})
}

// TestNews: what the package's NEWS calls unfit is a fault, and what it says to write
// instead is none.
func TestNews(t *testing.T) {
	text, err := os.ReadFile("../../cmd/stormcheck/package/NEWS")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for line := range strings.Lines(string(text)) {
		row, isRow := strings.CutPrefix(line, "      ")
		if !isRow {
			continue
		}
		before, after, _ := strings.Cut(strings.Replace(row, " write ", "", 1), "  ")
		after, _, _ = strings.Cut(strings.TrimSpace(after), ",")
		for _, old := range strings.Split(before, ", ") {
			old = strings.ReplaceAll(strings.Replace(old, "...", "true; then", 1), " and later ", "\n")
			if len(parseSettings("conf", old+"\n").Faults) == 0 {
				t.Errorf("%q has no fault", old)
			}
			tried++
		}
		if faults := parseSettings("conf", after+"\n").Faults; len(faults) > 0 {
			t.Errorf("%q: %v", after, faults)
		}
	}
	if tried < 6 {
		t.Errorf("%d lines tried", tried)
	}
}
