package stormcheck

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A setting is one name that stormcheck.conf may set.
type setting struct{ name, byDefault string }

// settingNames returns all settings with their defaults, in the order of the page.
// PATH, which is accepted too, isn't among them.
func settingNames(state string) []setting {
	return []setting{
		{"TO", "root"},
		{"KILL", "no"},
		{"FILTERS", "mailarchive killstorm"},
		{"PROCSTAT", ""},
		{"THRESHOLD", "--log " + state + "/log.csv"},
		{"MAILARCHIVE", ""},
		{"KILLSTORM", "--evidence " + state + "/evidence"},
		{"ALERTMAIL", "--state " + state + "/alertmail.csv --log " + state + "/done.csv"},
	}
}

// Defaults returns the settings as lines of stormcheck.conf, each at its default.
func Defaults() (lines []string) {
	for _, s := range settingNames(StateDir) {
		switch {
		case s.byDefault == "":
			lines = append(lines, s.name+"=")
		case strings.Contains(s.byDefault, " ") || s.name == "TO":
			lines = append(lines, s.name+`="`+s.byDefault+`"`)
		default:
			lines = append(lines, s.name+"="+s.byDefault)
		}
	}
	return lines
}

// Settings are the values in force.
type Settings struct {
	values map[string]string
	Faults []Fault // what is wrong with the file, in its order; such an assignment isn't in force
}

// A Fault is what is wrong with a line of a file.
type Fault struct {
	Path string
	Line int // from 1; 0 is the file as a whole
	What string
}

func (f Fault) Error() string {
	if f.Line == 0 {
		return f.What
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.What)
}

// defaultSettings returns the settings without a file.
func defaultSettings() Settings {
	values := map[string]string{"PATH": defaultPath()}
	for _, s := range settingNames(StateDir) {
		values[s.name] = s.byDefault
	}
	return Settings{values: values}
}

// defaultPath is where stages are looked for.
func defaultPath() string {
	dirs := []string{BinDir}
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if dir != BinDir {
			dirs = append(dirs, dir)
		}
	}
	return strings.Join(dirs, ":")
}

// words splits the value of a setting at blanks and line ends.
func (s Settings) words(name string) []string { return strings.Fields(s.values[name]) }

// kill reports whether killstorm may end anything: with a fault in the file it may not.
func (s Settings) kill() bool { return s.values["KILL"] == "yes" && len(s.Faults) == 0 }

// dropped returns what the settings lose of their defaults: a flag that keeps state
// or a log isn't among the value's any more.
func (s Settings) dropped() (warnings []string) {
	for _, d := range settingNames(StateDir) {
		words := s.words(d.name)
		for _, flag := range strings.Fields(d.byDefault) {
			if !strings.HasPrefix(flag, "--") || slices.ContainsFunc(words, func(word string) bool {
				return word == flag || strings.HasPrefix(word, flag+"=") || word == "-n" || word == "--dry-run"
			}) {
				continue
			}
			warnings = append(warnings, fmt.Sprintf("%s is without the default's %s: to add a flag write %s=\"$%s FLAG\"", d.name, flag, d.name, d.name))
		}
	}
	return warnings
}

// parseSettings reads the text of a settings file, called path in its faults. A faulty
// assignment has no effect: the one before it holds.
func parseSettings(path, text string) Settings {
	p := parser{path: path, text: strings.TrimPrefix(text, "\ufeff"), line: 1, settings: defaultSettings()}
	p.file()
	return p.settings
}

// A parser reads assignments of the shell's language, and nothing else of it.
type parser struct {
	path     string
	text     string
	at       int // bytes read
	line     int // of the next byte, from 1
	settings Settings
	returns  bool // a carriage return was reported
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// next returns the next byte and takes it.
func (p *parser) next() byte {
	c := p.peek()
	if p.at++; c == '\n' {
		p.line++
	}
	return c
}

func (p *parser) ended() bool { return p.at >= len(p.text) }

// skip takes bytes while they are in set.
func (p *parser) skip(set string) {
	for !p.ended() && strings.IndexByte(set, p.peek()) >= 0 {
		p.next()
	}
}

// restOfLine takes what is left of the line, without its end.
func (p *parser) restOfLine() string {
	rest, _, _ := strings.Cut(p.text[p.at:], "\n")
	p.at += len(rest)
	return rest
}

func (p *parser) fault(line int, format string, args ...any) {
	p.settings.Faults = append(p.settings.Faults, Fault{p.path, line, fmt.Sprintf(format, args...)})
}

// file reads all lines.
func (p *parser) file() {
	for {
		p.skip(" \t\n")
		switch {
		case p.ended():
			return
		case p.peek() == '#':
			p.restOfLine()
		default:
			p.statement()
		}
	}
}

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	digits  = "0123456789"
)

