package rows

import (
	"strings"
	"testing"
	"time"
)

func TestMailMessagesAreParsedBehindTheirPath(t *testing.T) {
	at := time.Date(2000, 4, 25, 5, 15, 2, 0, time.UTC)
	for _, path := range []string{"", "/var/mail/groucho: ", "{home}/mbox: "} {
		if detail, ok := ParseOversized(path + FormatOversized("needs 3.0T")); !ok || detail != "needs 3.0T" {
			t.Errorf("%s: %q, %t", path, detail, ok)
		}
		if since, ok := ParseOnlyTorn(path + FormatOnlyTorn(at, "10m")); !ok || !since.Equal(at) {
			t.Errorf("%s: %s, %t", path, since, ok)
		}
		if name, why, ok := ParseNotRemoved(path + FormatNotRemoved("groucho.956639822", "input/output error")); !ok || name != "groucho.956639822" || why != "input/output error" {
			t.Errorf("%s: %q, %q, %t", path, name, why, ok)
		}
		if since, ok := ParseChanged(path + FormatChanged(at, "10m")); !ok || !since.Equal(at) {
			t.Errorf("%s: %s, %t", path, since, ok)
		}
	}
	for _, text := range []string{"", "refused: a symbolic link", "no space: needs 3G", "the copy of x may be torn: not copied again within 10m"} {
		_, oversized := ParseOversized(text)
		_, torn := ParseOnlyTorn(text)
		_, _, notRemoved := ParseNotRemoved(text)
		if oversized || torn || notRemoved {
			t.Errorf("%q is taken", text)
		}
	}
}

// Mail is saved only if every mailbox has a whole copy of its present state.
func TestMailIsAsGoodAsItsWorstMailbox(t *testing.T) {
	at := time.Date(2000, 4, 25, 5, 15, 2, 0, time.UTC)
	const box, pop = "/var/mail/groucho: ", "/var/mail/.groucho.pop: "
	for name, c := range map[string]struct {
		archived, notes, errors string
		want                    MailState
	}{
		"nothing":              {want: MailUntouched},
		"others' words":        {notes: "killstorm: no mailbox", errors: "killstorm: x", want: MailUntouched},
		"other host":           {notes: "mailarchive: not this host", want: MailUntouched},
		"dry run":              {notes: "mailarchive: " + FormatWouldArchive("/var/mail/groucho"), want: MailUntouched},
		"none":                 {notes: "mailarchive: " + NoMailbox, want: NoMail},
		"Maildir":              {notes: "mailarchive: " + box + "a directory: a kill doesn't tear a Maildir", want: NoMail},
		"foreign":              {notes: "mailarchive: " + box + "belongs to somebody else (uid 4242)", want: NoMail},
		"copied":               {archived: "/a/groucho.1", want: MailSaved},
		"one, one foreign":     {archived: "/a/groucho.1", notes: "mailarchive: " + pop + "belongs to somebody else (uid 4242)", want: MailSaved},
		"unchanged":            {archived: "/a/groucho.1", notes: "mailarchive: " + FormatUnchanged(at), want: MailSaved},
		"not locked":           {archived: "/a/groucho.1", notes: "mailarchive: not locked (held by pid 4711) but unchanged while copied", want: MailSaved},
		"old copy not removed": {archived: "/a/groucho.1", errors: "mailarchive: " + box + FormatNotRemoved("groucho.0", "x"), want: MailSaved},
		"changed":              {archived: "/a/groucho.1", notes: "mailarchive: " + FormatChanged(at, "10m"), want: MailOutdated},
		"one, one changed":     {archived: "/a/groucho.1:/a/groucho.1.pop", notes: "mailarchive: " + pop + FormatChanged(at, "10m"), want: MailOutdated},
		"torn":                 {archived: "/a/groucho.1", errors: "mailarchive: " + box + Torn, want: MailTorn},
		"torn and not locked":  {archived: "/a/groucho.1", errors: "mailarchive: " + box + "not locked (held by pid 1) and " + Torn, want: MailTorn},
		"torn, tried again":    {archived: "/a/groucho.1", errors: "mailarchive: " + box + Torn + "; mailarchive: " + box + "tried again: no such mailbox", want: MailTorn},
		"torn before":          {archived: "/a/groucho.1", errors: "mailarchive: " + box + FormatOnlyTorn(at, "10m"), want: MailTorn},
		"refused":              {errors: "mailarchive: " + box + "refused: a symbolic link", want: MailNotSaved},
		"one, one refused":     {archived: "/a/groucho.1", errors: "mailarchive: " + pop + "refused: a symbolic link", want: MailNotSaved},
		"no space":             {errors: "mailarchive: " + box + FormatNoSpace("needs 3G"), want: MailNotSaved},
		"oversized":            {errors: "mailarchive: " + box + FormatOversized("needs 3G"), want: MailNotSaved},
	} {
		in := "time,host,user,proc,count,actions,archived,notes,errors\n2000-04-25T05:17:02Z,moscow,groucho,imapd,404,archive=60," +
			c.archived + "," + c.notes + "," + c.errors + "\n"
		reader := NewReader(strings.NewReader(in), "<stdin>", func() error { return nil })
		_, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		record, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		state, of := record.Mail()
		if state != c.want || of.IsZero() == (state == MailOutdated) {
			t.Errorf("%s: %d, %s; want %d", name, state, of, c.want)
		}
	}
}
