package mailbox

import (
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"groucho", "g", "1234", "groucho.marx", "groucho@example.org", "x.", "x.1a", "x.lock.y", "lock",
		"EXAMPLE\\groucho", "grün", "a b", "$(id)", "{home}", strings.Repeat("x", 255),
	} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", ".groucho", "-", "-rf", "/", "a/b", "../../etc/passwd", "groucho/", "a:b",
		"a\x00b", "a\nb", "a\x1b[2J", "a\x7f", "x.lock", ".lock", "x.123", "x.0", "x.y.956639822",
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
		"/var/mail/{usr}", "/var/mail/{user", "/var/{x}/{user}", "/var/mail/{user}.{x}",
		"{home}", "/x{home}/{user}", "{home}/{home}", "/home/{user}/{home}", "{home}mbox",
		"/var/mail/{user}/", "/var/mail/{user}//x", "/var/mail/{user}/../root", "/var/mail/{user}/./x", "{home}/../x", "{home}/",
	} {
		if template, err := Parse(bad); err == nil {
			t.Errorf("%q: taken for %+v", bad, template)
		}
	}
}
