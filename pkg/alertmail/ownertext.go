package alertmail

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// deliveryAgents are programs that every mail starts. A mail about them would start more
// of them.
var deliveryAgents = []string{"local", "procmail", "dovecot-lda", "lmtp", "sieve", "vacation", "sendmail"}

// An ending is what a run has ended of one account.
type ending struct {
	user, uid string
	killed    int64
	rows      []*sighting // of which processes were ended, the largest first
}

// endings returns the accounts of this machine whose owners should know that processes
// were ended, those of which the most were ended first. The owner of a name from a process
// title is unknown.
func (f *findings) endings(node string) (all []*ending) {
	byUID := map[string]*ending{}
	fed := map[string]bool{}
	for _, s := range f.storms {
		if _, err := rows.ParseNumber(s.uid); err != nil || s.host != node || s.account != "" {
			continue
		}
		fed[s.uid] = fed[s.uid] || slices.Contains(deliveryAgents, s.proc)
		if s.total == 0 {
			continue
		}
		e := byUID[s.uid]
		if e == nil {
			e = &ending{user: s.user, uid: s.uid}
			byUID[s.uid] = e
		}
		e.killed += s.total
		e.rows = append(e.rows, s)
	}
	for uid, e := range byUID {
		if fed[uid] {
			continue
		}
		slices.SortFunc(e.rows, func(a, b *sighting) int {
			return cmp.Or(-cmp.Compare(a.count, b.count), cmp.Compare(a.proc, b.proc))
		})
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *ending) int { return cmp.Or(-cmp.Compare(a.killed, b.killed), cmp.Compare(a.uid, b.uid)) })
	return all
}

// ownerText is what an owner reads, if the site has no text of its own. The first line
// is the subject.
const ownerText = `Processes of your account {user} on {host} were ended

At {time} your account {user} on {host} had more processes than
its limit, and some of them were ended.

    found: {seen}
    limit: {limit}
    ended: {ended}
    mail:  {mail}

You can log in and start programs as before. Please find out first why there were so
many: a mail program that opens ever more connections, a script that starts itself,
a session that was left behind.

You get such a mail once a day at most, even if more is ended. Your questions, and
answers to this mail, go to {contact}.
`

// ownerPlaces are the places of the text.
var ownerPlaces = []string{"{user}", "{host}", "{time}", "{seen}", "{limit}", "{ended}", "{mail}", "{contact}"}

// mostOwnerText is the largest text, in bytes.
const mostOwnerText = 16 << 10

var place = pattern(`\{[^{}]*\}`)

// readOwnerText returns the text of the file, or what is wrong with it.
func readOwnerText(path string) (string, error) {
	read, err := trusted.Read(path)
	if err != nil {
		return "", err
	}
	fault := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%s: %w: owners get the built-in text", path, fmt.Errorf(format, args...))
	}
	text := strings.NewReplacer("\r\n", "\n", "\t", "        ").Replace(string(read))
	if len(text) > mostOwnerText {
		return fault("over %d bytes", mostOwnerText)
	}
	for i, line := range strings.Split(text, "\n") {
		unfit := func(r rune) bool { return !unicode.IsPrint(r) }
		unknown := func(name string) bool { return !slices.Contains(ownerPlaces, name) }
		places := place().FindAllString(line, -1)
		at := slices.IndexFunc(places, unknown)
		switch {
		case i == 0 && strings.TrimSpace(line) == "":
			return fault("line 1: empty, but it is the subject")
		case !utf8.ValidString(line), strings.ContainsFunc(line, unfit):
			return fault("line %d: not text in UTF-8", i+1)
		case at >= 0:
			return fault("line %d: %s is none of %s", i+1, places[at], strings.Join(ownerPlaces, " "))
		}
	}
	return strings.TrimRight(text, "\n") + "\n", nil
}

// fill puts what was done into the places of a text. Nothing but numbers, times, the
// account and plain names of programs and files gets there: no command lines, and
// nothing that anybody could write to the owner.
func (e *ending) fill(text, node, contact string, now time.Time) string {
	var seen, ended, limits []string
	for _, s := range e.rows {
		name := plain(s.proc)
		seen = append(seen, fmt.Sprintf("%d %s", s.peak, name))
		ended = append(ended, fmt.Sprintf("%d %s", s.total, name))
		limit := "unknown"
		if s.ended != (rows.Limit{}) {
			limit = s.ended.String()
		}
		if !slices.Contains(limits, limit) {
			limits = append(limits, limit)
		}
	}
	return strings.NewReplacer(
		"{user}", e.user, "{host}", node, "{time}", now.Format("2006-01-02 15:04 -0700"),
		"{seen}", listed(seen), "{limit}", listed(limits), "{ended}", listed(ended),
		"{mail}", e.mailWords(now), "{contact}", contact,
	).Replace(text)
}

// mostListed is how many things a list names.
const mostListed = 5

// listed returns a list in words.
func listed(all []string) string {
	if more := len(all) - mostListed; more > 0 {
		all = append(slices.Clone(all[:mostListed]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ")
}

// plain returns the name of a program if it is no more than that.
func plain(name string) string {
	if !isSafe(name) || len(name) > 64 {
		return "?"
	}
	return name
}

// mailWords says what became of the account's mail file.
func (e *ending) mailWords(now time.Time) string {
	worst := slices.MaxFunc(e.rows, func(a, b *sighting) int { return cmp.Compare(a.mail, b.mail) })
	switch worst.mail {
	case rows.NoMail:
		return "there is no mailbox file to copy"
	case rows.MailSaved:
		return "your mailbox was copied before" + e.copies()
	case rows.MailOutdated:
		return "your mailbox was copied at " + shortTime(worst.mailOf, now) + ", and has changed since then" + e.copies()
	case rows.MailTorn:
		return "your mailbox was copied while it changed, so the copy may be torn" + e.copies()
	}
	return "your mailbox was not copied"
}

// isPlainPath reports whether a path is absolute, and of plain names.
func isPlainPath(path string) bool {
	rest, isAbsolute := strings.CutPrefix(path, "/")
	return isAbsolute && len(path) <= maxName && isSafe(strings.ReplaceAll(rest, "/", "_"))
}

// copies names the copies.
func (e *ending) copies() string {
	var paths []string
	for _, s := range e.rows {
		for _, path := range parts(s.archived, ":") {
			if isPlainPath(path) && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	if len(paths) == 0 {
		return ""
	}
	return "; the administrator can put it back from " + listed(paths)
}
