package rows

import (
	"fmt"
	"strings"
	"time"
)

// A Message is one remark in the notes, or one failure in the errors, of a row.
type Message struct {
	Tool string // the filter that wrote it; "" if it doesn't say
	Text string // as the stream has it; see EscapeMessage
}

// String returns the message as the cell has it.
func (m Message) String() string {
	if m.Tool == "" {
		return m.Text
	}
	return m.Tool + ": " + m.Text
}

// ParseMessages splits a cell of notes or errors.
func ParseMessages(cell string) (all []Message) {
	for part := range strings.SplitSeq(cell, "; ") {
		if part == "" {
			continue
		}
		tool, text, named := strings.Cut(part, ": ")
		if !named || strings.ContainsAny(tool, " /") {
			tool, text = "", part
		}
		all = append(all, Message{tool, text})
	}
	return all
}

// JoinMessages returns the cell that holds these messages.
func JoinMessages(all []Message) string {
	parts := make([]string, len(all))
	for i, m := range all {
		parts[i] = m.String()
	}
	return strings.Join(parts, "; ")
}

// Messages returns the messages in Notes or Errors.
func (r *Record) Messages(c Column) []Message { return ParseMessages(r.Get(c)) }

// Note adds a remark of the tool to the notes, which the layout must have.
func (r *Record) Note(tool, format string, args ...any) { r.add(Notes, tool, format, args) }

// Fail adds a failure of the tool to the errors, which the layout must have.
func (r *Record) Fail(tool, format string, args ...any) { r.add(Errors, tool, format, args) }

func (r *Record) add(c Column, tool, format string, args []any) {
	cell := Message{tool, EscapeMessage(fmt.Sprintf(format, args...))}.String()
	if before := r.Get(c); before != "" {
		cell = before + "; " + cell
	}
	r.Set(c, cell)
}

// A gap stands where rows of a host are missing from a snapshot: its user and its
// process are "?", its count is 0, no action is due, and its errors say why.
const gapName = "?"

// NewGap returns the row that says why rows of host are missing: reason is in the words
// of tool. at is zero if the time of the snapshot is unknown.
func NewGap(at time.Time, host, tool, reason string) Row {
	return Row{
		Time: Timestamp{at}, Host: host, User: gapName, Proc: gapName, Count: Known(0),
		Errors: Message{tool, EscapeMessage(reason)}.String(),
	}
}

// Gap returns the reason if the record is a gap.
func (r *Record) Gap() (reason string, isGap bool) {
	if r.Header || r.Get(User) != gapName || r.Get(Proc) != gapName || r.Get(Count) != "0" || r.Get(Actions) != "" {
		return "", false
	}
	reason = r.Get(Errors)
	return reason, reason != ""
}

// The pairs below write and read what one tool reports and another acts on, so that no
// tool depends on the wording of another.

// FormatRemaining returns killstorm's error for n processes that should have ended and
// live; why names the causes, "" if it knows none.
func FormatRemaining(n int, why string) string {
	if why == "" {
		return fmt.Sprintf("%d remaining", n)
	}
	return fmt.Sprintf("%d remaining: %s", n, why)
}

// ParseRemaining reads the text of FormatRemaining.
func ParseRemaining(text string) (n int64, why string, ok bool) {
	head, why, _ := strings.Cut(text, ": ")
	n, ok = numberBetween(head, "", " remaining")
	return n, why, ok
}

// FormatSubsided returns killstorm's note that at its second look only n live processes
// were left, fewer than the limit. also says what else the account runs, "" for nothing.
func FormatSubsided(n int64, also string) string {
	if also == "" {
		return fmt.Sprintf("subsided to %d", n)
	}
	return fmt.Sprintf("subsided to %d (%s)", n, also)
}

// ParseSubsided reads the text of FormatSubsided.
func ParseSubsided(text string) (n int64, also string, ok bool) {
	head, rest, more := strings.Cut(text, " (")
	if also, ok = strings.CutSuffix(rest, ")"); more && !ok {
		return 0, "", false
	}
	n, ok = numberBetween(head, "subsided to ", "")
	return n, also, ok
}

// FormatWouldKill begins killstorm's note, in a dry run, on the n processes that it
// would have killed.
func FormatWouldKill(n int) string { return fmt.Sprintf("would kill %d (dry run)", n) }

// ParseWouldKill reads a text that FormatWouldKill begins.
func ParseWouldKill(text string) (n int64, ok bool) {
	head, _, _ := strings.Cut(text, ": ")
	return numberBetween(head, "would kill ", " (dry run)")
}

// FormatPaused returns killstorm's note on a storm that it doesn't end before until.
func FormatPaused(until time.Time) string { return "paused until " + stamp(until) }

