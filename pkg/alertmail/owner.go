package alertmail

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
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

// An owner is one that got a mail within the last day, or is to get one.
type owner struct {
	user, uid string
	made      time.Time // when the mail was composed
	message   string    // as the mailer gets it, "" once it was taken
}

// within reports whether the mail was composed so short a time ago. A little time in
// the future is one of a clock that was wrong.
func (o *owner) within(span time.Duration, now time.Time) bool { return now.Sub(o.made).Abs() < span }

// waits reports whether the mail is still to be sent.
func (o *owner) waits() bool { return o.message != "" }

// forgetOwners drops the owners that may get another mail, and what could not be sent
// for a day.
func (m *memory) forgetOwners(now time.Time) {
	m.owners = slices.DeleteFunc(m.owners, func(o *owner) bool {
		isOver := !o.within(ownerPause, now)
		if isOver && o.waits() {
			m.deliveries[byOwner].withheld++
		}
		return isOver
	})
}

// mayMail reports whether the bounds allow another mail to the owner of the uid.
func (m *memory) mayMail(uid string, now time.Time) bool {
	inHour := 0
	for _, o := range m.owners {
		if o.uid == uid {
			return false
		}
		if o.within(time.Hour, now) {
			inHour++
		}
	}
	return inHour < ownersAHour
}

// withholding says in the administrator's mail how many owners got none.
func (m message) withholding() string {
	what := counted(m.withheld, "mails to owners were not sent", "")
	if m.withheld == 1 {
		what = "1 mail to an owner was not sent"
	}
	return fmt.Sprintf("%s: at most one a day for each account, and %d an hour", what, ownersAHour)
}

// deliveryAgents are programs that every mail starts: a mail about them would be more
// of what was ended.
var deliveryAgents = []string{"local", "procmail", "dovecot-lda", "lmtp", "sieve", "vacation", "sendmail"}

// An ending is what a run has ended of one account.
type ending struct {
	user, uid string
	killed    int64
	rows      []*sighting // of which processes were ended, the largest first
}

// endings returns the accounts of this machine whose owners should know that processes
// were ended, those of which the most were ended first. Of rows with a name from a
// process title nobody knows the owner.
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

// composeToOwners makes the mails to the owners of accounts of which the run has ended
// processes.
func (a *alerter) composeToOwners(f *findings) {
	if a.Owners.To == "" {
		return
	}
	now := a.Now()
	a.memory.forgetOwners(now)
	for _, e := range f.endings(a.Node) {
		to := a.Owners.address(e.user)
		switch {
		case to == "":
		case !a.memory.mayMail(e.uid, now):
			a.memory.deliveries[byOwner].withheld++
		default:
			a.memory.owners = append(a.memory.owners, &owner{
				user: e.user, uid: e.uid, made: now, message: a.toOwner(e, to, now),
			})
		}
	}
}

// sendToOwner gives the next mail to an owner to a mailer, one at a time. The
// administrator's mails don't wait for it. It starts none later than a mailer's deadline
// after the end of input; the next run sends the rest.
func (a *alerter) sendToOwner() {
	d := &a.memory.deliveries[byOwner]
	next := slices.IndexFunc(a.memory.owners, (*owner).waits)
	switch {
	case next < 0, a.serving, a.ending && time.Since(a.ended) > a.Deadline:
		return
	case d.tries > 0 && !d.waited(d.pause(a.rules()), a.Now()):
		a.failed = true
		return
	}
	o := a.memory.owners[next]
	to, message := a.Owners.address(o.user), []byte(o.message)
	isOwner := false
	a.serving = true
	a.fly(
		func() error {
			if isOwner = a.isOwner(o.user, o.uid); !isOwner || to == "" {
				return nil
			}
			bounceless := a.Options
			bounceless.Sender = "<>"
			return bounceless.mailer([]string{to}, message)
		},
		func(err error) {
			a.serving = false
			a.servedOwner(o, isOwner, err)
			a.save()
			a.advance(nil)
		})
}

// isOwner reports whether a person has the account: the name service says now that the
// name has this uid, and it is no system account. Without an answer nobody has it.
func (a *alerter) isOwner(user, uid string) bool {
	account, err := a.Accounts(user)
	return err == nil && fmt.Sprint(account.UID) == uid && !account.IsSystem()
}

// servedOwner notes what became of a mail to an owner. Who has no account is forgotten.
// What wasn't taken is tried again after the others.
func (a *alerter) servedOwner(o *owner, isOwner bool, err error) {
	d := &a.memory.deliveries[byOwner]
	others := slices.DeleteFunc(slices.Clone(a.memory.owners), func(other *owner) bool { return other == o })
	switch {
	case !isOwner:
		a.memory.owners = others
	case err != nil:
		a.memory.owners = append(others, o)
		a.notTaken(byOwner, fmt.Errorf("mail to the owner of %s: %w", o.user, err))
		d.tries, d.tried = d.tries+1, a.Now()
	default:
		o.message = ""
		*d = delivery{withheld: d.withheld}
	}
}
