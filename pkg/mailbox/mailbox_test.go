package mailbox

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"groucho", "g", "1234", "groucho.marx", "groucho@example.org", "x.", "x.1a", "x.lock.y", "lock",
		"anna.1987", "x.0", "x.y.956639822", "20231777",
		"EXAMPLE\\groucho", "grün", "a b", "$(id)", "{home}", strings.Repeat("x", 255),
	} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", ".groucho", "-", "-rf", "/", "a/b", "../../etc/passwd", "groucho/", "a:b",
		"a\x00b", "a\nb", "a\x1b[2J", "a\x7f", "x.lock", ".lock",
	} {
		if CheckName(name) == nil {
			t.Errorf("%q: taken for a user name", name)
		}
	}
}

func TestParse(t *testing.T) {
	u := User{Name: "groucho", Home: "/home/groucho"}
	for _, c := range []struct{ template, path, suffix string }{
		{"/var/mail/{user}", "/var/mail/groucho", ""},
		{"/var/mail/.{user}.pop", "/var/mail/.groucho.pop", ".pop"},
		{"/{user}", "/groucho", ""},
		{"/var/spool/x{user}/{user}-in", "/var/spool/xgroucho/groucho-in", "-in"},
		{"/var/spool/{user}/mbox", "/var/spool/groucho/mbox", ""},
		{"{home}/mbox", "/home/groucho/mbox", ""},
		{"/srv/{domain}/{name}", "/srv//groucho", ""}, // fits only who has a domain
		{"/srv/x{name}.pop", "/srv/xgroucho.pop", ".pop"},
		{"/var/mail/{user:1}/{user:2}/{user}", "/var/mail/g/r/groucho", ""},
		{"/var/mail/{user:7}/{user:8}{user}", "/var/mail/o/{user:8}groucho", ""}, // fits only who has so many bytes
		{"{home}/Mail/{user}.mbox", "/home/groucho/Mail/groucho.mbox", ".mbox"},
	} {
		template, err := Parse(c.template)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		if got := template.Path(u); got != c.path {
			t.Errorf("%s: path %s, not %s", c.template, got, c.path)
		}
		if got := template.Suffix(); got != c.suffix {
			t.Errorf("%s: suffix %q, not %q", c.template, got, c.suffix)
		}
	}
	for _, bad := range []string{
		"", "{user}", "mail/{user}", "/var/mail", "/var/mail/root", "/var/mail/%u",
		"/var/mail/{usr}", "/var/mail/{user", "/var/{x}/{user}", "/var/mail/{user:1}", "/var/mail/{user:0}/{user}", "/var/mail/{user:10}/{user}", "/var/mail/{user:}/{user}", "/var/mail/{user:1/{user}", "/var/mail/{user}.{x}", "/srv/{domain}/mbox", "srv/{domain}/{name}", "/srv/{domain}/../{name}", "/srv/{name}/{Domain}",
		"{home}", "/x{home}/{user}", "{home}/{home}", "/home/{user}/{home}", "{home}mbox",
		"/var/mail/{user}/", "/var/mail/{user}//x", "/var/mail/{user}/../root", "/var/mail/{user}/./x", "{home}/../x", "{home}/",
	} {
		if template, err := Parse(bad); err == nil {
			t.Errorf("%q: taken for %+v", bad, template)
		}
	}
}

// A hashed spool has no place for a name without such a byte, nor for one that leads
// elsewhere.
func TestBytePlaceWantsAByteFitForAPath(t *testing.T) {
	template, err := Parse("/var/mail/{user:1}/{user:2}/{user}")
	if err != nil {
		t.Fatal(err)
	}
	for user, fits := range map[string]bool{
		"groucho": true, "gg": true, "g-x": true, "g x": true, "Gr": true, "20231777": true,
		"g": false, "g.x": false, "gü": false, "ü": false, "g/x": false, "../x": false,
	} {
		if err := template.fits(User{Name: user}); (err == nil) != fits {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// What FileBase returns, with a dot and an EPOCH behind it, is the beginning of no
// other user's files.
func TestFileBaseIsUnambiguous(t *testing.T) {
	for _, c := range []struct {
		user User
		want string
	}{
		{User{Name: "groucho"}, "groucho"},
		{User{Name: "groucho.marx"}, "groucho.marx"},
		{User{Name: "anna.1987"}, "anna..1987"},
		{User{Name: "anna..1987"}, "anna...1987"},
		{User{Name: "anna.1987.956639822"}, "anna.1987..956639822"},
		{User{Name: "20231777"}, "20231777"},
		{User{Name: "x."}, "x."},
		{User{Name: "harpo.5000"}, "harpo..5000"},
		{User{Name: "harpo", UID: 5000, Account: "vmail"}, "harpo.5000"},
		{User{Name: "harpo.77", UID: 5000, Account: "vmail"}, "harpo..77.5000"},
	} {
		if got := c.user.FileBase(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.user, got, c.want)
		}
	}
}

// The parts of a user's name are as unfit for a path as the whole.
func TestParts(t *testing.T) {
	template := func(path string) Template {
		parsed, err := Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	mbox, other := template("/srv/vmail/{domain}/{name}/mbox"), template("/srv/{user}/mbox")
	for user, want := range map[string]string{
		"groucho@example.org": "/srv/vmail/example.org/groucho/mbox",
		"a@b@c":               "/srv/vmail/b@c/a/mbox",
		"{domain}@{name}":     "/srv/vmail/{name}/{domain}/mbox",
	} {
		u := User{Name: user}
		if got := mbox.Path(u); got != want || mbox.fits(u) != nil || other.fits(u) != nil {
			t.Errorf("%s: %s, %v, %v; want %s", user, got, mbox.fits(u), other.fits(u), want)
		}
	}
	for _, user := range []string{"groucho@", "@example.org", "groucho@..", "groucho@.", "..@example.org", "groucho@-x", "-x@y", "x.lock@y", "a/b@c", "a@b/c", "a@b:c"} {
		if err := mbox.fits(User{Name: user}); err == nil || err == ErrNone {
			t.Errorf("%s: %v", user, err)
		}
	}
	if err := mbox.fits(User{Name: "groucho"}); err != ErrNone {
		t.Errorf("without a domain: %v", err)
	}
}
