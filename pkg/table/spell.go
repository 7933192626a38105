package table

import (
	"slices"
	"strings"
	"unicode"

	"stormcheck/pkg/rows"
)

// Quote returns the pattern that matches just this text: a backslash before each
// character that a pattern gives a meaning.
func Quote(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "|", `\|`).Replace(text)
}

// MatchesNames reports whether the alternative matches any name of a user or process
// as the stream shows it, see rows.EscapeName.
func (a Alternative) MatchesNames() bool {
	if text, plain := a.Plain(); plain {
		name, err := rows.Unescape(text)
		return err == nil && rows.EscapeName(name) == text
	}
	// The states of an escaped text and the positions in the pattern are walked
	// together: a name is matched if both can come to their end.
	type point struct {
		at    int
		state state
	}
	tokens := a.all()
	seen := map[point]bool{}
	var reach func(p point) bool
	reach = func(p point) bool {
		if seen[p] {
			return false
		}
		seen[p] = true
		if p.at == len(tokens) {
			return p.state == text
		}
		t, after := tokens[p.at], p.at+1
		if t.star {
			if reach(point{after, p.state}) {
				return true
			}
			after = p.at
		}
		for _, next := range p.state.after(t) {
			if reach(point{after, next}) {
				return true
			}
		}
		return false
	}
	return reach(point{0, text})
}

// A state is where in an escape a text of the stream is.
type state int

const (
	text      state = iota // in none
	backslash              // after its backslash
	hexHigh                // after its x
	hexLow                 // after its first digit
)

// after returns the states that a character which the token matches leads to.
func (s state) after(t token) (next []state) {
	matches := func(characters string) bool { return t.star || strings.ContainsFunc(characters, t.matches) }
	const digits = "0123456789abcdef"
	switch s {
	case text:
		if matches(`\`) {
			next = append(next, backslash)
		}
		if t.star || t.matchesPlain() {
			next = append(next, text)
		}
	case backslash:
		if matches(`\`) {
			next = append(next, text)
		}
		if matches("x") {
			next = append(next, hexHigh)
		}
	case hexHigh:
		if matches(digits) {
			next = append(next, hexLow)
		}
	case hexLow:
		if matches(digits) {
			next = append(next, text)
		}
	}
	return next
}

// matchesPlain reports whether the token matches a character that the stream shows
// unescaped.
func (t token) matchesPlain() bool {
	plain := func(r rune) bool { return unicode.IsPrint(r) && !strings.ContainsRune(`\,"`, r) }
	for r := ' '; r <= '~'; r++ {
		if plain(r) && t.matches(r) {
			return true
		}
	}
	if t.negate {
		return true // no set that somebody writes leaves out all that is printable
	}
	for _, s := range t.ranges {
		for r := s.low; r <= s.high; r++ {
			if plain(r) {
				return true
			}
		}
	}
	return false
}

// all returns the alternative as tokens alone.
func (a Alternative) all() (tokens []token) {
	for _, r := range a.text {
		tokens = append(tokens, token{ranges: []span{{r, r}}})
	}
	return append(tokens, a.tokens...)
}

// Spelling returns the pattern that was likely meant by one that matches no name of the
// stream: its plain parts are names, either escaped as in the stream or unescaped. It is
// "" if that one would match none either.
func (g Pattern) Spelling() string {
	alternatives := make([]string, len(g))
	for i, a := range g {
		alternatives[i] = a.spelling()
	}
	pattern := strings.Join(alternatives, "|")
	compiled, err := Compile(pattern)
	if err != nil || slices.ContainsFunc(compiled, func(a Alternative) bool { return !a.MatchesNames() }) {
		return ""
	}
	return pattern
}

func (a Alternative) spelling() string {
	escape := rows.Escape
	if _, plain := a.Plain(); plain {
		escape = rows.EscapeName
	}
	var out, name strings.Builder
	flush := func() {
		text := name.String()
		if unescaped, err := rows.Unescape(text); err == nil {
			text = unescaped
		}
		out.WriteString(Quote(escape(text)))
		name.Reset()
	}
	for _, t := range a.all() {
		if r, plain := t.plain(); plain {
			name.WriteRune(r)
			continue
		}
		flush()
		out.WriteString(t.String())
	}
	flush()
	return out.String()
}

// String returns the token as a pattern has it.
func (t token) String() string {
	switch {
	case t.star:
		return "*"
	case t.any:
		return "?"
	}
	quote := func(r rune) string {
		if strings.ContainsRune(`\]-^![`, r) {
			return `\` + string(r)
		}
		return string(r)
	}
	set := "["
	if t.negate {
		set += "!"
	}
	for _, s := range t.ranges {
		set += quote(s.low)
		if s.high > s.low {
			set += "-" + quote(s.high)
		}
	}
	return set + "]"
}
