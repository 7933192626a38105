package alertmail

import (
	"fmt"
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
	width   = 74       // what the heading is centred in
	maxLine = 880      // a line without its indent
	maxText = 62 << 10 // all but what stands at the end
)

// indent is what all stands at that is about a row.
const indent = "        "

// A message is what is reported at once.
type message struct {
	Options
	digest
	now      time.Time
	id       string     // its Message-ID
	page     bool       // the summary alone
	withheld int64      // mails to owners that were not sent
	excerpts [][]string // of logs, below each of the worst
	face     *clockFace
}

func newMessage(o Options, d digest, now time.Time) message {
	return message{Options: o, digest: d, now: now, face: &clockFace{now: now}}
}

// body returns the message as people read it: first the summary, so that a telephone
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
	m.face = &clockFace{now: m.now}
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
	if m.withheld > 0 {
		fmt.Fprintf(&b, "\n%s%s\n", indent, m.withholding())
	}
	return b.String() + m.next()
}

// block returns the lines about a row, after an empty one, in at most size bytes.
func block(lines []string, size int) string {
	const more = indent + "and more\n"
	longest := min(maxLine, size/3) // so that one long note doesn't hide the errors behind it
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

// lines returns the row and then one fact a line: how it was seen, who started it, what
// was done, what is left, what failed. here is the host of the heading.
func (s *storm) lines(m message, here string) []string {
	row := fmt.Sprintf("%4d %s", s.count, s.name())
	if !s.lasts() {
		row = "over " + s.name()
	}
	if s.host != here {
		row += " on " + s.host
	}
	lines := append([]string{row}, s.story(m)...)
	lines = append(lines, s.origin(m)...)
	for _, path := range parts(s.archived, ":") {
		lines = append(lines, "saved user mail file as "+path)
	}
	notes, done := s.remarks(m)
	faults := rows.ParseMessages(s.errors)
	if done == "" {
		done, faults = s.fate(faults)
	}
	if done != "" {
		lines = append(lines, done)
	}
	lines = append(lines, notes...)
	for _, fault := range faults {
		lines = append(lines, "FAILED "+fault.String())
	}
	return slices.Compact(lines) // both may note "not this host"
}

// who returns the user, and behind a user that a process title names the account that
// the processes run as.
func (s *storm) who() string {
	if s.account == "" {
		return s.user
	}
	return s.user + " (" + s.account + ")"
}

// name returns the user and the process. Of no process the name can be "", for
// quotes are escaped.
func (s *storm) name() string { return s.who() + " " + s.program() }

func (s *storm) program() string {
	switch s.proc {
	case "":
		return `""`
	case anyName:
		return fmt.Sprintf("processes of %s", counted(s.others, "other name", "s"))
	}
	return s.proc
}

// course says in a line how the topic went, if that is known. counts are of its
// processes.
func (m message) course(c *course, host string, counts ...string) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	switch {
	case c.since.IsZero():
	case !c.lasts() && c.seen.After(c.since):
		say("lasted %s, from %s to %s", span(c.seen.Sub(c.since)), m.face.show(c.since), m.face.show(c.seen))
	case !c.lasts():
		say("seen once, at %s", m.face.show(c.since))
	case m.now.Sub(c.since) >= time.Second:
		say("first seen %s, %s ago", m.face.show(c.since), span(m.now.Sub(c.since)))
	}
	if !c.lasts() && c.missed < m.OverAfter {
		say("nothing heard of %s since", host)
	}
	if c.lasts() && !c.since.IsZero() && !c.here {
		say("last seen %s", m.face.show(c.seen))
	}
	return parts(strings.Join(append(said, counts...), "; "), "\n")
}

// story says how the storm went, if that is known.
func (s *storm) story(m message) []string {
	var counts []string
	isHere := s.lasts() && (s.here || s.since.IsZero())
	if s.peak > s.count || !s.lasts() {
		counts = append(counts, fmt.Sprintf("peak %d", s.peak))
	}
	if isHere && s.started.Known {
		counts = append(counts, fmt.Sprintf("%s started in the last minute, %d alive", grouped(s.started.N), s.count-s.zombies.N))
	} else if isHere && s.recent.Known {
		counts = append(counts, fmt.Sprintf("%d started in the last minute", s.recent.N))
	}
	lines := m.course(&s.course, s.host, counts...)
	if bars := s.samples.bars(m.face, m.ASCII); bars != "" {
		lines = append(lines, fmt.Sprintf("%s, peak %d", bars, s.peak))
	}
	if now := s.killed.N; s.total > now || s.total > 0 && !s.acted {
		lines = append(lines, fmt.Sprintf("%d killed in %s since %s", s.total, counted(s.kills, "run", "s"), m.face.show(s.firstKill)))
	}
	return lines
}

