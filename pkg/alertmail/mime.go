package alertmail

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode"
)

// mail returns the message as a mailer takes it.
func (m message) mail(to []string) []byte {
	return envelope(m.From, "", to, m.summary(), m.now, m.id, strings.Join(m.threads(), "\n "), m.body())
}

// envelope returns a mail with the line ends of Unix. It is marked as nothing that a
// program should answer: RFC 3834, 5, and what older programs and Exchange look at.
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
		if field[1] != "" { // a mailer knows its own sender
			fmt.Fprintf(&b, "%s: %s\n", field[0], field[1])
		}
	}
	b.WriteString("\n" + text)
	return b.Bytes()
}

// threads returns for each row shown the id of a mail that never was, the root of
// all mails about that storm: mail programs then show them as one thread. Where the
// storm's start isn't known the day stands for it. The oldest storm is the first,
// for what stands before another becomes its parent.
func (m message) threads() (ids []string) {
	all := slices.Clone(m.worst)
	slices.SortStableFunc(all, func(a, b item) int { return a.went().since.Compare(b.went().since) })
	for _, t := range all {
		since := t.went().since
		start := since.UTC().Format(time.RFC3339)
		if since.IsZero() {
			start = m.now.Format(time.DateOnly)
		}
		who, proc, host := t.named()
		if s, isStorm := t.topic.(*storm); isStorm {
			who = s.who()
		}
		sum := sha256.Sum256([]byte(strings.Join([]string{host, who, proc, start}, "\x00")))
		id := fmt.Sprintf("<stormcheck.%x@%s>", sum[:12], m.Host)
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
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
