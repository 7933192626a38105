package rows

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns b as the stream shows it: a backslash as \\, and each byte of
// what isn't printable UTF-8 (unicode.IsPrint), each comma and each double
// quote as \xNN in lower-case hex. The result never needs CSV quoting and holds
// no control character. Unescape undoes it.
func Escape(b string) string {
	return escape(b, func(r rune) bool { return r == ',' || r == '"' || r == '\\' })
}

// EscapeName is Escape for the name of a user or a process: a name that is just "*"
// becomes \x2a, and one that is just "?" \x3f. A plain * in the proc column stands
// for all of a user's processes, and a plain ? for a gap.
func EscapeName(name string) string {
	switch name {
	case "*":
		return `\x2a`
	case gapName:
		return `\x3f`
	}
	return Escape(name)
}

// Printable returns s with each byte of what isn't printable UTF-8 as \xNN and all else
// unchanged. It is for text for a terminal or a mail, which may hold cells that are
// escaped already.
func Printable(s string) string {
	return escape(s, func(rune) bool { return false })
}

// EscapeMessage returns s fit for the notes and errors cells: printable, on one line,
// commas and semicolons, which separate cells and messages, as \xNN, and double
// quotes as single ones.
func EscapeMessage(s string) string {
	return escape(strings.ReplaceAll(s, `"`, "'"), func(r rune) bool { return r == ',' || r == ';' })
}

// Prose returns a message of the stream as people read it: commas and semicolons that a
// blank follows, which EscapeMessage has escaped, as themselves.
func Prose(message string) string { return prose.Replace(message) }

var prose = strings.NewReplacer(`\\`, `\\`, `\x2c `, ", ", `\x3b `, "; ")

func escape(s string, special func(rune) bool) string {
	plain := func(r rune, size int) bool {
		return (r != utf8.RuneError || size > 1) && unicode.IsPrint(r) && !special(r)
	}
	clean := true
	for i := 0; i < len(s) && clean; {
		r, size := utf8.DecodeRuneInString(s[i:])
		clean = plain(r, size)
		i += size
	}
	if clean {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case plain(r, size):
			out.WriteString(s[i : i+size])
		case r == '\\':
			out.WriteString(`\\`)
		default:
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&out, `\x%02x`, c)
			}
		}
		i += size
	}
	return out.String()
}

// Unescape returns the bytes that Escape or EscapeName was given. A backslash
// that begins neither \\ nor \xNN (lower-case hex) is an error.
func Unescape(cell string) (string, error) {
	if !strings.Contains(cell, `\`) {
		return cell, nil
	}
	out := make([]byte, 0, len(cell))
	for i := 0; i < len(cell); i++ {
		switch rest := cell[i:]; {
		case cell[i] != '\\':
			out = append(out, cell[i])
		case strings.HasPrefix(rest, `\\`):
			out = append(out, '\\')
			i++
		case len(rest) >= 4 && rest[1] == 'x' && isHex(rest[2]) && isHex(rest[3]):
			out = append(out, unhex(rest[2])<<4|unhex(rest[3]))
			i += 3
		default:
			return "", fmt.Errorf("bad escape in %q", cell)
		}
	}
	return string(out), nil
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'a' + 10
}

// Clip cuts s to at most size bytes, at the end of a character, and shows that it did.
func Clip(s string, size int) string {
	if len(s) <= size {
		return s
	}
	const mark = "..."
	size -= len(mark)
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size] + mark
}
