package alertmail

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stormcheck/pkg/rows"
)

// levels are those that a message can have, the gravest first.
var levels = []string{"emergency", "urgent", "critical", "error", "warning", "notice", "info", "debug"}

// Bounds of a message, in bytes. RFC 5322, 2.1.1, allows lines of 998.
const (
	width      = 74       // what the heading is centred in
	maxLine    = 880      // a line without its indent
	maxText    = 63 << 10 // all but the count of rows at the end
	maxSubject = 78
)

// indent is what all stands at that is about a row.
const indent = "        "

// A message is what is told at once.
type message struct {
	Options
	digest
	now time.Time
}

// text returns the message as people read it.
func (m message) text() string {
	var b strings.Builder
	host := m.worst[0].host
	for _, line := range []string{m.Title, m.now.Format(time.ANSIC), host} {
		line = clip(rows.Printable(line), maxLine)
		fmt.Fprintf(&b, "%*s%s\n", max(0, width-utf8.RuneCountInString(line))/2, "", line)
	}
	fmt.Fprintf(&b, "\n%s:\n", m.level())
	fmt.Fprintf(&b, "    %s\n", clip(rows.Printable(m.Name), maxLine))
	fmt.Fprintf(&b, "        %s\n", clip(rows.Printable(m.Task), maxLine))
	share := (maxText - b.Len()) / len(m.worst)
	for i := range m.worst {
		b.WriteString(block(m.worst[i].lines(host), share))
	}
	if more := m.total - int64(len(m.worst)); more > 0 {
		fmt.Fprintf(&b, "\n%sand %s\n", indent, counted(more, "more row", "s"))
	}
	return b.String()
}

// block returns the lines about a row, after an empty one, in at most size bytes.
func block(lines []string, size int) string {
	const more = indent + "and more\n"
	longest := min(maxLine, size/3) // so that one long note doesn't hide the errors behind it
	b := "\n"
	for _, line := range lines {
		line = indent + clip(line, longest) + "\n"
		if len(b)+len(line)+len(more) > size {
			return b + more
		}
		b += line
	}
	return b
}

// lines returns the row and then what was done about it, in words. here is the
// host of the heading.
func (s *storm) lines(here string) []string {
	row := fmt.Sprintf("%4d %s %s", s.count, s.user, s.proc)
	if s.host != here {
		row += " on " + s.host
	}
	lines := []string{row}
	for _, path := range parts(s.archived, ":") {
		lines = append(lines, "saved user mail file as "+path)
	}
	if end := s.end(); end != "" {
		lines = append(lines, end)
	}
	for _, note := range parts(s.notes, "; ") {
		note = strings.TrimPrefix(note, "mailarchive: ")
		note = strings.TrimPrefix(note, "killstorm: ")
		lines = append(lines, note)
	}
	for _, fault := range parts(s.errors, "; ") {
		lines = append(lines, "FAILED "+fault)
	}
	return slices.Compact(lines) // both may note "not this host"
}

// end says what killstorm did to the processes, "" where it ended none and none
// remained: its note says why.
func (s *storm) end() string {
	what := s.user + " " + s.proc
	switch {
	case s.killed.N == 0 && s.remaining.N == 0:
		return ""
	case s.remaining.Known && s.remaining.N == 0 && !s.unsure:
		return "killed all " + what + " processes"
	case s.remaining.N == 0:
		return "killed " + counted(s.killed.N, what+" process", "es")
	case !s.killed.Known:
		return counted(s.remaining.N, what+" process", "es") + " remaining"
	}
	return fmt.Sprintf("killed %s, %d remaining", counted(s.killed.N, what+" process", "es"), s.remaining.N)
}

// level returns the level, in upper case.
func (m message) level() string {
	level := m.Level
	switch {
	case level != "":
	case m.urgent:
		level = "urgent"
	default:
		level = "warning"
	}
	return strings.ToUpper(level)
}

// mail returns the message as a mailer takes it, with the line ends of Unix. It
// is marked as nothing that a program should answer: RFC 3834, 5, and what older
// programs and Exchange look at.
func (m message) mail() []byte {
	text, encoding := m.text(), "7bit"
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		text, encoding = quotedPrintable(text), "quoted-printable"
	}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", m.From},
		{"To", strings.Join(m.To, ",\n ")},
		{"Subject", encodedWords(m.subject())},
		{"Date", m.now.Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<stormcheck.%d.%d@%s>", m.now.UnixNano(), m.PID, m.Host)},
		{"Auto-Submitted", "auto-generated"},
		{"Precedence", "bulk"},
		{"X-Auto-Response-Suppress", "All"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", encoding},
	} {
		fmt.Fprintf(&b, "%s: %s\n", field[0], field[1])
	}
	b.WriteString("\n" + text)
	return b.Bytes()
}

// subject names the worst row and what became of it. Where it is too long the
// names give way.
func (m message) subject() string {
	s := &m.worst[0]
	names := fmt.Sprintf("%s %s: %d %s %s", m.level(), s.host, s.count, s.user, s.proc)
	// A name could otherwise be an encoded word, which shows whatever it likes.
	names = strings.ReplaceAll(names, "=?", `=\x3f`)
	end := ""
	switch {
	case s.remaining.N > 0:
		end = fmt.Sprintf(", %d remaining", s.remaining.N)
	case s.killed.N > 0 && (s.unsure || !s.remaining.Known):
		end = fmt.Sprintf(", %d killed", s.killed.N)
	case s.killed.N > 0:
		end = ", killed"
	case s.errors != "":
		end = ", failed"
	}
	if more := m.total - 1; more > 0 {
		end += fmt.Sprintf(" +%d more", more)
	}
	return clip(names, maxSubject-len(end)) + end
}

// encodedWords returns a header's text in ASCII, as it is or in encoded words of
// RFC 2047, each on a line.
func encodedWords(text string) string {
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", text), "?= =?", "?=\n =?")
}

// quotedPrintable returns text in the encoding of RFC 2045, 6.7.
func quotedPrintable(text string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a Builder takes all
	_ = w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

// parts splits a cell, and leaves out what is empty.
func parts(cell, separator string) []string {
	return slices.DeleteFunc(strings.Split(cell, separator), func(s string) bool { return s == "" })
}

// clip cuts s to at most size bytes, at the end of a character, and shows that
// it did.
func clip(s string, size int) string {
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

// counted returns "1 row" or "17 rows", by the ending of the plural.
func counted(n int64, what, plural string) string {
	if n == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d %s%s", n, what, plural)
}
