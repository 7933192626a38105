package alertmail

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// span returns how long d is, in the unit that a person would use.
func span(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return counted(int64(d/time.Second), "second", "s")
	case d < 2*time.Hour:
		return counted(int64(d/time.Minute), "minute", "s")
	case d < 48*time.Hour:
		return counted(int64(d/time.Hour), "hour", "s")
	}
	return counted(int64(d/(24*time.Hour)), "day", "s")
}

// counted returns "1 row" or "17 rows", by the ending of the plural.
func counted(n int64, what, plural string) string {
	if n == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d %s%s", n, what, plural)
}

// grouped returns a number with a comma before each three digits.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// pattern returns a function that compiles a regular expression when it is first called.
// Compiling takes longer than everything else in a run that finds nothing.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// wide are the characters that take two columns, by and large those of Unicode's
// Standard Annex 11 that are wide or full-width.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x2329, 0x232a, 1}, {0x23e9, 0x23f3, 1}, {0x25fd, 0x25fe, 1},
		{0x2614, 0x2615, 1}, {0x2648, 0x2653, 1}, {0x267f, 0x2693, 1}, {0x26a1, 0x27bf, 1}, {0x2b1b, 0x2b55, 1},
		{0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1},
		{0xfe10, 0xfe19, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x1b2ff, 1}, {0x1f004, 0x1f004, 1}, {0x1f0cf, 0x1f0cf, 1}, {0x1f18e, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// columnsOf returns how many columns a character takes on a terminal.
func columnsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// columnsIn returns how many columns a text takes on a terminal.
func columnsIn(s string) (n int) {
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

// cut cuts s to at most so many columns, and shows that it did.
func cut(s string, most int) string {
	if columnsIn(s) <= most {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if most -= columnsOf(r); most < 1 { // one is for the mark
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

func hasWord(words, word string) bool { return slices.Contains(strings.Fields(words), word) }

// withWord adds a word to those of text, separated by blanks, if it isn't there.
func withWord(text, word string) string {
	if hasWord(text, word) {
		return text
	}
	return strings.TrimSpace(text + " " + word)
}

// withPart adds a part to a cell as its last one, and drops the first if there
// would be more than most.
func withPart(cell, part, separator string, most int) string {
	all := slices.DeleteFunc(parts(cell, separator), func(s string) bool { return s == part })
	all = append(all, part)
	return strings.Join(all[max(0, len(all)-most):], separator)
}

// parts splits a cell, and leaves out what is empty.
func parts(cell, separator string) []string {
	return slices.DeleteFunc(strings.Split(cell, separator), func(s string) bool { return s == "" })
}
