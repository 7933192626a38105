package rows

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseMessages(t *testing.T) {
	for _, c := range []struct {
		cell string
		want []Message
	}{
		{"", nil},
		{"killstorm: subsided to 3", []Message{{"killstorm", "subsided to 3"}}},
		{"mailarchive: /var/mail/groucho: no space: 3G", []Message{{"mailarchive", "/var/mail/groucho: no space: 3G"}}},
		{"a: b; c: d; ", []Message{{"a", "b"}, {"c", "d"}}},
		{"no tool at all", []Message{{"", "no tool at all"}}},
		{"/etc/limits: broken", []Message{{"", "/etc/limits: broken"}}},
		{"not a tool: text", []Message{{"", "not a tool: text"}}},
	} {
		got := ParseMessages(c.cell)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q; want %q", c.cell, got, c.want)
		}
		if back := JoinMessages(got); back != strings.TrimSuffix(c.cell, "; ") {
			t.Errorf("%q: joined again %q", c.cell, back)
		}
	}
}

// What one tool writes another reads, also behind a mailbox's path, and no other text
// is taken for it.
func TestFormattedMessagesAreParsed(t *testing.T) {
	at := time.Date(2000, 4, 25, 5, 15, 2, 0, time.UTC)
	const mbox = "/var/mail/groucho: "
	parse := map[string]func(string) (string, bool){
		"remaining": func(s string) (string, bool) {
			n, why, ok := ParseRemaining(s)
			return fmt.Sprint(n, " ", why), ok
		},
		"subsided": func(s string) (string, bool) {
			n, also, ok := ParseSubsided(s)
			return fmt.Sprint(n, " ", also), ok
		},
		"would kill":   func(s string) (string, bool) { n, ok := ParseWouldKill(s); return fmt.Sprint(n), ok },
		"paused":       func(s string) (string, bool) { t, ok := ParsePaused(s); return fmt.Sprint(t.Unix()), ok },
		"path changed": ParsePathChanged,
		"unfit":        ParseUnfit,
		"trimmed": func(s string) (string, bool) {
			n, all, left, ok := ParseTrimmed(s)
			return fmt.Sprint(n, all, left), ok
		},
		"not saved": ParseNotSaved,
		"no space":  ParseNoSpace,
		"unchanged": func(s string) (string, bool) { t, ok := ParseUnchanged(s); return fmt.Sprint(t.Unix()), ok },
		"changed":   func(s string) (string, bool) { t, ok := ParseChanged(s); return fmt.Sprint(t.Unix()), ok },
	}
	for _, c := range []struct{ text, by, want string }{
		{FormatRemaining(6, ""), "remaining", "6 "},
		{FormatRemaining(6, "5 uninterruptible (D) and 1 not permitted"), "remaining", "6 5 uninterruptible (D) and 1 not permitted"},
		{FormatSubsided(0, ""), "subsided", "0 "},
		{FormatSubsided(3, "120 named bash started at the same time"), "subsided", "3 120 named bash started at the same time"},
		{FormatWouldKill(404), "would kill", "404"},
		{FormatWouldKill(404) + ": pids 1 2 3", "would kill", "404"},
		{FormatPaused(at), "paused", "956639702"},
		{FormatPathChanged("/etc/stormcheck/limits.csv"), "path changed", "/etc/stormcheck/limits.csv"},
		{FormatUnfit("limits.csv:33"), "unfit", "limits.csv:33"},
		{FormatTrimmed(16, 75, 59), "trimmed", "16 75 59"},
		{FormatNotSaved("no space: 3G"), "not saved", "no space: 3G"},
		{FormatNoSpace("3G"), "no space", "3G"},
		{mbox + FormatNoSpace("3G"), "no space", "3G"},
		{FormatUnchanged(at), "unchanged", "956639702"},
		{mbox + FormatUnchanged(at), "unchanged", "956639702"},
		{FormatChanged(at, "10m"), "changed", "956639702"},
		{mbox + FormatChanged(at, "10m"), "changed", "956639702"},
	} {
		if escaped := EscapeMessage(c.text); escaped != c.text {
			t.Errorf("%q changes in the stream: %q", c.text, escaped)
		}
		for name, f := range parse {
			got, ok := f(c.text)
			// An error that quotes another is both.
			if inner := c.by == "not saved" && name == "no space"; ok != (name == c.by) && !inner {
				t.Errorf("%q read as %s: %v", c.text, name, ok)
			}
			if name == c.by && got != c.want {
				t.Errorf("%q read as %s: %q; want %q", c.text, name, got, c.want)
			}
		}
	}
	for _, text := range []string{"", "6", "remaining", "x remaining", "subsided to", "subsided to many", "subsided to 3 (", "paused until noon",
		"unchanged since", "unchanged since yesterday", "nospace: 1", "would kill 3", "not killed: has changed", "ended the 3 oldest of 4"} {
		for name, f := range parse {
			if got, ok := f(text); ok {
				t.Errorf("%q read as %s: %q", text, name, got)
			}
		}
	}
}

