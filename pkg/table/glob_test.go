package table

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"imapd", "imapd", true},
		{"imapd", "imapd2", false},
		{"imapd", "simapd", false},
		{"imapd", "", false},
		{"*", "", true},
		{"*", "a/b c", true},
		{"**", "x", true},
		{"?", "", false},
		{"?", "ü", true},
		{"??", "ü", false},
		{"imap*", "imap", true},
		{"*d", "imapd", true},
		{"i*p*d", "imapd", true},
		{"i*p*d", "imapx", false},
		{"*a*a*", "ba", false},
		{"httpsd|httpd", "httpd", true},
		{"httpsd|httpd", "httpsd|httpd", false},
		{`httpsd\|httpd`, "httpsd|httpd", true},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"[!a-c]x", "dx", true},
		{"[!a-c]x", "ax", false},
		{"[]a]", "]", true},
		{"[!]a]", "]", false},
		{"[a|b]", "|", true},
		{"[a-]", "-", true},
		{`[\]]`, "]", true},
		{`[\^]`, "^", true},
		{`\*`, "*", true},
		{`\*`, "x", false},
		{`\x`, "x", true},
		{"(sd-pam)", "(sd-pam)", true},
		{"g++", "g++", true},
		{"g++", "g", false},
		{"php-fpm*", "php-fpm8.2", true},
		{".", "x", false},
		{"^a$", "a", false},
		{`a\\x2cb`, `a\x2cb`, true}, // patterns see escaped text
	} {
		g, err := Compile(c.pattern)
		if err != nil || g.Match(c.text) != c.want {
			t.Errorf("%q matches %q: %v, %v; want %v", c.pattern, c.text, g.Match(c.text), err, c.want)
		}
	}
}

func TestGlobRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		"":              "empty pattern",
		"a|":            "empty pattern",
		"|a":            "empty pattern",
		"a||b":          "empty pattern",
		"[":             "[ without ]",
		"[a":            "[ without ]",
		"[]":            "[ without ]",
		"[!]":           "[ without ]",
		"a[b|c":         "[ without ]",
		"[^a]":          "[^ means different things to different shells: write [! or [\\^",
		"[[:alpha:]]":   "no character classes in brackets",
		"[z-a]":         "range z-a is empty",
		`a\`:            "a backslash at the end quotes nothing",
		`[a\`:           "a backslash at the end quotes nothing",
		"a\xff":         "not UTF-8",
		"imapd|[x":      "[ without ]",
		"[a-[:digit:]]": "range a-[ is empty",
	} {
		if _, err := Compile(pattern); err == nil || err.Error() != fmt.Sprintf("%q: %s", pattern, want) {
			t.Errorf("%q: %v; want %s", pattern, err, want)
		}
	}
}

// TestGlobAgainstCase holds globs against the shell's own case.
func TestGlobAgainstCase(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string, n int) (s string) {
		for range random.IntN(n + 1) {
			s += from[random.IntN(len(from))]
		}
		return s
	}
	var script strings.Builder
	var ours []bool
	var cases []string
	for len(cases) < 3000 {
		pattern := pick([]string{"a", "b", "*", "?", "[ab]", "[!a]", "[a-c]", "[]a]", `\*`, "/", "-", "."}, 6)
		text := pick([]string{"a", "b", "c", "*", "]", "/", "-", "."}, 6)
		g, err := Compile(pattern)
		if err != nil {
			continue
		}
		ours = append(ours, g.Match(text))
		cases = append(cases, fmt.Sprintf("%q %q", pattern, text))
		fmt.Fprintf(&script, "case '%s' in %s) echo true ;; *) echo false ;; esac\n", text, pattern)
	}
	cmd := exec.Command("sh")
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for i, answer := range strings.Fields(string(out)) {
		if answer != fmt.Sprint(ours[i]) {
			t.Errorf("%s: the shell says %s", cases[i], answer)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("i*[a-z]?|\\*", "imapd")
	f.Add(strings.Repeat("*a", 50), strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, pattern, text string) {
		g, err := Compile(pattern)
		if err != nil || len(text) > 10000 {
			return
		}
		start := time.Now()
		g.Match(text)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q on %q took %s", pattern, text, took)
		}
	})
}
