package rows

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"imapd", "imapd"},
		{"", ""},
		{"a b", "a b"},
		{" x ", " x "},
		{"(sd-pam)", "(sd-pam)"},
		{"a,b", `a\x2cb`},
		{`a"b`, `a\x22b`},
		{`a\b`, `a\\b`},
		{`\x2c`, `\\x2c`},
		{"a\nb\r\t", `a\x0ab\x0d\x09`},
		{"\x1b[2J", `\x1b[2J`},
		{"\xff\xfe", `\xff\xfe`},
		{"grün", "grün"},
		{"\u202edpami", `\xe2\x80\xaedpami`},
		{"\ufffd", "\ufffd"}, // a replacement character that is really there
		{"a\xe2\x80", `a\xe2\x80`},
		{"*", "*"},
	} {
		got := Escape(c.in)
		if got != c.want {
			t.Errorf("Escape(%q) = %q; want %q", c.in, got, c.want)
		}
		if back, err := Unescape(got); back != c.in || err != nil {
			t.Errorf("Unescape(%q) = %q, %v; want %q", got, back, err, c.in)
		}
	}
	if got := EscapeName("*"); got != `\x2a` {
		t.Errorf("EscapeName(*) = %q", got)
	}
	if got := EscapeName("?"); got != `\x3f` {
		t.Errorf("EscapeName(?) = %q", got)
	}
	if got := EscapeName("**"); got != "**" {
		t.Errorf("EscapeName(**) = %q", got)
	}
}

func TestUnescapeRefuses(t *testing.T) {
	for _, cell := range []string{`\`, `a\`, `\n`, `\x`, `\x2`, `\x2C`, `\xg0`, `\X2c`, `\\\`} {
		if got, err := Unescape(cell); err == nil {
			t.Errorf("Unescape(%q) = %q; want an error", cell, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"imapd", "a,b\"c\\d\n", "\xff\u202e", `\x2c`, "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, escape := range []func(string) string{Escape, EscapeName} {
			cell := escape(s)
			if strings.ContainsAny(cell, ",\"\r\n\x1b\x00") || !utf8.ValidString(cell) {
				t.Errorf("escape of %q = %q", s, cell)
			}
			if back, err := Unescape(cell); back != s || err != nil {
				t.Errorf("Unescape(%q) = %q, %v; want %q", cell, back, err, s)
			}
		}
	})
}

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
	}{{"0", 0}, {"1", 1}, {"404", 404}, {"4294967294", 4294967294}} {
		if got, err := ParseNumber(c.in); got != c.want || err != nil {
			t.Errorf("ParseNumber(%q) = %d, %v", c.in, got, err)
		}
	}
	for _, in := range []string{"", "-1", "+1", "1e3", "010", "00", "1.0", " 1", "1 ", "1_0", "0x1", "NaN", "٣",
		"4294967295", "9223372036854775808", "99999999999999999999"} {
		if got, err := ParseNumber(in); err == nil {
			t.Errorf("ParseNumber(%q) = %d; want an error", in, got)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Limit
	}{
		{"", Limit{}},
		{"0", Limit{}},
		{"20", Limit{Count: 20}},
		{"+30", Limit{Growth: 30}},
		{"100|+60", Limit{Count: 100, Growth: 60}},
		{"3000/m", Limit{Churn: 3000}},
		{"200|20000/m", Limit{Count: 200, Churn: 20000}},
		{"+60|3000/m", Limit{Growth: 60, Churn: 3000}},
		{"100|+60|3000/m", Limit{Count: 100, Growth: 60, Churn: 3000}},
	} {
		got, err := ParseLimit(c.in)
		if got != c.want || err != nil {
			t.Errorf("ParseLimit(%q) = %v, %v", c.in, got, err)
		}
		if c.in != "" && got.String() != c.in {
			t.Errorf("ParseLimit(%q).String() = %q", c.in, got)
		}
	}
	for _, in := range []string{"-1", "many", "+", "+0", "|", "100|", "|+60", "0|+60", "100|60", "100|+0", "+60|100", "1|+2|+3", "++1", " 1",
		"/m", "0/m", "+3/m", "3/s", "3/m/m", "3 /m", "3000/m|100", "3000/m|+60", "1/m|2/m", "1|+2|3/m|4/m", "|"} {
		if got, err := ParseLimit(in); err == nil {
			t.Errorf("ParseLimit(%q) = %v; want an error", in, got)
		}
	}
}

func TestLimitReached(t *testing.T) {
	for _, c := range []struct {
		limit Limit
		n     Numbers
		want  bool
	}{
		{Limit{}, Numbers{Count: 1 << 30, Recent: 1 << 30, Started: 1 << 30}, false},
		{Limit{Count: 100}, Numbers{Count: 99, Recent: 99, Started: 200}, false},
		{Limit{Count: 100}, Numbers{Count: 100}, true},
		{Limit{Growth: 30}, Numbers{Count: 500, Recent: 29, Started: 500}, false},
		{Limit{Growth: 30}, Numbers{Count: 30, Recent: 30}, true},
		{Limit{Churn: 3000}, Numbers{Count: 5000, Recent: 5000, Started: 2999}, false},
		{Limit{Churn: 3000}, Numbers{Started: 3000}, true},
		{Limit{Count: 100, Growth: 60}, Numbers{Count: 99, Recent: 59}, false},
		{Limit{Count: 100, Growth: 60}, Numbers{Count: 100}, true},
		{Limit{Count: 100, Growth: 60}, Numbers{Count: 60, Recent: 60}, true},
	} {
		if got := c.limit.Reached(c.n); got != c.want {
			t.Errorf("%v.Reached(%+v) = %v", c.limit, c.n, got)
		}
	}
}

func TestFindAction(t *testing.T) {
	const actions = "log=20 alert=60 kill=100|+60"
	if limit, due, err := FindAction(actions, "kill"); limit != (Limit{Count: 100, Growth: 60}) || !due || err != nil {
		t.Errorf("kill: %v, %v, %v", limit, due, err)
	}
	for _, name := range []string{"archive", "lo", "log=20", ""} {
		if _, due, err := FindAction(actions, name); due || err != nil {
			t.Errorf("%q: due %v, %v", name, due, err)
		}
	}
	// Whoever kills must not take any of these for a limit.
	for _, cell := range []string{"kill", "kill=", "kill=0", "kill=x", "kill=-1", "kill=010", "kill=100 kill=5", "kill=+"} {
		if limit, due, err := FindAction(cell, "kill"); err == nil || !due || limit != (Limit{}) {
			t.Errorf("%q: %v, %v, %v; want an error", cell, limit, due, err)
		}
	}
}

func TestWriterQuotesOnlyWhereItMust(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	w.Write([]string{" a", `\.`, "b,c", `d"e`, "f\ng", "h\r", "", "#"})
	w.Flush()
	want := " a,\\.,\"b,c\",\"d\"\"e\",\"f\ng\",\"h\r\",,#\n"
	if out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}
