package logs

import (
	"bytes"
	"fmt"
	"path"
	"slices"

	"stormcheck/pkg/rows"
)

// Bounds of what is found.
const (
	mostExcerpt = 20  // lines about a subject in a log
	mostLeft    = 3   // that say that lines were left out: anybody can write such
	maxExcerpt  = 200 // bytes of a line
)

// A Subject is what lines are wanted about.
type Subject struct {
	User    string // "" wants none
	Program string // "" is any
}

// A wanted is what a log is searched for: lines about a user and a program.
type wanted struct {
	user     []byte
	programs [][]byte // none is any
	found    []string // the newest last
	left     []string // lines about lines that were left out, the newest last
}

// want returns what to look for about a subject.
func want(s Subject) *wanted {
	w := &wanted{user: []byte(s.User)}
	if s.Program == "" {
		return w
	}
	program := path.Base(s.Program)
	for _, name := range append([]string{program}, siblings[program]...) {
		w.programs = append(w.programs, []byte(name))
	}
	return w
}

// full reports whether no more is wanted.
func (w *wanted) full() bool { return len(w.found) >= mostExcerpt }

// excerpt returns what was found in a source, of which a search has ended with err.
func (w *wanted) excerpt(source string, err error) (lines []string) {
	if w == nil || len(w.found)+len(w.left) == 0 && err == nil {
		return nil
	}
	lines = []string{source + ":"}
	if err != nil && !w.full() {
		lines = append(lines, fmt.Sprintf("(%s)", rows.Printable(err.Error())))
	}
	return append(append(lines, w.left...), w.found...)
}

// siblings are the programs that log for another: the servers behind a process
// name, which isn't always theirs.
var siblings = map[string][]string{
	"imapd":        {"dovecot", "imap", "imap-login"},
	"imap":         {"dovecot", "imapd", "imap-login"},
	"imap-login":   {"dovecot", "imap"},
	"pop3d":        {"dovecot", "pop3", "pop3-login"},
	"pop3":         {"dovecot", "pop3d", "pop3-login"},
	"pop3-login":   {"dovecot", "pop3"},
	"lmtp":         {"dovecot"},
	"lda":          {"dovecot"},
	"sendmail":     {"postfix", "sm-mta", "exim", "exim4"},
	"exim":         {"exim4"},
	"postdrop":     {"postfix"},
	"httpsd":       {"httpd", "apache2"},
	"httpd":        {"apache2"},
	"sshd":         {"sshd-session", "sshd-auth"},
	"sshd-session": {"sshd", "sshd-auth"},
	"sshd-auth":    {"sshd", "sshd-session"},
	"cron":         {"CRON"},
	"crond":        {"CROND", "CRON"},
}

// matches reports whether the line names the user and the program, or is in the
// program's own form; by is "" if it is in nobody's.
func (w *wanted) matches(line []byte, by string) bool {
	if !hasWhole(line, w.user) {
		return false
	}
	named := func(program []byte) bool { return string(program) == by || hasWhole(line, program) }
	return len(w.programs) == 0 || slices.ContainsFunc(w.programs, named)
}

// isAbout reports whether the line matches, and isn't about lines that were left out.
func (w *wanted) isAbout(line []byte, by string) bool {
	return w.matches(line, by) && !isSuppressed(line)
}

// hasWhole reports whether the line has the word with no letter or digit beside it. A
// dot, hyphen or underscore only ends a word if none follows it: groucho isn't
// meant by groucho.marx.
func hasWhole(line, word []byte) bool {
	for start := 0; ; {
		at := bytes.Index(line[start:], word)
		if at < 0 {
			return false
		}
		at += start
		end := at + len(word)
		before, after := slices.Clone(line[max(0, at-2):at]), line[end:min(len(line), end+2)]
		slices.Reverse(before)
		if !goesOn(before) && !goesOn(after) {
			return true
		}
		start = at + 1
	}
}

// goesOn reports whether a word goes on with these bytes.
func goesOn(next []byte) bool {
	if len(next) == 0 {
		return false
	}
	letter := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
	}
	return letter(next[0]) || (next[0] == '.' || next[0] == '-') && len(next) > 1 && letter(next[1])
}

// suppressed is how a log says that it has left out lines, of a storm's most likely.
var suppressed = []byte("Suppressed ")

func isSuppressed(line []byte) bool {
	at := bytes.Index(line, suppressed)
	if at < 0 {
		return false
	}
	rest := bytes.TrimLeft(line[at+len(suppressed):], "0123456789")
	return bytes.HasPrefix(rest, []byte(" messages")) && len(rest) < len(line)-at-len(suppressed)
}

// excerptLine returns a line of a log as a message shows it.
func excerptLine(line []byte) string {
	if len(line) > 4*maxExcerpt { // escapes make it only longer
		line = line[:4*maxExcerpt]
	}
	return rows.Clip(rows.Printable(string(bytes.TrimRight(line, "\r\n"))), maxExcerpt)
}