// statement reads one assignment, or reports that what is there is none.
func (p *parser) statement() {
	line, start := p.line, p.at
	p.skip(letters + digits)
	name := p.text[start:p.at]
	if p.peek() != '=' || name == "" || strings.IndexByte(digits, name[0]) >= 0 {
		p.at = start
		p.noAssignment(line, p.restOfLine())
		return
	}
	p.next()
	afterName := p.at
	v := p.value()
	if v.open {
		p.fault(line, "%s: a quote is not closed: write the second %c", name, v.quote)
		p.at, p.line = afterName, line
		p.restOfLine()
		return
	}
	if v.what == "" {
		v.what = p.after(name, v)
	}
	if v.what == "" {
		v.what = unfit(name, v.text)
	}
	if v.what != "" {
		if p.restOfLine(); v.what != repeatedReturn {
			p.fault(line, "%s", v.what)
		}
		return
	}
	p.settings.values[name] = v.text
}

// A value is what follows the = of an assignment.
type value struct {
	text  string
	what  string // the first fault in it, or ""
	open  bool   // the input ended within a quote
	quote byte   // the last quote
}

// value reads to the end of the value. After a fault it goes on, so that the next
// line is found.
func (p *parser) value() (v value) {
	var text strings.Builder
	fault := func(what string) {
		if v.what == "" {
			v.what = what
		}
	}
	for first := true; ; first = false {
		switch c := p.peek(); {
		case p.ended() || c == ' ' || c == '\t' || c == '\n' || c == '\r' && p.returnsHere():
			v.text = text.String()
			return v
		case c == '\'' || c == '"':
			p.next()
			v.quote = c
			for p.peek() != c {
				if p.ended() {
					v.open = true
					return v
				}
				p.character(c, &text, fault)
			}
			p.next()
		case strings.IndexByte(";&|<>()", c) >= 0:
			p.next()
			fault(fmt.Sprintf("%q has a meaning to a shell: put the value in quotes, and each setting on a line of its own", c))
		case first && c == '~':
			p.next()
			fault("~ is not replaced: write the directory")
		default:
			p.character(0, &text, fault)
		}
	}
}

// returnsHere reports whether the carriage return that is next ends a line.
func (p *parser) returnsHere() bool { return p.at+1 == len(p.text) || p.text[p.at+1] == '\n' }

// character reads one character of a value within the quote, 0 for none.
func (p *parser) character(quote byte, text *strings.Builder, fault func(string)) {
	c := p.next()
	switch {
	case c == '\r' && (p.ended() || p.peek() == '\n'):
		fault(p.carriageReturn())
	case c < ' ' && c != '\t' && c != '\n' || c == 0x7f:
		fault(fmt.Sprintf("control character %q", c))
	case quote == '\'':
		text.WriteByte(c)
	case c == '\\':
		p.escaped(quote, text)
	case c == '`':
		fault("backquotes: commands are not run: write what the command prints")
	case c == '$':
		p.variable(text, fault)
	default:
		text.WriteByte(c)
	}
}

// escaped reads what follows a backslash. Within double quotes a backslash stays
// before all but the characters that have a meaning there.
func (p *parser) escaped(quote byte, text *strings.Builder) {
	if p.ended() {
		text.WriteByte('\\')
		return
	}
	c := p.next()
	switch {
	case c == '\n': // the line goes on
	case quote == 0 || strings.IndexByte("\"$\\`", c) >= 0:
		text.WriteByte(c)
	default:
		text.WriteByte('\\')
		text.WriteByte(c)
	}
}

// variable reads what follows a dollar sign.
func (p *parser) variable(text *strings.Builder, fault func(string)) {
	c := p.peek()
	switch {
	case c == '(':
		command := p.parenthesized()
		fault(fmt.Sprintf("$%s: commands are not run: write %s", command, printedBy(command)))
		return
	case c == '{':
		inside, _, closed := strings.Cut(p.text[p.at+1:], "}")
		if !closed || strings.Trim(inside, letters+digits) != "" || inside == "" {
			fault("${: only ${NAME} is replaced")
			p.next()
			return
		}
		p.at += len(inside) + 2
		p.expand(inside, text, fault)
		return
	case c != 0 && strings.IndexByte(letters, c) >= 0:
		start := p.at
		p.skip(letters + digits)
		p.expand(p.text[start:p.at], text, fault)
		return
	case c != 0 && strings.IndexByte(digits+"$?!#*@-", c) >= 0:
		p.next()
		fault(fmt.Sprintf("$%c is nothing here: write \\$ for a dollar sign", c))
		return
	}
	text.WriteByte('$')
}