func TestGap(t *testing.T) {
	at := time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)
	var out strings.Builder
	w := NewWriter(&out)
	_ = w.Write(Header(AllColumns))
	_ = Encode(w, AllColumns, NewGap(at, "moscow", "mailarchive", "terminated after 540 s, \"so\""), NewGap(time.Time{}, "moscow", "ssh", "no route"))
	w.Flush()
	want := strings.Join(Header(AllColumns), ",") + `
2000-04-25T05:17:02Z,moscow,?,,?,0,,,,,,,,,,mailarchive: terminated after 540 s\x2c 'so',,,
,moscow,?,,?,0,,,,,,,,,,ssh: no route,,,
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	r := NewReader(strings.NewReader(out.String()+",moscow,?,,?,1,,,,,,,,,,x: y,,,\n,moscow,?,,?,0,,,,,kill=3,,,,,x: y,,,\n,moscow,?,,?,0,,,,,,,,,,,,,\n"+
		",moscow,"+EscapeName("?")+",,"+EscapeName("?")+",0,,,,,,,,,,x: y,,,\n"), "<stdin>", func() error { return nil })
	var reasons []string
	for record, err := r.Read(); err == nil; record, err = r.Read() {
		if reason, isGap := record.Gap(); isGap && !record.Header {
			reasons = append(reasons, reason)
		}
	}
	if want := []string{`mailarchive: terminated after 540 s\x2c 'so'`, "ssh: no route"}; !slices.Equal(reasons, want) {
		t.Errorf("gaps %q; want %q", reasons, want)
	}
}

func TestParentage(t *testing.T) {
	for _, c := range []struct {
		cell string
		want Parentage
	}{
		{"", Parentage{}},
		{"404:812:imap-login", Parentage{404, 812, "imap-login"}},
		{"3:1:", Parentage{3, 1, ""}},
		{`3:7:kworker/0\x3a1`, Parentage{3, 7, `kworker/0\x3a1`}},
	} {
		var p Parentage
		if err := p.UnmarshalCSV(c.cell); err != nil || p != c.want {
			t.Errorf("%q: %+v, %v; want %+v", c.cell, p, err, c.want)
		}
		if p.String() != c.cell {
			t.Errorf("%q: written %q", c.cell, p.String())
		}
	}
	if got := (Parentage{3, 7, "kworker/0:1"}).String(); got != `3:7:kworker/0\x3a1` {
		t.Errorf("a colon in the name: %q", got)
	}
	for _, cell := range []string{"x", "1:2", "1:2:a:b", "-1:2:a", "1:x:a"} {
		var p Parentage
		if err := p.UnmarshalCSV(cell); err == nil {
			t.Errorf("%q: %+v; want an error", cell, p)
		}
	}
}

// People read a message with its own commas; what isn't prose stays as the stream has it.
func TestProse(t *testing.T) {
	for text, want := range map[string]string{
		"no input, not even a header; the stage before failed": "no input, not even a header; the stage before failed",
		"a,b: no such file": `a\x2cb: no such file`,
		"a\n, b":            `a\x0a, b`,
	} {
		if got := Prose(EscapeMessage(text)); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
	if escaped := `a\\x2c b`; Prose(escaped) != escaped {
		t.Errorf("an escaped backslash is undone: %s", Prose(escaped))
	}
}
