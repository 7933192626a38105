package stormplot

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"stormcheck/pkg/rows"
)

func itoa[T int | int64 | uint32](n T) string { return strconv.FormatInt(int64(n), 10) }

// wide are the characters that a terminal shows in two columns: East Asian ones and
// pictures, by Unicode's EastAsianWidth.txt.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x231a, 0x231b, 1}, {0x23e9, 0x23ec, 1}, {0x25fd, 0x25fe, 1}, {0x2614, 0x2615, 1},
		{0x2648, 0x2653, 1}, {0x26a1, 0x26a1, 1}, {0x2705, 0x2705, 1}, {0x274c, 0x274c, 1}, {0x2753, 0x2755, 1},
		{0x2795, 0x2797, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x33ff, 1}, {0x3400, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1},
		{0xa960, 0xa97f, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1},
		{0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x16fe0, 0x18cff, 1}, {0x1b000, 0x1b2ff, 1}, {0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x1fa70, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// columns returns how many columns a terminal shows a character in.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf), 0x1160 <= r && r <= 0x11ff: // Hangul vowels and finals join what is before them
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// width returns how many columns a terminal shows text in.
func width(text string) (n int) {
	for _, r := range text {
		n += columns(r)
	}
	return n
}

// pad returns text in just n columns: cut, with a sign that it is, or filled up.
func pad(text string, n int, cut string) string {
	if width(text) <= n {
		return text + strings.Repeat(" ", n-width(text))
	}
	used := len(cut)
	if used > 1 {
		used = width(cut)
	}
	var kept strings.Builder
	for _, r := range text {
		if used+columns(r) > n {
			break
		}
		used += columns(r)
		kept.WriteRune(r)
	}
	return kept.String() + cut + strings.Repeat(" ", n-used)
}

// mostMarks is how many characters may join one before them; more would cover the
// lines above and below.
const mostMarks = 2

// shown returns a cell that is safe to draw: without control characters, which a stream
// from elsewhere may hold, without piles of accents, and if need be in ASCII only.
func shown(cell string, ascii bool) string {
	var text strings.Builder
	marks := mostMarks // there is nothing that the first could join
	for _, r := range rows.Printable(cell) {
		if marks++; columns(r) > 0 {
			marks = 0
		}
		if r < 0x80 || !ascii && marks <= mostMarks {
			text.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&text, `\x%02x`, c)
		}
	}
	return text.String()
}
