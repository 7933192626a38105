package alertmail

import (
	"fmt"
	"path"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// Tools whose messages a storm's words depend on.
const (
	mailarchive = "mailarchive"
	killstorm   = "killstorm"
)

// maxSummary is how long a summary is, in columns of a terminal.
const maxSummary = 78

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

// summary says whether the host's rows can be read, and what is wrong.
func (b *breakdown) summary(_ int, _ time.Time) string {
	if !b.lasts() {
		return "stormcheck on " + b.host + " works again"
	}
	text := "stormcheck on " + b.host + " is not working"
	if reasons := parts(b.reasons, "; "); len(reasons) > 0 {
		text += ": " + reasons[0]
	}
	return text
}

// summary returns the row and what became of it. No name in it is longer than so many
// columns.
func (s *storm) summary(longest int, now time.Time) string {
	who, program, host := cut(s.user, longest), cut(s.program(), longest), cut(s.host, longest)
	if s.account != "" {
		who += " (" + cut(s.account, longest) + ")"
	}
	what := fmt.Sprintf("%d %s %s on %s", s.count, who, program, host)
	if !s.lasts() {
		what = fmt.Sprintf("%s %s on %s", who, program, host)
	} else if s.churns {
		what = fmt.Sprintf("%s %s %s started in a minute on %s", grouped(s.started.N), who, program, host)
	}
	became := s.outcome(longest, now)
	mail := s.mailWords(now)
	if mail == mailLost && s.total > 0 && s.oversized() {
		what, mail = mail+": "+what, ""
	}
	if mail != "" && became != "" {
		became += ", "
	}
	if became += mail; became != "" {
		what += ": " + became
	}
	return what
}

// outcome says what became of the processes, nothing if nothing was to be done.
func (s *storm) outcome(longest int, now time.Time) string {
	switch {
	case !s.lasts() && s.total > 0:
		return fmt.Sprintf("over, %d killed", s.total)
	case !s.lasts():
		return "over"
	}
	if text := s.noted(now); text != "" {
		return text
	}
	switch {
	case s.acted && s.remaining.N > 0 && !s.killed.Known:
		return fmt.Sprintf("%d LEFT", s.remaining.N)
	case s.acted && s.remaining.N > 0:
		return fmt.Sprintf("killed %d, %d LEFT", s.killed.N, s.remaining.N)
	case s.acted && s.killed.N > 0 && (s.unsure || !s.remaining.Known):
		return fmt.Sprintf("killed %d", s.killed.N)
	case s.acted && s.killed.N > 0:
		return "killed"
	case s.isDue(rows.ActionKill) && s.spared():
		return "NOT killed"
	case s.acted && s.total > 0:
		return fmt.Sprintf("%d killed before", s.total)
	case s.errors != "":
		return "FAILED"
	case s.churns:
		return fmt.Sprintf("%d alive", s.count-s.zombies.N)
	case s.zombies.N*2 > s.count:
		text := fmt.Sprintf("%d are zombies", s.zombies.N)
		if s.parent.Name != "" {
			text += fmt.Sprintf(" of %s (PID %d)", cut(s.parent.Name, longest), s.parent.PID)
		}
		return text
	}
	return ""
}

// notKilled is said of a storm that killstorm's own dry run has left alone.
const notKilled = "NOT killed (KILL=no)"

// noted says what a note of killstorm says became of the processes.
func (s *storm) noted(now time.Time) string {
	for _, note := range rows.ParseMessages(s.notes) {
		if note.Tool != killstorm {
			continue
		}
		if n, _, left, ok := rows.ParseTrimmed(note.Text); ok {
			return fmt.Sprintf("ended the %d oldest, %d left", n, left)
		}
		if _, ok := rows.ParseWouldKill(note.Text); ok {
			return notKilled
		}
		if until, ok := rows.ParsePaused(note.Text); ok {
			return "paused until " + shortTime(until, now)
		}
		if file, ok := rows.ParsePathChanged(note.Text); ok {
			return fmt.Sprintf("NOT killed (%s has changed)", path.Base(file))
		}
		if place, ok := rows.ParseUnfit(note.Text); ok {
			return fmt.Sprintf("NOT killed (%s unfit)", place)
		}
		if n, _, ok := rows.ParseSubsided(note.Text); ok && s.killed.N == 0 {
			return fmt.Sprintf("subsided to %d", n)
		}
	}
	return ""
}

// spared reports whether killstorm had the row in hand and left its processes alone.
func (s *storm) spared() bool {
	if s.killed.N > 0 {
		return false
	}
	for _, m := range append(rows.ParseMessages(s.notes), rows.ParseMessages(s.errors)...) {
		if m.Tool == killstorm && m.Text != rows.NotThisHost {
			return true
		}
	}
	return false
}

const mailLost = "mail NOT saved"

// mailWords says what became of the account's mail file.
func (s *storm) mailWords(now time.Time) string {
	switch s.mail {
	case rows.NoMail:
		return "no mbox"
	case rows.MailSaved:
		return "mail saved"
	case rows.MailOutdated:
		return "mail of " + shortTime(s.mailOf, now) + " saved"
	case rows.MailTorn:
		return "copy may be torn"
	case rows.MailNotSaved:
		return mailLost
	}
	return ""
}

// oversized reports whether the mail wasn't saved because of its size.
func (p *pending) oversized() bool {
	for _, m := range rows.ParseMessages(p.errors) {
		if _, ok := rows.ParseOversized(m.Text); ok && m.Tool == mailarchive {
			return true
		}
	}
	return false
}