// ParsePaused reads the text of FormatPaused.
func ParsePaused(text string) (until time.Time, ok bool) {
	return timeAfter(text, "paused until ")
}

// FormatPathChanged returns killstorm's note on a storm of which it has ended nothing
// because a path that must not change has changed.
func FormatPathChanged(path string) string { return "not killed: " + path + " has changed" }

// ParsePathChanged reads the text of FormatPathChanged.
func ParsePathChanged(text string) (path string, ok bool) {
	rest, begins := strings.CutPrefix(text, "not killed: ")
	path, ends := strings.CutSuffix(rest, " has changed")
	return path, begins && ends
}

// FormatUnfit returns the note on a storm of which nothing is ended until a file that
// steers the pipe is mended; place is the file, or FILE:LINE.
func FormatUnfit(place string) string { return "not killed: " + place + " unfit" }

// ParseUnfit reads the text of FormatUnfit.
func ParseUnfit(text string) (place string, ok bool) {
	rest, begins := strings.CutPrefix(text, "not killed: ")
	place, ends := strings.CutSuffix(rest, " unfit")
	return place, begins && ends
}

// FormatTrimmed returns killstorm's note that it has ended the n oldest of all live
// processes of a storm; left live.
func FormatTrimmed(n, all, left int) string {
	return fmt.Sprintf("ended the %d oldest of %d: %d left", n, all, left)
}

// ParseTrimmed reads the text of FormatTrimmed.
func ParseTrimmed(text string) (n, all, left int64, ok bool) {
	head, tail, _ := strings.Cut(text, " oldest of ")
	middle, tail, _ := strings.Cut(tail, ": ")
	n, ok1 := numberBetween(head, "ended the ", "")
	all, ok2 := numberBetween(middle, "", "")
	left, ok3 := numberBetween(tail, "", " left")
	return n, all, left, ok1 && ok2 && ok3
}

// FormatNotSaved returns killstorm's error for a row that it spares because the copy of
// the mail failed; why is the failure.
func FormatNotSaved(why string) string { return "not killed: the mail isn't saved: " + why }

// ParseNotSaved reads the text of FormatNotSaved.
func ParseNotSaved(text string) (why string, ok bool) {
	return strings.CutPrefix(text, "not killed: the mail isn't saved: ")
}

// NotThisHost is the note of an acting filter on a row of another host.
const NotThisHost = "not this host"

// NeedsChurn is threshold's warning of a table that has a churn limit.
const NeedsChurn = "a churn limit needs the column started, which only procstat --every DUR --churn fills"

// FormatNoSpace returns mailarchive's failure of a copy for which there is no room;
// detail says how much is needed and how much is free.
func FormatNoSpace(detail string) string { return "no space: " + detail }

// ParseNoSpace reads the text of FormatNoSpace, which may follow the mailbox's
// path.
func ParseNoSpace(text string) (detail string, ok bool) {
	_, detail, ok = strings.Cut(": "+text, ": no space: ")
	return detail, ok
}

// FormatUnchanged returns mailarchive's note that the copy of that time still stands
// for the mailbox.
func FormatUnchanged(since time.Time) string { return "unchanged since " + stamp(since) }

// ParseUnchanged reads the text of FormatUnchanged, which may follow the mailbox's path.
func ParseUnchanged(text string) (since time.Time, ok bool) {
	return timeAfter(text[strings.LastIndex(text, ": ")+1:], "unchanged since ")
}

// FormatChanged returns mailarchive's note that the mailbox has changed since the copy
// of that time, and is not copied again within a span.
func FormatChanged(since time.Time, within string) string {
	return fmt.Sprintf("changed since %s: not copied again within %s", stamp(since), within)
}

// ParseChanged reads the text of FormatChanged, which may follow the mailbox's
// path.
func ParseChanged(text string) (since time.Time, ok bool) {
	text, _, _ = strings.Cut(text, ": not copied again within ")
	return timeAfter(text[strings.LastIndex(text, ": ")+1:], "changed since ")
}

// stamp is a time in a message: RFC 3339, UTC, whole seconds.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// timeAfter reads the stamp that follows the words.
func timeAfter(text, words string) (time.Time, bool) {
	cell, ok := strings.CutPrefix(strings.TrimSpace(text), words)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, cell)
	return t, err == nil
}

// numberBetween reads the number between two texts.
func numberBetween(text, before, after string) (int64, bool) {
	text, begins := strings.CutPrefix(text, before)
	text, ends := strings.CutSuffix(text, after)
	n, err := ParseNumber(text)
	return n, begins && ends && err == nil
}
