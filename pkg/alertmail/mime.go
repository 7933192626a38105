package alertmail

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"
)

// envelope returns a mail with the line ends of Unix. It is marked so that programs don't
// answer it: RFC 3834, 5, and what older programs and Exchange look at.
func envelope(from, replyTo string, to []string, subject string, now time.Time, id, references, text string) []byte {
	encoding := "7bit"
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		text, encoding = quotedPrintable(text), "quoted-printable"
	}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", from},
		{"Reply-To", replyTo},
		{"To", strings.Join(to, ",\n ")},
		{"Subject", encodedWords(subject)},
		{"Date", now.Format(time.RFC1123Z)},
		{"Message-ID", id},
		{"References", references},
		{"Auto-Submitted", "auto-generated"},
		{"Precedence", "bulk"},
		{"X-Auto-Response-Suppress", "All"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", encoding},
	} {
		if field[1] != "" { // a mailer chooses its own sender
			fmt.Fprintf(&b, "%s: %s\n", field[0], field[1])
		}
	}
	b.WriteString("\n" + text)
	return b.Bytes()
}

// encodedWords returns a header's text in ASCII, unchanged or in encoded words of RFC
// 2047, each on a line.
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
