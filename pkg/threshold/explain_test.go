package threshold

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	var said strings.Builder
	o := Options{Explain: &said, Table: mustParse(t, `# a comment, which is no row
user,proc,log,alert,kill
backup,*,,,
*,sendmail,20,60,
# another
*,imapd|imap,20,60,100|+60
*,\**,+30,,
*,total,,500,
harpo,vi,5,5,5
`)}
	in := header9 + row("groucho", "imapd", 57, 0) + row("groucho", "imapd", 57, 58) + row("groucho", "imapd", 404, 0) +
		row("groucho", "imapd", 61, 60) + row("groucho", "imapd", 1, 0) + row("backup", "x", 999, 0) + row("harpo", "vi", 4, 0) +
		row("harpo", "vi", 5, 0) + row("harpo", "pine", 50, 0) + row("harpo", "*x", 29, 29) + row("harpo", "*", 1, 0) +
		strings.Replace(row("harpo", "*x", 99, 0), ",0,0,", ",,,", 1) +
		strings.Replace(row(`a\x2c`, "\"b\x1b\u202e\"", 20, 0), "moscow", "mail2", 1) + row("x", "y", -1, 0) + row("groucho", "sendmail", 59, 0)
	const want = `groucho imapd 57: limits.csv:6 "*,imapd|imap": log=20 reached, alert=60 in 3
groucho imapd 57: limits.csv:6 "*,imapd|imap": log=20 reached, kill=100|+60 in 2 new
groucho imapd 404: limits.csv:6 "*,imapd|imap": log=20 alert=60 kill=100|+60 reached
groucho imapd 61: limits.csv:6 "*,imapd|imap": log=20 alert=60 kill=100|+60 reached
groucho imapd 1: limits.csv:6 "*,imapd|imap": log=20 in 19
backup x 999: limits.csv:3 "backup,*": no limits
harpo vi 4: limits.csv:9 "harpo,vi": log=5 in 1
harpo vi 5: limits.csv:9 "harpo,vi": log=5 alert=5 kill=5 reached
harpo pine 50: no row matches
harpo *x 29: limits.csv:7 "*,\**": log=+30 in 1 new
harpo * 1: limits.csv:8 "*,total": alert=500 in 499
harpo *x 99: limits.csv:7 "*,\**": log=+30 needs the column recent
a\x2c b\x1b\xe2\x80\xae 20 on mail2: no row matches
groucho sendmail 59: limits.csv:4 "*,sendmail": log=20 reached, alert=60 in 1
`
	got, _, reported := through(t, o, in)
	if said.String() != want || reported != "<stdin>:15: count: \"-1\" is not a number\n" {
		t.Errorf("got\n%s%s\nwant\n%s", said.String(), reported, want)
	}
	if len(got) != 6 {
		t.Errorf("%d rows pass; want those that reach a limit: %q", len(got), got)
	}
}
