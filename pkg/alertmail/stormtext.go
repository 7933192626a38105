package alertmail

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

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
	switch fate := s.newFate(); {
	case fate == someLeft && !s.killed.Known:
		return fmt.Sprintf("%d LEFT", s.remaining.N)
	case fate == someLeft:
		return fmt.Sprintf("killed %d, %d LEFT", s.killed.N, s.remaining.N)
	case fate == someEnded:
		return fmt.Sprintf("killed %d", s.killed.N)
	case fate == allEnded:
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

// noted returns what became of the processes, if a note of killstorm says it.
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

// spared reports whether killstorm worked on the row and left its processes alone.
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

// lines returns the row and then one fact a line: how it was seen, who started it, what
// was done, what is left, what failed. here is the host of the heading.
func (s *storm) lines(l *layout, here string) []string {
	row := fmt.Sprintf("%4d %s", s.count, s.name())
	if !s.lasts() {
		row = "over " + s.name()
	}
	if s.host != here {
		row += " on " + s.host
	}
	lines := append([]string{row}, s.story(l)...)
	lines = append(lines, s.origin(l)...)
	for _, path := range parts(s.archived, ":") {
		lines = append(lines, "saved user mail file as "+path)
	}
	copies, notes, done := s.remarks(l)
	lines = append(lines, copies...)
	faults := rows.ParseMessages(s.errors)
	if done == "" {
		done, faults = s.deed(faults)
	}
	if done != "" {
		lines = append(lines, done)
	}
	lines = append(lines, notes...)
	for _, fault := range faults {
		lines = append(lines, "FAILED "+rows.Prose(fault.String()))
	}
	return slices.Compact(lines) // both may note "not this host"
}

// who returns the user. After a user that a process title names it adds the account that
// the processes run as.
func (s *storm) who() string {
	if s.account == "" {
		return s.user
	}
	return s.user + " (" + s.account + ")"
}

// name returns the user and the process. No process can be named "", because quotes are
// escaped.
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

// story says how the storm went, if that is known.
func (s *storm) story(l *layout) []string {
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
	lines := s.course.lines(l, s.host, counts...)
	if bars := s.samples.bars(l); bars != "" {
		lines = append(lines, fmt.Sprintf("%s, peak %d", bars, s.peak))
	}
	if now := s.killed.N; s.total > now || s.total > 0 && !s.acted {
		lines = append(lines, fmt.Sprintf("%d killed in %s since %s", s.total, counted(s.kills, "run", "s"), l.show(s.firstKill)))
	}
	return lines
}

// origin says which process started the storm's, when, and which of them are zombies.
func (s *storm) origin(l *layout) (lines []string) {
	if !s.lasts() || !s.here && !s.since.IsZero() {
		return nil
	}
	if s.zombies.N > 0 {
		lines = append(lines, s.undead())
	}
	if s.parent.Name != "" || s.parent.PID > 0 {
		lines = append(lines, s.startedBy(l))
	}
	if !s.oldest.IsZero() {
		age := max(0, l.now.Sub(s.oldest))
		lines = append(lines, fmt.Sprintf("the oldest started %s, %s ago", l.show(s.oldest), span(age)))
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

// startedBy names the most frequent parent, since when it runs, and of how many if not of all.
func (s *storm) startedBy(l *layout) string {
	share := ""
	if s.parent.Count < s.count {
		share = fmt.Sprintf("%d of %d ", s.parent.Count, s.count)
	}
	if s.parent.PID == 1 || slices.Contains(subreapers, s.parent.Name) {
		return fmt.Sprintf("%sorphaned, or started by %s", share, s.parent.Name)
	}
	since := ""
	if !s.parent.since.IsZero() {
		since = ", since " + l.show(s.parent.since)
	}
	return fmt.Sprintf("%sstarted by %s (PID %d%s)", share, s.parent.Name, s.parent.PID, since)
}

// remarks returns the notes in words, those on copies apart, and what was done if a note
// says it.
func (s *storm) remarks(l *layout) (copies, notes []string, done string) {
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
			copies = append(copies, fmt.Sprintf("%s unchanged since the copy of %s", box, l.show(unchanged)))
		case note.Tool == mailarchive && isChanged:
			copies = append(copies, fmt.Sprintf("%s changed since the copy of %s, and isn't copied again yet", box, l.show(changed)))
		case note.Tool == killstorm && isPaused:
			notes = append(notes, "paused until "+l.show(until))
		case note.Tool == killstorm && isTrimmed:
			done = fmt.Sprintf("ended the %d oldest of %d %s, %d left", n, all, s.name(), left)
		case note.Tool == mailarchive, note.Tool == killstorm:
			notes = append(notes, rows.Prose(note.Text))
		default:
			notes = append(notes, rows.Prose(note.String()))
		}
	}
	return copies, notes, done
}

// deed says what killstorm did to the processes, nothing if it ended none and none
// remained: its note says why. It returns the faults that are not said by that.
func (s *storm) deed(all []rows.Message) (done string, faults []rows.Message) {
	what := s.name()
	switch s.newFate() {
	case untouched:
		return "", all
	case allEnded:
		return "killed all " + what + " processes", all
	case someEnded:
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

// steps say how to look at the storm, how to end it, and how to exempt it from the
// limits.
func (s *storm) steps() (steps []string) {
	add := func(what string, lines ...string) {
		for _, line := range lines {
			steps = append(steps, what+strings.Repeat(" ", 8-len(what))+line)
			what = ""
		}
	}
	if look := s.look(); look != "" {
		add("look:", strings.Split(look, "\n")...)
	}
	isOne := s.proc != "*" && s.proc != anyName
	if isOne && s.fate() != allEnded && isSafe(s.user) && isSafe(s.proc) {
		add("end:", "stormcheck --end "+s.user+"/"+s.proc)
	}
	switch {
	case s.proc == "*":
		add("exempt:", "a row "+quoteGlob(s.user)+",total")
	case isOne && s.proc != "":
		add("exempt:", "a row "+quoteGlob(s.user)+","+quoteGlob(s.proc))
	case s.proc == anyName:
		add("exempt:", "a row "+quoteGlob(s.user)+",*")
	}
	if s.proc != "" {
		add("", "in /etc/stormcheck/limits.d/00-off.csv, with the header user,proc")
	}
	add("read:", "man stormcheck")
	return steps
}

// look returns commands that show more of the storm. They have only plain names, because
// somebody will paste them into a shell.
func (s *storm) look() string {
	who := s.uid
	if _, err := rows.ParseNumber(who); err != nil {
		if who = s.user; !isSafe(who) {
			return ""
		}
	}
	commands := "ps -u " + who + " -o pid,ppid,stat,lstart,wchan:20,args"
	if isSafe(s.proc) && !strings.ContainsAny(s.proc, ".+") { // pgrep takes a regular expression
		commands += "\npgrep -c -u " + who + " -x " + s.proc
	}
	return commands
}

// quoteGlob returns the pattern of a limits row that matches this name alone.
func quoteGlob(name string) string {
	var b strings.Builder
	for i, r := range name {
		if strings.ContainsRune(`*?[]{}|\`, r) || i == 0 && r == '#' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
