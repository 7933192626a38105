package alertmail

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// composeToOwners makes the mails to the owners of accounts of which the run has ended
// processes.
func (a *alerter) composeToOwners(f *findings) {
	if a.Owners.To == "" {
		return
	}
	now := a.Now()
	a.memory.forgetOwners(now)
	for _, e := range f.endings(a.node) {
		to := a.Owners.address(e.user)
		switch {
		case to == "":
		case !a.memory.mayMail(e.uid, now):
			a.memory.withheld++
		default:
			a.memory.owners = append(a.memory.owners, &owner{
				user: e.user, uid: e.uid, made: now, message: a.toOwner(e, to, now),
			})
		}
	}
}

// toOwner returns the mail to the owner of an account.
func (a *alerter) toOwner(e *ending, to string, now time.Time) string {
	var text strings.Builder
	for line := range strings.Lines(e.fill(a.text, a.node, a.Owners.ReplyTo, now)) {
		text.WriteString(rows.Clip(strings.TrimRight(line, "\n"), maxLine) + "\n")
	}
	subject, _, _ := strings.Cut(text.String(), "\n")
	id := a.newID("stormcheck.owner." + e.uid)
	from := cmp.Or(a.From, a.Owners.ReplyTo) // a mailer would make a From of the empty sender
	return string(envelope(from, a.Owners.ReplyTo, []string{to}, cut(subject, maxSummary), now, id, "", text.String()))
}

// sendToOwner gives the next mail to an owner to a mailer, one at a time, if one is due.
// The administrator's mails don't wait for it. None starts later than a mailer's deadline
// after the end of input; the next run sends the rest.
func (a *alerter) sendToOwner() (f flight, due bool) {
	d := &a.memory.deliveries[byOwner]
	next := slices.IndexFunc(a.memory.owners, (*owner).waits)
	switch {
	case next < 0, d.phase == handedOver, a.ending && time.Since(a.ended) > a.Deadline:
		return f, false
	case d.tries > 0 && !d.waited(d.pause(a.schedule()), a.Now()):
		a.failed = true
		return f, false
	}
	o := a.memory.owners[next]
	to, message := a.Owners.address(o.user), []byte(o.message)
	isOwner := false
	d.phase = handedOver
	f.slow = func() error {
		if isOwner = a.isOwner(o.user, o.uid); !isOwner || to == "" {
			return nil
		}
		bounceless := a.Options
		bounceless.Sender = "<>"
		return bounceless.mailer([]string{to}, message)
	}
	f.landed = func(err error) {
		d.phase = idle
		a.servedOwner(o, isOwner, err)
		a.save()
	}
	return f, true
}

// isOwner reports whether a person has the account: the name service says now that the
// name has this uid, and it is no system account. Without an answer it reports false.
func (a *alerter) isOwner(user, uid string) bool {
	account, err := a.Accounts(user)
	return err == nil && fmt.Sprint(account.UID) == uid && !account.IsSystem()
}

// servedOwner notes what became of a mail to an owner. If nobody has the account, the mail
// is dropped. A mail that wasn't taken is tried again after the others.
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
		*d = delivery{}
	}
}
