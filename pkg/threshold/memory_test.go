package threshold

import (
	"fmt"
	"strings"
	"testing"
)

// What is remembered is what the table says, also when accounts push each other
// out, and when a cell holds what separates cells in a key.
func TestMemory(t *testing.T) {
	parsed := mustParse(t, "host,user,proc,log\nmail*,u1*,*,1\n*,u*5,imapd,2\n*,u*,b*,3\n")
	m := newMemory(parsed)
	for range 3 {
		for i := range 3 * len(m.slots) {
			host, user, proc := fmt.Sprintf("%s%d", []string{"mail", "web"}[i%2], i%7), fmt.Sprint("u", i), []string{"imapd", "bash", "vi"}[i%3]
			if got, want := m.decide(subject{host: host, user: user, proc: proc}), parsed.decide(subject{host: host, user: user, proc: proc}); got != want {
				t.Fatalf("%s %s %s: %v; want %v", host, user, proc, got, want)
			}
		}
	}
	long := strings.Repeat("x", 10000)
	for _, cells := range [][3]string{{"mail", "u1\x00b", "c"}, {"mail\x00u1", "b", "c"}, {"mail", "u1", "b\x00c"}, {"mail", "u1" + long, "x"}, {"", "", ""}} {
		if got, want := m.decide(subject{host: cells[0], user: cells[1], proc: cells[2]}), parsed.decide(subject{host: cells[0], user: cells[1], proc: cells[2]}); got != want {
			t.Errorf("%.50q: %v; want %v", cells, got, want)
		}
	}
	behind := newMemory(mustParse(t, "account,user,proc,log\nvmail,*,*,1\n*,*,*,2\n"))
	for _, account := range []string{"vmail", "", "vmail"} {
		if got := behind.decide(subject{account: account, user: "u", proc: "p"}); (got.line == 2) != (account == "vmail") {
			t.Errorf("account %q: line %d", account, got.line)
		}
	}
	for _, s := range m.slots {
		if cap(s.key) > 2*longest {
			t.Fatalf("a key of %d bytes is kept", cap(s.key))
		}
	}
}
