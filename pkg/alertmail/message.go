package alertmail

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
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
	maxPage    = 140
)

// indent is what all stands at that is about a row.
const indent = "        "

// A message is what is reported at once.
type message struct {
	Options
	digest
	now      time.Time
	id       string     // its Message-ID
	page     bool       // one short line
	excerpts [][]string // of logs, below each of the worst
}

// body returns the message as people read it.
func (m message) body() string {
	if m.page {
		return m.subjectLine(maxPage) + "\n"
	}
	return m.text()
}

// text returns the message in SPEC's layout, the original's.
func (m message) text() string {
	var b strings.Builder
	_, _, host := m.worst[0].names()
	for _, line := range []string{m.Title, m.now.Format(time.ANSIC), host} {
		line = clip(rows.Printable(line), maxLine)
		fmt.Fprintf(&b, "%*s%s\n", max(0, width-utf8.RuneCountInString(line))/2, "", line)
	}
	fmt.Fprintf(&b, "\n%s:\n", m.level())
	fmt.Fprintf(&b, "    %s\n", clip(rows.Printable(m.Name), maxLine))
	fmt.Fprintf(&b, "        %s\n", clip(rows.Printable(m.Task), maxLine))

	share := (maxText - b.Len()) / len(m.worst)
	blocks := make([]string, len(m.worst))
	room := maxText - b.Len()
	for i, t := range m.worst {
		blocks[i] = block(t.lines(m, host), share)
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

// lines returns the row and then what was done about it, in words. here is the
// host of the heading.
func (s *storm) lines(m message, here string) []string {
	row := fmt.Sprintf("%4d %s", s.count, s.name())
	if !s.lasts() {
		row = "over " + s.name()
	}
	if s.host != here {
		row += " on " + s.host
	}
	lines := append([]string{row}, s.story(m)...)
	for _, path := range parts(s.archived, ":") {
		lines = append(lines, "saved user mail file as "+path)
	}
	end, faults := s.end()
	lines = append(lines, end...)
	for _, note := range parts(s.notes, "; ") {
		note = strings.TrimPrefix(note, "mailarchive: ")
		note = strings.TrimPrefix(note, "killstorm: ")
		lines = append(lines, note)
	}
	for _, fault := range faults {
		lines = append(lines, "FAILED "+fault)
	}
	return slices.Compact(lines) // both may note "not this host"
}

// who returns the user, and behind a user whom a process title names the account that
// the processes run as.
func (s *storm) who() string {
	if s.account == "" {
		return s.user
	}
	return s.user + " (" + s.account + ")"
}

// name returns who it is and the process. Of no process the name can be "", for
// quotes are escaped.
func (s *storm) name() string {
	if s.proc == "" {
		return s.who() + ` ""`
	}
	return s.who() + " " + s.proc
}

// course says in a line how the topic went, if that is known. counts are of its
// processes.
func (m message) course(c *course, host string, counts ...string) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	switch {
	case c.since.IsZero():
	case !c.lasts() && c.seen.After(c.since):
		say("lasted %s, from %s to %s", span(c.seen.Sub(c.since)), clock(c.since, m.now), clock(c.seen, m.now))
	case !c.lasts():
		say("seen once, at %s", clock(c.since, m.now))
	case m.now.Sub(c.since) >= time.Second:
		say("first seen %s, %s ago", clock(c.since, m.now), span(m.now.Sub(c.since)))
	}
	if !c.lasts() && c.missed < m.OverAfter {
		say("nothing heard of %s since", host)
	}
	if c.lasts() && !c.since.IsZero() && !c.here {
		say("last seen %s", clock(c.seen, m.now))
	}
	return parts(strings.Join(append(said, counts...), "; "), "\n")
}

// story says how the storm went, if that is known.
func (s *storm) story(m message) []string {
	var counts []string
	if s.peak > s.count || !s.lasts() {
		counts = append(counts, fmt.Sprintf("peak %d", s.peak))
	}
	if s.recent.Known && s.lasts() && (s.here || s.since.IsZero()) {
		counts = append(counts, fmt.Sprintf("%d started in the last minute", s.recent.N))
	}
	lines := m.course(&s.course, s.host, counts...)
	if now := s.killed.N; s.total > now || s.total > 0 && !s.acted {
		lines = append(lines, fmt.Sprintf("%d killed in %s since %s", s.total, counted(s.kills, "run", "s"), minute(s.firstKill, m.now)))
	}
	return lines
}

// clock returns when t was, in the zone of now.
func clock(t, now time.Time) string { return local(t, now, "15:04:05") }

// minute is clock without seconds.
func minute(t, now time.Time) string { return local(t, now, "15:04") }

func local(t, now time.Time, layout string) string {
	t = t.In(now.Location())
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		layout = "Jan _2 " + layout
	}
	return t.Format(layout)
}

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