// parenthesized takes "(...)" on this line.
func (p *parser) parenthesized() string {
	line, _, _ := strings.Cut(p.text[p.at:], "\n")
	depth := 0
	for i := range len(line) {
		switch line[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			p.at += i + 1
			return line[:i+1]
		}
	}
	p.at++
	return "("
}

// printedBy says what to write in the place of a command.
func printedBy(command string) string {
	switch strings.Join(strings.Fields(strings.Trim(command, "()")), " ") {
	case "hostname", "hostname -s", "uname -n":
		if name, err := os.Hostname(); err == nil {
			return name + " in its place"
		}
	}
	return "what the command prints"
}

// expand writes the value so far of a setting.
func (p *parser) expand(name string, text *strings.Builder, fault func(string)) {
	value, known := p.settings.values[name]
	if !known {
		fault(fmt.Sprintf("$%s is no setting: write its value in its place", name))
		return
	}
	text.WriteString(value)
}

// repeatedReturn stands for a carriage return that has been reported before: a file
// that came from another system has one in each line.
const repeatedReturn = "\r"

func (p *parser) carriageReturn() string {
	if p.returns {
		return repeatedReturn
	}
	p.returns = true
	return `the line ends in a carriage return: remove them all with sed -i 's/\r$//' ` + p.path
}

// after looks at what follows a value on its line: nothing, a comment, or another
// assignment. It returns the fault of anything else.
func (p *parser) after(name string, v value) string {
	blank := p.at
	p.skip(" \t")
	rest, _, _ := strings.Cut(p.text[p.at:], "\n")
	switch {
	case rest == "\r":
		return p.carriageReturn()
	case rest == "" || rest[0] == '#' && p.at > blank || isAssignment(rest):
		return ""
	case v.text == "":
		return fmt.Sprintf("blank after =: write %s=%s", name, quoted(rest))
	}
	return fmt.Sprintf("a value with blanks needs quotes: write %s=%s", name, quoted(v.text+" "+rest))
}

// isAssignment reports whether text begins with NAME=.
func isAssignment(text string) bool {
	rest := strings.TrimLeft(text, letters+digits)
	return len(rest) < len(text) && strings.HasPrefix(rest, "=") && strings.IndexByte(digits, text[0]) < 0
}

// quoted returns a value as it has to be written in the file.
func quoted(text string) string {
	text, _, _ = strings.Cut(text, " #")
	if text = strings.TrimSpace(text); strings.ContainsAny(text, " \t") {
		return `"` + strings.NewReplacer(`"`, "", `'`, "").Replace(text) + `"`
	}
	return text
}

// noAssignment reports a line that is no assignment, with what to write instead.
func (p *parser) noAssignment(line int, text string) {
	rest := strings.TrimLeft(text, letters+digits)
	name, behind := text[:len(text)-len(rest)], strings.TrimLeft(rest, " \t")
	switch {
	case strings.TrimSpace(text) == "":
		if what := p.carriageReturn(); what != repeatedReturn {
			p.fault(line, "%s", what)
		}
	case strings.HasPrefix(behind, "=") && name != "":
		p.fault(line, "blank before =: write %s=%s", name, quoted(behind[1:]))
	case (name == "export" || name == "readonly") && isAssignment(behind):
		p.fault(line, "%s is a command: write %s", name, strings.TrimSpace(behind))
	case name == "set" || name == "setenv":
		p.fault(line, "%s is a command: write NAME=value", name)
	default:
		p.fault(line, "%q is a command, and none is run: write the settings that it would make as NAME=value", firstWords(text))
	}
}

// firstWords returns as much of a line as a message shows.
func firstWords(text string) string {
	const most = 40
	if text = strings.TrimSpace(text); len(text) > most {
		return text[:most] + "..."
	}
	return text
}

// unfit returns what is wrong with a value of that name, or "".
func unfit(name, text string) string {
	switch {
	case name == "PATH":
		return ""
	case name == "KILL" && text != "yes" && text != "no":
		return fmt.Sprintf("KILL=%s: yes or no, in small letters", text)
	}
	if name == "FILTERS" {
		return unfitFilters(text)
	}
	all := settingNames(StateDir)
	if slices.ContainsFunc(all, func(s setting) bool { return s.name == name }) {
		return ""
	}
	for _, s := range all {
		if isNear(strings.ToUpper(name), s.name) {
			return fmt.Sprintf("%s is no setting: write %s", name, s.name)
		}
	}
	return fmt.Sprintf("%s is no setting: write its value where it is used", name)
}

// isNear reports whether two names differ in at most one letter, or by two
// neighbours that have changed places.
func isNear(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i == len(a) || a[i+1:] == b[i+1:] ||
			i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	}
	return false
}
