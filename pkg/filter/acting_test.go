package filter

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

// A row that Start has in hand holds up neither the rows behind it nor those that aren't
// due, but the next snapshot's header waits for all rows of its own.
func TestStartedRowsLeaveAsTheyAreDone(t *testing.T) {
	var out bytes.Buffer
	var first func()
	at := time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)
	row := func(user, actions string) string {
		return at.Format(time.RFC3339) + ",moscow," + user + ",imapd,404," + actions
	}
	const header = "time,host,user,proc,count,actions"
	err := Acting{
		Tool: "demo", Action: "do", Host: func() string { return "moscow" }, Now: func() time.Time { return at },
		Start: func(due *Due, done func()) {
			due.Err = Note("did " + due.Row.User)
			if due.Row.User == "groucho" {
				first = done
				return
			}
			done()
			if due.Row.User == "chico" {
				go first()
			}
		},
	}.Run(Env{
		In: strings.NewReader(strings.Join([]string{header, row("groucho", "do=60"), row("harpo", ""), row("zeppo", "do=60"), row("chico", "do=60"),
			header, row("gummo", "do=60"), ""}, "\n")),
		Out: &out, Report: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	all := header + ",notes,errors"
	want := strings.Join([]string{all, row("harpo", "") + ",,", row("zeppo", "do=60") + ",demo: did zeppo,", row("chico", "do=60") + ",demo: did chico,",
		row("groucho", "do=60") + ",demo: did groucho,", all, row("gummo", "do=60") + ",demo: did gummo,", ""}, "\n")
	if out.String() != want {
		t.Errorf("out:\n%s\nwant:\n%s", out.String(), want)
	}
}

// However many rows a snapshot has, no more than so many are in hand at once.
func TestStartedRowsAreBounded(t *testing.T) {
	defer func(was int) { mostStarted = was }(mostStarted)
	mostStarted = 3
	at := time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)
	in := "time,host,user,proc,count,actions\n"
	for n := range 20 {
		in += fmt.Sprintf("%s,moscow,u%d,imapd,404,do=60\n", at.Format(time.RFC3339), n)
	}
	hand := make(chan func(), 20)
	go func() {
		for range 20 {
			if len(hand) > 3 {
				t.Errorf("%d in hand", len(hand))
			}
			(<-hand)()
		}
	}()
	err := Acting{
		Tool: "demo", Action: "do", Host: func() string { return "moscow" }, Now: func() time.Time { return at }, Fills: []rows.Column{rows.Archived},
		Start: func(_ *Due, done func()) { hand <- done },
	}.Run(Env{In: strings.NewReader(in), Out: &bytes.Buffer{}, Report: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
}

// A host's name may be set while a pipe stands: from then on the rows of that name are
// this host's.
func TestRowsOfTheNameThatTheHostHasNow(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)
	name := "localhost"
	err := Acting{
		Tool: "demo", Action: "do", Host: func() string { return name }, Now: func() time.Time { return at },
		Act: func(*rows.Record, rows.Row, rows.Limit) error { name = "moscow"; return Note("did it") },
	}.Run(Env{
		In: strings.NewReader(strings.ReplaceAll("time,host,user,proc,count,actions\nAT,moscow,a,x,9,do=1\nAT,localhost,b,x,9,do=1\nAT,moscow,c,x,9,do=1\n",
			"AT", at.Format(time.RFC3339))),
		Out: &out, Report: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{"a": "demo: not this host", "b": "demo: did it", "c": "demo: did it"} {
		if !strings.Contains(out.String(), ","+user+",x,9,do=1,"+want+",") {
			t.Errorf("%s: want %q: %s", user, want, out.String())
		}
	}
}