// resistance is what killstorm says of those that remain.
var resistance = regexp.MustCompile(`^killstorm: [0-9]+ remaining(?:: (.*))?$`)

// end says what killstorm did to the processes, nothing where it ended none and none
// remained: its note says why. It returns the faults that are not said by that.
func (s *storm) end() (lines, faults []string) {
	faults = parts(s.errors, "; ")
	what := s.name()
	switch {
	case !s.acted || s.killed.N == 0 && s.remaining.N == 0:
		return nil, faults
	case s.remaining.Known && s.remaining.N == 0 && !s.unsure:
		return []string{"killed all " + what + " processes"}, faults
	case s.remaining.N == 0:
		return []string{"killed " + counted(s.killed.N, what+" process", "es")}, faults
	}
	why := ""
	for _, fault := range faults {
		if match := resistance.FindStringSubmatch(fault); match != nil && match[1] != "" {
			why = " (" + strings.ReplaceAll(match[1], " and ", ", ") + ")"
		}
	}
	faults = slices.DeleteFunc(faults, resistance.MatchString)
	if !s.killed.Known {
		return []string{counted(s.remaining.N, what+" process", "es") + " remaining" + why}, faults
	}
	return []string{fmt.Sprintf("killed %s, %d remaining%s", counted(s.killed.N, what+" process", "es"), s.remaining.N, why)}, faults
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

// subjectLine names the worst row and what became of it, in at most so many bytes.
// If it is too long the names give way.
func (m message) subjectLine(most int) string {
	t, more := m.worst[0].topic, m.total-1
	end := ""
	if _, isBroken := t.(*breakdown); isBroken && len(m.worst) > 1 {
		t = m.worst[1].topic
		if m.broken {
			more, end = more-1, ", input broken"
		}
	}
	if more > 0 {
		end += fmt.Sprintf(" +%d more", more)
	}
	what, became := t.headline()
	names := m.level() + " " + what
	// A name could otherwise be an encoded word, which shows whatever it likes.
	names = strings.ReplaceAll(names, "=?", `=\x3f`)
	return clip(names, most-len(became+end)) + became + end
}

// headline returns the row, and what became of it.
func (s *storm) headline() (what, became string) {
	what = fmt.Sprintf("%s: %d %s", s.host, s.count, s.name())
	if !s.lasts() {
		what = fmt.Sprintf("%s: %s over", s.host, s.name())
	}
	switch {
	case !s.lasts() && s.total > 0:
		became = fmt.Sprintf(", %d killed", s.total)
	case s.acted && s.remaining.N > 0:
		became = fmt.Sprintf(", %d remaining", s.remaining.N)
	case s.acted && s.killed.N > 0 && (s.unsure || !s.remaining.Known):
		became = fmt.Sprintf(", %d killed", s.killed.N)
	case s.acted && s.killed.N > 0:
		became = ", killed"
	case s.acted && s.total > 0:
		became = fmt.Sprintf(", %d killed before", s.total)
	case s.errors != "":
		became = ", failed"
	}
	return what, became
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
