package alertmail

import (
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// The tools whose messages a storm's text depends on.
const (
	mailarchive = "mailarchive"
	killstorm   = "killstorm"
)

// pending is what hasn't been reported; see rows.Row.
type pending struct {
	acted                   bool // killstorm did something
	archived, notes, errors string
	mail                    rows.MailState
	mailOf                  time.Time // the copy, if the mailbox has changed since
}

// A known is what has been seen before, so that it is no news.
type known struct {
	copies   string // their paths
	failures string // kinds of failure
}

// add adds what a later row has to report, and returns what of it isn't known.
func (p *pending) add(n pending, k *known) (found news) {
	if n.acted {
		p.acted = true
		p.errors = without(p.errors, func(m rows.Message) bool {
			_, _, isResistance := rows.ParseRemaining(m.Text)
			return isResistance && m.Tool == killstorm
		})
	}
	if n.mail != rows.MailUntouched {
		p.mail, p.mailOf = n.mail, n.mailOf
	}
	// Notes of killstorm describe the row's processes, and the next row describes them
	// better.
	p.notes = without(p.notes, func(m rows.Message) bool { return m.Tool == killstorm })
	for _, path := range parts(n.archived, ":") {
		path = rows.Clip(path, maxPath)
		p.archived = withPart(p.archived, path, ":", mostCopies)
		if !slices.Contains(parts(k.copies, ":"), path) {
			k.copies = withPart(k.copies, path, ":", mostCopies)
			found |= archived
		}
	}
	for _, fault := range parts(n.errors, "; ") {
		if kind := kindOf(fault); k.isNewFailure(kind) {
			k.failures = withPart(k.failures, kind, "; ", mostFailures*mostTools)
			found |= failure
		}
	}
	for _, note := range rows.ParseMessages(n.notes) {
		if _, _, subsided := rows.ParseSubsided(note.Text); subsided && note.Tool == killstorm && k.subsidesAgain() {
			found |= failure
		}
	}
	p.notes, p.errors = withRemarks(p.notes, n.notes), withRemarks(p.errors, n.errors)
	return found
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

// Bounds of what is remembered of a storm.
const (
	mostCopies   = 20
	mostFailures = 8 // kinds of each tool; a tool that varies more triggers no message
	mostTools    = 8
	mostRemarks  = 4096 // bytes of notes, and of errors
	maxPath      = 1024 // bytes of a copy's path
)

// isNewFailure reports whether the storm hasn't failed in this way before. It is false if
// its tool has failed in so many ways that a user seems to choose the words.
func (k *known) isNewFailure(kind string) bool {
	all := parts(k.failures, "; ")
	if len(all) >= mostFailures*mostTools || slices.Contains(all, kind) {
		return false
	}
	tool, _, _ := strings.Cut(kind, ": ")
	others := slices.DeleteFunc(all, func(s string) bool { return !strings.HasPrefix(s, tool+": ") })
	return len(others) < mostFailures
}

// subsidesAgain notes that the storm was gone when killstorm looked, and reports whether
// this is the second time. It may change its name each time.
func (k *known) subsidesAgain() (again bool) {
	for _, kind := range [...]string{killstorm + ": subsided", killstorm + ": subsided again"} {
		if !slices.Contains(parts(k.failures, "; "), kind) {
			k.failures = withPart(k.failures, kind, "; ", mostFailures*mostTools)
			return again
		}
		again = true
	}
	return false
}

var numbers = pattern(`[0-9]+( [0-9]+)*`)

// kindOf returns what a message has in common with the same one of another run:
// PIDs, counts and ages differ, and so does how many PIDs there are.
func kindOf(message string) string { return rows.Clip(numbers().ReplaceAllString(message, "#"), 160) }

// withRemarks adds messages to those of a cell. They replace those of their kind, and
// the oldest if there are too many.
func withRemarks(cell, more string) string {
	all := parts(cell, "; ")
	for _, message := range parts(more, "; ") {
		message = rows.Clip(message, mostRemarks/4)
		same := func(s string) bool { return kindOf(s) == kindOf(message) }
		all = append(slices.DeleteFunc(all, same), message)
		for length(all) > mostRemarks {
			all = all[1:]
		}
	}
	return strings.Join(all, "; ")
}

// length returns what messages take in a cell, in bytes.
func length(messages []string) (n int) {
	for _, s := range messages {
		n += len(s) + len("; ")
	}
	return n
}

// without returns a cell without the messages that match.
func without(cell string, match func(rows.Message) bool) string {
	return rows.JoinMessages(slices.DeleteFunc(rows.ParseMessages(cell), match))
}
