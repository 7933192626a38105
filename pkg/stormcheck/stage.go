package stormcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A stage is one program of the pipe, with what it takes to start it.
type stage struct {
	name string   // as FILTERS has it: it names the stage in messages
	tool string   // which filter of the suite it is, or "" for the administrator's own
	args []string // after the name
	path string   // PATH that it is looked up in
}

// A mode is how the pipe runs.
type mode struct {
	dry   bool          // touch nothing
	delay time.Duration // from the start of the process to the run
	every string        // a duration, if the pipe stands; "" from cron
}

// suite are the filters that have flags in the settings, and the setting's name.
var suite = map[string]string{
	"procstat": "PROCSTAT", "threshold": "THRESHOLD", "mailarchive": "MAILARCHIVE",
	"killstorm": "KILLSTORM", "alertmail": "ALERTMAIL",
}

// stages returns the pipe of the settings in its order. The first is procstat, the
// last alertmail.
func (s Settings) stages(m mode) []stage {
	all := []stage{s.stage("procstat", nil, m), s.stage("threshold", nil, m)}
	for _, words := range s.filters() {
		all = append(all, s.stage(words[0], words[1:], m))
	}
	return append(all, s.stage("alertmail", nil, m))
}

// filters returns the name and the arguments of each stage in FILTERS.
func (s Settings) filters() (filters [][]string) {
	text := s.values["FILTERS"]
	if !strings.Contains(text, "|") {
		for _, name := range strings.Fields(text) {
			filters = append(filters, []string{name})
		}
		return filters
	}
	for _, part := range strings.Split(text, "|") {
		if words := strings.Fields(part); len(words) > 0 {
			filters = append(filters, words)
		}
	}
	return filters
}

// unfitFilters returns what is wrong with a value of FILTERS, or "".
func unfitFilters(text string) string {
	if strings.TrimSpace(text) == "" {
		return ""
	}
	parts := strings.Split(text, "|")
	for _, part := range parts {
		words := strings.Fields(part)
		switch {
		case len(words) == 0:
			return "FILTERS: nothing stands on one side of a |"
		case len(parts) == 1 && slices.ContainsFunc(words, func(word string) bool { return strings.HasPrefix(word, "-") }):
			return "FILTERS: names only: to give a filter arguments separate the filters by |"
		}
	}
	return ""
}

// churnFlag makes procstat receive process events.
const churnFlag = "--churn"

// stage returns the stage of that name.
func (s Settings) stage(name string, args []string, m mode) stage {
	st := stage{name: name, path: s.values["PATH"]}
	tool := filepath.Base(name)
	flags, ours := suite[tool]
	if !ours {
		if st.args = slices.Clip(args); m.dry {
			st.args = append(st.args, "-n")
		}
		return st
	}
	st.tool = tool
	st.args = append(s.words(flags), args...)
	dry := m.dry
	switch tool {
	case "procstat":
		dry = false
		if m.every != "" {
			st.args = append(st.args, "--every", m.every)
		} else { // which it needs: a run from cron goes on without
			st.args = slices.DeleteFunc(st.args, func(arg string) bool { return arg == churnFlag })
		}
	case "killstorm":
		dry = dry || !s.kill()
	case "alertmail":
		for _, to := range s.words("TO") {
			st.args = append(st.args, "--to", to)
		}
		if m.every != "" {
			st.args = append(st.args, "--each")
		}
	}
	if dry && !st.has("-n") && !st.has("--dry-run") { // it is refused twice
		st.args = append(st.args, "-n")
	}
	return st
}

// has reports whether a flag is among the arguments.
func (s stage) has(flag string) bool {
	return slices.ContainsFunc(s.args, func(arg string) bool {
		return arg == flag || strings.HasPrefix(arg, flag+"=")
	})
}

// value returns what a flag is set to, or byDefault.
func (s stage) value(flag, byDefault string) string {
	for i, arg := range s.args {
		if after, is := strings.CutPrefix(arg, flag+"="); is {
			return after
		}
		if arg == flag && i+1 < len(s.args) {
			return s.args[i+1]
		}
	}
	return byDefault
}

// find returns the file to start.
func (s stage) find() (string, error) {
	if strings.Contains(s.name, "/") {
		return s.name, isProgram(s.name)
	}
	for _, dir := range filepath.SplitList(s.path) {
		if path := filepath.Join(dir, s.name); dir != "" && isProgram(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("not found in %s", s.path)
}

// environment returns this process's, with the PATH of the settings.
func (s stage) environment() []string {
	all := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	return append(all, "PATH="+s.path)
}

// isProgram returns why a file can't be started, as far as its mode says.
func isProgram(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("not a regular file")
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("not executable: chmod +x it")
	}
	return nil
}