// origin says who started the processes, when, and which of them are zombies.
func (s *storm) origin(m message) (lines []string) {
	if !s.lasts() || !s.here && !s.since.IsZero() {
		return nil
	}
	if s.zombies.N > 0 {
		lines = append(lines, s.undead())
	}
	if s.parent.Name != "" || s.parent.PID > 0 {
		lines = append(lines, s.startedBy())
	}
	if !s.oldest.IsZero() {
		age := max(0, m.now.Sub(s.oldest))
		lines = append(lines, fmt.Sprintf("the oldest started %s, %s ago", m.face.show(s.oldest), span(age)))
	}
	return lines
}

// undead says how many processes are zombies, and whose.
func (s *storm) undead() string {
	text := "all are zombies"
	if s.zombies.N < s.count {
		text = counted(s.zombies.N, "are zombies", "")
		if s.zombies.N == 1 {
			text = "1 is a zombie"
		}
	}
	if s.parent.Name != "" {
		text += fmt.Sprintf(" of %s (PID %d)", s.parent.Name, s.parent.PID)
	}
	return text
}

// subreapers are programs that inherit the processes of others, so being their child
// doesn't say that they started it.
var subreapers = []string{"systemd", "conmon", "containerd-shim", "tini"}

// startedBy names the most frequent parent, and of how many if not of all.
func (s *storm) startedBy() string {
	share := ""
	if s.parent.Count < s.count {
		share = fmt.Sprintf("%d of %d ", s.parent.Count, s.count)
	}
	if s.parent.PID == 1 || slices.Contains(subreapers, s.parent.Name) {
		return fmt.Sprintf("%sorphaned, or started by %s", share, s.parent.Name)
	}
	return fmt.Sprintf("%sstarted by %s (PID %d)", share, s.parent.Name, s.parent.PID)
}

// remarks returns the notes in words, and what was done if a note says it.
func (s *storm) remarks(m message) (notes []string, done string) {
	for _, note := range rows.ParseMessages(s.notes) {
		box, text := "mailbox", note.Text
		if path, rest, found := strings.Cut(text, ": "); found && strings.HasPrefix(path, "/") {
			box, text = path, rest
		}
		unchanged, isUnchanged := rows.ParseUnchanged(text)
		changed, isChanged := rows.ParseChanged(text)
		until, isPaused := rows.ParsePaused(note.Text)
		n, all, left, isTrimmed := rows.ParseTrimmed(note.Text)
		switch {
		case note.Tool == mailarchive && isUnchanged:
			notes = append(notes, fmt.Sprintf("%s unchanged since the copy of %s", box, m.face.show(unchanged)))
		case note.Tool == mailarchive && isChanged:
			notes = append(notes, fmt.Sprintf("%s changed since the copy of %s, and isn't copied again yet", box, m.face.show(changed)))
		case note.Tool == killstorm && isPaused:
			notes = append(notes, "paused until "+m.face.show(until))
		case note.Tool == killstorm && isTrimmed:
			done = fmt.Sprintf("ended the %d oldest of %d %s, %d left", n, all, s.name(), left)
		case note.Tool == mailarchive, note.Tool == killstorm:
			notes = append(notes, note.Text)
		default:
			notes = append(notes, note.String())
		}
	}
	return notes, done
}

// fate says what killstorm did to the processes, nothing if it ended none and none
// remained: its note says why. It returns the faults that are not said by that.
func (s *storm) fate(all []rows.Message) (done string, faults []rows.Message) {
	what := s.name()
	switch {
	case !s.acted || s.killed.N == 0 && s.remaining.N == 0:
		return "", all
	case s.remaining.Known && s.remaining.N == 0 && !s.unsure:
		return "killed all " + what + " processes", all
	case s.remaining.N == 0:
		return "killed " + counted(s.killed.N, what+" process", "es"), all
	}
	reason := ""
	for _, fault := range all {
		_, why, isResistance := rows.ParseRemaining(fault.Text)
		if fault.Tool != killstorm || !isResistance {
			faults = append(faults, fault)
		} else if why != "" {
			reason = " (" + strings.ReplaceAll(why, " and ", ", ") + ")"
		}
	}
	if !s.killed.Known {
		return counted(s.remaining.N, what+" process", "es") + " remaining" + reason, faults
	}
	return fmt.Sprintf("killed %s, %d remaining%s", counted(s.killed.N, what+" process", "es"), s.remaining.N, reason), faults
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
