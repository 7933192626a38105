package table

import (
	"math/rand/v2"
	"strings"
	"testing"

	"stormcheck/pkg/rows"
)

func TestSpelling(t *testing.T) {
	for _, c := range []struct {
		pattern, want string // "ok": each alternative matches names
	}{
		{"imapd", "ok"}, {"*", "ok"}, {"imap*", "ok"}, {"[a-z]?|x", "ok"}, {"(sd-pam)", "ok"}, {"müller", "ok"}, {"a b", "ok"},
		{`CORP\\\\alice`, "ok"}, {`CORP\\\\al*`, "ok"}, {`a\\x2cb`, "ok"}, {`*\\x2c*`, "ok"}, {`\\x2a`, "ok"}, {`*\\*`, "ok"}, {`*,*|[!,]`, `*\\x2c*|[!,]`},
		{`?????`, "ok"}, {`\\?*`, "ok"}, {`\\[x]??`, "ok"}, {`\\[!x\\]??`, `\\\\[!x\\]??`}, {`[\\]\\`, "ok"},

		{`CORP\\alice`, `CORP\\\\alice`}, // copied from an alert
		{`CORP\\al*|bob`, `CORP\\\\al*|bob`},
		{`a,b`, `a\\x2cb`}, {`a"b`, `a\\x22b`}, {"a\u00a0b", `a\\xc2\\xa0b`}, {"a\tb", `a\\x09b`}, {"a\u200bb", `a\\xe2\\x80\\x8bb`},
		{`a,*\|`, `a\\x2c*\|`},
		{`\*`, `\\x2a`}, {`\?`, `\\x3f`}, {`a|\*`, `a|\\x2a`},
		{`a\\x20b`, "a b"}, // printable text is never escaped
		{`a\\xC2\\xA0b`, `a\\\\xC2\\\\xA0b`},
		{`a[,"]b`, ""}, {`a["-$]b`, "ok"}, {"[\u0080-\u009f]", ""},
	} {
		g, err := Compile(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		matches := true
		for _, a := range g {
			matches = matches && a.MatchesNames()
		}
		if got := g.Spelling(); matches != (c.want == "ok") || !matches && got != c.want {
			t.Errorf("%s: matches names %v, spelling %s; want %s", c.pattern, matches, got, c.want)
		}
	}
}

// A pattern that matches any escaped text is never said to match none.
func TestMatchesNamesAgainstNames(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	pick := func(from []string, n int) (s string) {
		for range random.IntN(n + 1) {
			s += from[random.IntN(len(from))]
		}
		return s
	}
	var names []string
	for range 2000 {
		names = append(names, rows.EscapeName(pick([]string{"a", "b", "x", "2", "c", "\\", ",", `"`, "*", "?", "\x01", "ü", "\xff", " "}, 4)))
	}
	matching := 0
	for range 2000 {
		pattern := pick([]string{"a", "x", "2", "c", `\\`, ",", "*", "?", "[ab]", "[!a]", "[,-9]", `[\\x]`, "0", `\*`, " "}, 5)
		g, err := Compile(pattern)
		if err != nil || pattern == "" {
			continue
		}
		for _, name := range names {
			if g.Match(name) {
				matching++
				if !g[0].MatchesNames() {
					t.Fatalf("%s is said to match no name, but matches %s", pattern, name)
				}
			}
		}
		if spelling := g.Spelling(); spelling != "" {
			if again, err := Compile(spelling); err != nil || !again[0].MatchesNames() {
				t.Fatalf("%s: spelling %s, %v", pattern, spelling, err)
			}
		}
	}
	if matching < 1000 {
		t.Errorf("only %d matches were tried", matching)
	}
}

func TestQuote(t *testing.T) {
	for _, text := range []string{"a", `\`, "*", "?", "[", "]", "|", `a\x2c*?[b]|c`, strings.Repeat(`\`, 9)} {
		g, err := Compile(Quote(text))
		if err != nil || len(g) != 1 {
			t.Errorf("%s quoted is %s: %v", text, Quote(text), err)
			continue
		}
		if got, plain := g[0].Plain(); got != text || !plain {
			t.Errorf("%s quoted is %s, which matches %s", text, Quote(text), got)
		}
	}
}

func TestCoversNonEmpty(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, "**": true, "?*": true, "*?": true, "*?*": true, "a|*": true,
		"??*": false, "?": false, "a*": false, "*a": false, "[a-z]*": false, "[!a]*": false,
	} {
		if g, err := Compile(pattern); err != nil || g.CoversNonEmpty() != want {
			t.Errorf("%s: %v, %v; want %v", pattern, !want, err, want)
		}
	}
}
