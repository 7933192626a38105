package alertmail

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stormcheck/pkg/rows"
)

// levels are those that a message can have, the gravest first.
var levels = []string{"emergency", "urgent", "critical", "error", "warning", "notice", "info", "debug"}

// A message is what is reported at once.
type message struct {
	Options
	digest
	now      time.Time
	id       string     // its Message-ID
	page     bool       // the summary alone
	withheld int64      // mails to owners that were not sent
	excerpts [][]string // of logs, below each of the worst
}

func newMessage(o Options, d digest, now time.Time) message {
	return message{Options: o, digest: d, now: now}
}

// layout returns how a text of the message looks.
func (m message) layout() *layout {
	return &layout{now: m.now, ascii: m.ASCII, overAfter: m.OverAfter}
}

// body returns the message as people read it. The summary comes first, so that a phone
// shows it.
func (m message) body() string {
	if m.page {
		return m.summary() + "\n"
	}
	text := m.summary() + "\n\n" + m.text()
	if m.ASCII {
		text = strings.ReplaceAll(text, "…", "~")
	}
	return text
}

// text returns what stands below the summary, in the original's layout.
func (m message) text() string {
	l := m.layout()
	var b strings.Builder
	_, _, host := m.worst[0].named()
	for _, line := range []string{m.Title, m.now.Format(time.ANSIC), host} {
		line = rows.Clip(rows.Printable(line), maxLine)
		fmt.Fprintf(&b, "%*s%s\n", max(0, width-utf8.RuneCountInString(line))/2, "", line)
	}
	fmt.Fprintf(&b, "\n%s:\n", m.level())
	fmt.Fprintf(&b, "    %s\n", rows.Clip(rows.Printable(m.Name), maxLine))
	fmt.Fprintf(&b, "        %s\n", rows.Clip(rows.Printable(m.Task), maxLine))

	share := (maxText - b.Len()) / len(m.worst)
	blocks := make([]string, len(m.worst))
	room := maxText - b.Len()
	for i, t := range m.worst {
		blocks[i] = block(t.lines(l, host), share)
		room -= len(blocks[i])
	}
	for i := range blocks {
		b.WriteString(blocks[i])
		if i < len(m.excerpts) { // what was done comes first: logs have what room is left
			quoted := excerpt(m.excerpts[i], room)
			b.WriteString(quoted)
			room -= len(quoted)
		}
	}
	if more := m.total - int64(len(m.worst)); more > 0 {
		fmt.Fprintf(&b, "\n%sand %s\n", indent, counted(more, "more row", "s"))
	}
	if m.withheld > 0 {
		fmt.Fprintf(&b, "\n%s%s\n", indent, m.withholding())
	}
	return b.String() + m.next()
}

// block returns the lines about a row, after an empty one, in at most size bytes.
func block(lines []string, size int) string {
	const more = indent + "and more\n"
	longest := min(maxLine, size/3) // so that one long note doesn't hide the errors after it
	b := "\n"
	for _, line := range lines {
		line = indent + rows.Clip(line, longest) + "\n"
		if len(b)+len(line)+len(more) > size {
			return b + more
		}
		b += line
	}
	return b
}

// excerpt returns lines of logs, marked as such, the newest that fit into size bytes.
func excerpt(lines []string, size int) (b string) {
	for _, line := range slices.Backward(lines) {
		line = indent + "| " + line + "\n"
		if len(b)+len(line) > size {
			break
		}
		b = line + b
	}
	return b
}

// level returns the level, in upper case.
func (m message) level() string {
	level := m.Level
	switch {
	case level != "":
	case m.urgent:
		level = "urgent"
	case m.broken:
		level = "error"
	case m.lasts:
		level = "warning"
	default: // all is over
		level = "notice"
	}
	return strings.ToUpper(level)
}

// mail returns the message as a mailer takes it.
func (m message) mail(to []string) []byte {
	return envelope(m.From, "", to, m.summary(), m.now, m.id, strings.Join(m.threads(), "\n "), m.body())
}

// threads returns for each row shown the id of a mail that was never sent. It is the root
// of all mails about that storm, so mail programs show them as one thread. If the storm's
// start isn't known, the id has the day. The oldest storm comes first, because each id
// becomes the parent of the next.
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

// next says at the end of a message what to do next about its worst topic that lasts.
func (m message) next() string {
	for _, t := range m.worst {
		if !t.went().lasts() {
			continue
		}
		_, _, host := t.named()
		lines := "\nWhat to do next, on " + host + ":\n"
		for _, step := range t.steps() {
			lines += "    " + step + "\n"
		}
		return lines
	}
	return ""
}

// summary returns the worst topic and what became of it in a line. If it is too long
// the names are cut.
func (m message) summary() string {
	end := ""
	if more := m.total - 1; more > 0 {
		end = fmt.Sprintf(" (and %d more)", more)
	}
	line := ""
	for longest := maxSummary; longest >= 4; longest-- {
		// A name could otherwise be an encoded word, which shows whatever it likes.
		line = strings.ReplaceAll(m.worst[0].summary(longest, m.now), "=?", `=\x3f`)
		if m.DryRun { // whatever KILL says
			line = strings.Replace(line, notKilled, "NOT killed (dry run)", 1)
		}
		if columnsIn(line+end) <= maxSummary {
			break
		}
	}
	return cut(line, maxSummary-columnsIn(end)) + end
}

// withholding says in the administrator's mail how many owners got none.
func (m message) withholding() string {
	what := counted(m.withheld, "mails to owners were not sent", "")
	if m.withheld == 1 {
		what = "1 mail to an owner was not sent"
	}
	return fmt.Sprintf("%s: at most one a day for each account, and %d an hour", what, ownersAHour)
}
