package rows

import (
	"fmt"
	"strings"
	"time"
)

// The name under which mailarchive signs its messages.
const mailarchive = "mailarchive"

// What mailarchive says of a mailbox. Each may follow the mailbox's path.
const (
	// NoMailbox is the note on an account that has none of the mailboxes.
	NoMailbox = "no mailbox"
	// Torn is the error of a copy that may have a message twice, or half of one.
	Torn = "changed while copied: the copy may be torn"
	// Maildir begins the note on a mailbox that is a directory.
	Maildir = "a directory"
	// Foreign begins the note on a file that is another account's.
	Foreign = "belongs to somebody else"
)

// FormatOversized returns mailarchive's failure of a copy for which there is no room
// because of its size, if that is no reason to spare the account: it is above the fair
// size, or the file uses less space than its size. detail says which and how much.
func FormatOversized(detail string) string { return "oversized: " + detail }

// ParseOversized reads the text of FormatOversized, which may follow the mailbox's
// path.
func ParseOversized(text string) (detail string, ok bool) {
	return strings.CutPrefix(aboutMailbox(text), "oversized: ")
}

// FormatOnlyTorn returns mailarchive's error of a mailbox that isn't copied again within
// a span, though the copy of that time, and the others in it, may be torn.
func FormatOnlyTorn(since time.Time, within string) string {
	return fmt.Sprintf("the copy of %s may be torn: not copied again within %s", stamp(since), within)
}

// ParseOnlyTorn reads the text of FormatOnlyTorn, which may follow the mailbox's
// path.
func ParseOnlyTorn(text string) (since time.Time, ok bool) {
	text, _, ok = strings.Cut(aboutMailbox(text), " may be torn: not copied again within ")
	since, isTime := timeAfter(text, "the copy of ")
	return since, ok && isTime
}

// FormatNotRemoved returns mailarchive's error of an older copy that it could not remove.
// The copy in archived is good all the same.
func FormatNotRemoved(name, why string) string {
	return fmt.Sprintf("old copy %s not removed: %s", name, why)
}

// ParseNotRemoved reads the text of FormatNotRemoved, which may follow the mailbox's path.
func ParseNotRemoved(text string) (name, why string, ok bool) {
	text, ok = strings.CutPrefix(aboutMailbox(text), "old copy ")
	name, why, found := strings.Cut(text, " not removed: ")
	return name, why, ok && found
}

// FormatWouldArchive returns mailarchive's note, in a dry run, on a mailbox that it would
// have copied.
func FormatWouldArchive(path string) string { return "would archive " + path }

// ParseWouldArchive reads the text of FormatWouldArchive.
func ParseWouldArchive(text string) (path string, ok bool) {
	return strings.CutPrefix(text, "would archive ")
}

// aboutMailbox returns what is said of a mailbox without its path. No mailbox's path has
// a colon.
func aboutMailbox(text string) string {
	if path, what, ok := strings.Cut(text, ": "); ok && (strings.HasPrefix(path, "/") || strings.HasPrefix(path, "{home}/")) {
		return what
	}
	return text
}

// MailState says what became of the mail files of a row's account, from the best to the
// worst.
type MailState int

const (
	MailUntouched MailState = iota // mailarchive hasn't acted on the row
	NoMail                         // there is no mbox to be copied
	MailSaved                      // each mailbox has a whole copy of its present state
	MailOutdated                   // a mailbox has changed since its last whole copy
	MailTorn                       // a copy may be torn
	MailNotSaved                   // a mailbox has no copy
)

// Mail returns the state of the worst of the row's mailboxes, and for MailOutdated the
// time of its copy, the oldest of several.
func (r *Record) Mail() (state MailState, of time.Time) {
	return MailOf(r.Get(Archived), r.Get(Notes), r.Get(Errors))
}

// MailOf is Mail of a row with these cells.
func MailOf(archived, notes, errors string) (state MailState, of time.Time) {
	if archived != "" {
		state = MailSaved
	}
	for _, m := range ParseMessages(notes) {
		if m.Tool != mailarchive {
			continue
		}
		text := aboutMailbox(m.Text)
		since, outdated := ParseChanged(text)
		switch {
		case outdated:
			if state = max(state, MailOutdated); of.IsZero() || since.Before(of) {
				of = since
			}
		case text == NoMailbox, strings.HasPrefix(text, Maildir), strings.HasPrefix(text, Foreign):
			state = max(state, NoMail)
		}
	}
	for _, m := range ParseMessages(errors) {
		if m.Tool == mailarchive {
			state = max(state, failedMail(m.Text))
		}
	}
	if state != MailOutdated {
		of = time.Time{}
	}
	return state, of
}

// failedMail returns what an error of mailarchive says of the mailbox.
func failedMail(text string) MailState {
	_, onlyTorn := ParseOnlyTorn(text)
	_, _, notRemoved := ParseNotRemoved(text)
	switch {
	case notRemoved:
		return MailUntouched
	case onlyTorn, strings.HasSuffix(text, Torn), strings.Contains(text, Torn+": "), strings.HasPrefix(aboutMailbox(text), "tried again: "):
		return MailTorn
	}
	return MailNotSaved
}
