package alertmail

import (
	"strings"

	"stormcheck/pkg/rows"
)

// next says at the end of a message what to do next about its worst topic that lasts.
func (m message) next() string {
	for _, t := range m.worst {
		if !t.went().lasts() {
			continue
		}
		_, _, host := t.named()
		lines := "\nWhat to do next, on " + host + ":\n"
		for _, step := range t.steps() {
			lines += "    " + step + "\n"
		}
		return lines
	}
	return ""
}

// steps say how to find out why.
func (b *breakdown) steps() []string { return []string{"run:    stormcheck --check"} }

// steps say how to look at the storm, how to end it, and how to exempt it from the
// limits.
func (s *storm) steps() (steps []string) {
	add := func(what string, lines ...string) {
		for _, line := range lines {
			steps = append(steps, what+strings.Repeat(" ", 8-len(what))+line)
			what = ""
		}
	}
	if look := s.look(); look != "" {
		add("look:", strings.Split(look, "\n")...)
	}
	isOne := s.proc != "*" && s.proc != anyName
	isEnded := s.killed.N > 0 && s.remaining.Known && s.remaining.N == 0 && !s.unsure
	if isOne && !isEnded && isSafe(s.user) && isSafe(s.proc) {
		add("end:", "stormcheck --end "+s.user+"/"+s.proc)
	}
	switch {
	case s.proc == "*":
		add("exempt:", "a row "+quoteGlob(s.user)+",total")
	case isOne && s.proc != "":
		add("exempt:", "a row "+quoteGlob(s.user)+","+quoteGlob(s.proc))
	case s.proc == anyName:
		add("exempt:", "a row "+quoteGlob(s.user)+",*")
	}
	if s.proc != "" {
		add("", "in /etc/stormcheck/limits.d/00-off.csv, with the header user,proc")
	}
	add("read:", "man stormcheck")
	return steps
}

// look returns commands that show more of the storm. A name that isn't plain doesn't
// get into them, for somebody will paste them into a shell.
func (s *storm) look() string {
	who := s.uid
	if _, err := rows.ParseNumber(who); err != nil {
		if who = s.user; !isSafe(who) {
			return ""
		}
	}
	commands := "ps -u " + who + " -o pid,ppid,stat,lstart,wchan:20,args"
	if isSafe(s.proc) && !strings.ContainsAny(s.proc, ".+") { // pgrep takes a regular expression
		commands += "\npgrep -c -u " + who + " -x " + s.proc
	}
	return commands
}

// isSafe reports whether a name means itself to a shell, and is neither a flag nor
// hidden.
func isSafe(name string) bool {
	unfit := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._@+-", r))
	}
	return name != "" && name[0] != '-' && name[0] != '.' && !strings.ContainsFunc(name, unfit)
}

// quoteGlob returns the pattern of a limits row that matches this name alone.
func quoteGlob(name string) string {
	var b strings.Builder
	for i, r := range name {
		if strings.ContainsRune(`*?[]{}|\`, r) || i == 0 && r == '#' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
