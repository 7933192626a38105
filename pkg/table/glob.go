package table

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Pattern is a compiled pattern, one alternative or more.
type Pattern []Alternative

// An Alternative is a shell glob: plain text, which is often all, and then tokens.
type Alternative struct {
	text   string
	tokens []token
}

// A token matches one character, or any number of them.
type token struct {
	star   bool
	any    bool
	negate bool
	ranges []span // otherwise: of these, or with negate not
}

type span struct{ low, high rune }

// Everything is the pattern *.
var Everything = Pattern{{tokens: []token{{star: true}}}}

// Compile reads a pattern: *, ?, [a-z] and [!a-z] as in the shell's case, a
// backslash that quotes the next character, and | between alternatives. Nothing
// else is special. The shell takes a broken pattern for plain text; Compile returns
// what is wrong with it.
func Compile(pattern string) (Pattern, error) {
	var (
		g   Pattern
		alt Alternative
	)
	for rest := pattern; ; {
		if rest == "" || rest[0] == '|' {
			if alt.text == "" && alt.tokens == nil {
				return nil, fmt.Errorf("%q: empty pattern", pattern)
			}
			g, alt = append(g, alt), Alternative{}
			if rest == "" {
				return g, nil
			}
			rest = rest[1:]
			continue
		}
		var (
			t   token
			err error
		)
		if t, rest, err = nextToken(rest); err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		}
		if r, plain := t.plain(); plain && alt.tokens == nil {
			alt.text += string(r)
		} else {
			alt.tokens = append(alt.tokens, t)
		}
	}
}

// nextToken takes one token off the pattern.
func nextToken(p string) (t token, rest string, err error) {
	switch p[0] {
	case '*':
		return token{star: true}, p[1:], nil
	case '?':
		return token{any: true}, p[1:], nil
	case '[':
		return nextSet(p[1:])
	}
	r, rest, err := nextChar(p)
	return token{ranges: []span{{r, r}}}, rest, err
}

// nextSet takes the rest of a bracket expression.
func nextSet(p string) (t token, rest string, err error) {
	unclosed := errors.New("[ without ]")
	p, t.negate = strings.CutPrefix(p, "!")
	if strings.HasPrefix(p, "^") {
		return t, "", errors.New("[^ means different things to different shells: write [! or [\\^")
	}
	for first := true; ; first = false {
		if p == "" {
			return t, "", unclosed
		}
		if p[0] == ']' && !first {
			return t, p[1:], nil
		}
		if p[0] == '[' && len(p) > 1 && strings.IndexByte(":.=", p[1]) >= 0 {
			return t, "", errors.New("no character classes in brackets")
		}
		s := span{}
		if s.low, p, err = nextChar(p); err != nil {
			return t, "", err
		}
		s.high = s.low
		if len(p) > 1 && p[0] == '-' && p[1] != ']' {
			if s.high, p, err = nextChar(p[1:]); err != nil {
				return t, "", err
			}
		}
		if s.low > s.high {
			return t, "", fmt.Errorf("range %c-%c is empty", s.low, s.high)
		}
		t.ranges = append(t.ranges, s)
	}
}

// nextChar takes a character that stands for itself, or one after a backslash.
func nextChar(p string) (r rune, rest string, err error) {
	if p[0] == '\\' {
		if p = p[1:]; p == "" {
			return 0, "", errors.New("a backslash at the end quotes nothing")
		}
	}
	r, size := utf8.DecodeRuneInString(p)
	if r == utf8.RuneError && size == 1 {
		return 0, "", errors.New("not UTF-8")
	}
	return r, p[size:], nil
}

// Match reports whether an alternative matches the whole text.
func (g Pattern) Match(text string) bool {
	for _, alt := range g {
		if rest, ok := strings.CutPrefix(text, alt.text); ok && matchAll(alt.tokens, rest) {
			return true
		}
	}
	return false
}

// matchAll goes through text at most once for each star: if something after a star
// doesn't match, only the last star can have taken too little.
func matchAll(alt []token, text string) bool {
	if len(alt) == 1 && alt[0].star {
		return true
	}
	at, star, from := 0, -1, ""
	for text != "" || at < len(alt) {
		if at < len(alt) && alt[at].star {
			star, from = at, text
			at++
			continue
		}
		if at < len(alt) && text != "" {
			if r, size := utf8.DecodeRuneInString(text); alt[at].matches(r) {
				text = text[size:]
				at++
				continue
			}
		}
		if star < 0 || from == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(from)
		from = from[size:]
		at, text = star+1, from
	}
	return true
}

// plain returns the one character that the token matches, if it matches only one.
func (t token) plain() (rune, bool) {
	if len(t.ranges) == 1 && !t.negate && t.ranges[0].low == t.ranges[0].high {
		return t.ranges[0].low, true
	}
	return 0, false
}

func (t token) matches(r rune) bool {
	if t.any {
		return true
	}
	for _, s := range t.ranges {
		if s.low <= r && r <= s.high {
			return !t.negate
		}
	}
	return t.negate
}

// Covers reports whether g is known to match all that other matches. It compares
// alternatives one by one, so it may miss what several of them cover together.
func (g Pattern) Covers(other Pattern) bool {
	for _, o := range other {
		if !slices.ContainsFunc(g, func(alt Alternative) bool {
			return alt.everything() || alt.equal(o) || o.tokens == nil && Pattern{alt}.Match(o.text)
		}) {
			return false
		}
	}
	return true
}

// everything reports whether the alternative is a star.
func (a Alternative) everything() bool {
	return a.text == "" && !slices.ContainsFunc(a.tokens, func(t token) bool { return !t.star })
}

func (a Alternative) equal(b Alternative) bool {
	return a.text == b.text && slices.EqualFunc(a.tokens, b.tokens, token.equal)
}

func (t token) equal(u token) bool {
	return t.star == u.star && t.any == u.any && t.negate == u.negate && slices.Equal(t.ranges, u.ranges)
}

// Plain returns the one text that the alternative matches, if there is only one.
func (a Alternative) Plain() (text string, plain bool) { return a.text, a.tokens == nil }

// Shortest returns a text that is as short as any that the alternative matches.
func (a Alternative) Shortest() string {
	text := []rune(a.text)
	for _, t := range a.tokens {
		switch r, plain := t.plain(); {
		case t.star:
		case plain:
			text = append(text, r)
		default:
			text = append(text, '?')
		}
	}
	return string(text)
}

// CoversNonEmpty reports whether g matches every text that isn't empty.
func (g Pattern) CoversNonEmpty() bool {
	return slices.ContainsFunc(g, func(a Alternative) bool {
		stars, characters := 0, 0
		for _, t := range a.tokens {
			switch {
			case t.star:
				stars++
			case t.any:
				characters++
			default:
				return false
			}
		}
		return a.text == "" && stars > 0 && characters <= 1
	})
}
