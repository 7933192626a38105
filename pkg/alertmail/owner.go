package alertmail

import (
	"strings"
	"time"
)

// Owners says how the owner of an account gets mail when processes of the account were
// ended. It needs a state.
type Owners struct {
	To      string // the owner's address, with {user}, or {name} and {domain}; "" mails to nobody
	ReplyTo string // the address for the owner's questions
	Text    string // a file with the site's own text; "" is the built-in one
}

// fits reports whether owners have addresses of their own.
func (o Owners) fits() bool {
	isOwn := strings.Contains(o.To, "{user}") || strings.Contains(o.To, "{name}") && strings.Contains(o.To, "{domain}")
	return isOwn && (o.address("user") != "" || o.address("user@example.org") != "")
}

// address returns the address of the account's owner, "" if the account's name doesn't
// fit into one.
func (o Owners) address(user string) string {
	name, domain, _ := strings.Cut(user, "@")
	if domain == "" && strings.Contains(o.To, "{domain}") || !isSafe(user) {
		return ""
	}
	address := strings.NewReplacer("{user}", user, "{name}", name, "{domain}", domain).Replace(o.To)
	if strings.ContainsAny(address, "{}") || !isAddress(address) {
		return ""
	}
	return address
}

// Bounds of the mails to owners.
const (
	ownerPause  = 24 * time.Hour // between two to one owner
	ownersAHour = 20             // in all
)

// An owner is an account whose owner got a mail within the last day, or has one waiting.
type owner struct {
	user, uid string
	made      time.Time // when the mail was composed
	message   string    // as the mailer gets it, "" once it was taken
}

// within reports whether the mail was composed within that span. A time shortly in the
// future comes from a clock that was wrong.
func (o *owner) within(span time.Duration, now time.Time) bool { return now.Sub(o.made).Abs() < span }

// waits reports whether the mail is still to be sent.
func (o *owner) waits() bool { return o.message != "" }
