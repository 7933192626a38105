package alertmail_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// cells are a row's, where they differ from one that has nothing to report.
type cells map[rows.Column]string

// stream returns a snapshot of all columns.
func stream(all ...cells) string {
	var b bytes.Buffer
	w := rows.NewWriter(&b)
	_ = w.Write(rows.Header(rows.AllColumns))
	for _, row := range all {
		filled := cells{
			rows.Time: "2000-04-25T05:17:02Z", rows.Host: "moscow", rows.User: "groucho",
			rows.Proc: "imapd", rows.Count: "404", rows.Actions: "log=20",
		}
		maps.Copy(filled, row)
		record := make([]string, len(rows.AllColumns))
		for c, cell := range filled {
			record[c] = cell
		}
		_ = w.Write(record)
	}
	w.Flush()
	return b.String()
}

// incident is the row of the night on which this suite was thought of.
var incident = cells{
	rows.Actions:  "log=20 alert=60 archive=60 kill=100",
	rows.Archived: "/var/mail/arc/groucho.956639822",
	rows.Killed:   "404", rows.Remaining: "0",
}

// dry returns Options that print a whole mail, with all that varies fixed.
func dry() alertmail.Options {
	return alertmail.Options{
		To: []string{"root"}, From: "stormcheck <root@moscow>", Sender: "root@moscow",
		Title: "STORM ALERT", Name: "stormcheck", Task: "Report unusually high numbers of per-user processes.",
		DryRun: true, Node: func() string { return "moscow" }, Host: "moscow", PID: 4711, Stderr: io.Discard, Syslog: "/nonexistent",
		OverAfter: 5, After: 1, Repeats: []time.Duration{time.Hour}, Window: 10 * time.Minute,
		Now: func() time.Time {
			return time.Date(2000, 4, 25, 0, 17, 2, 5, time.FixedZone("CDT", -5*60*60))
		},
	}
}

// printed returns Options that print the text alone.
func printed() alertmail.Options {
	o := dry()
	o.To, o.DryRun = nil, false
	return o
}

// run returns what was printed and all that was reported.
func run(t *testing.T, o alertmail.Options, in string) (out string, problems []string) {
	t.Helper()
	o.Report = func(err error) { problems = append(problems, err.Error()) }
	var b bytes.Buffer
	if err := alertmail.Run(o, strings.NewReader(in), &b); err != nil && err != filter.ErrFailed {
		problems = append(problems, err.Error())
	}
	return b.String(), problems
}

// quiet is run where nothing must be reported.
func quiet(t *testing.T, o alertmail.Options, in string) string {
	t.Helper()
	out, problems := run(t, o, in)
	if len(problems) > 0 {
		t.Errorf("reported %q", problems)
	}
	return out
}

// bars is the line of a storm's history.
var bars = regexp.MustCompile(`(?m)^ +.*[▁▂▃▄▅▆▇█].*, peak \d+\n`)

// below returns the rows of a text, without their bars.
func below(t *testing.T, text string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "per-user processes.\n")
	if !found {
		t.Fatalf("no task in:\n%s", text)
	}
	rest, _, _ = strings.Cut(rest, "\nWhat to do next")
	return bars.ReplaceAllString(rest, "")
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRowsWorthAMessage(t *testing.T) {
	for _, c := range []struct {
		name     string
		row      cells
		reported bool
	}{
		{"logged only", cells{rows.Actions: "log=20"}, false},
		{"no action", cells{rows.Actions: ""}, false},
		{"an action that only begins alike", cells{rows.Actions: "alerts=20 pages=20"}, false},
		{"archive and kill due, not done", cells{rows.Actions: "archive=60 kill=100", rows.Notes: "killstorm: not this host"}, false},
		{"alert", cells{rows.Actions: "log=20 alert=60"}, true},
		{"growth alert", cells{rows.Actions: "alert=+60"}, true},
		{"alert without a limit", cells{rows.Actions: "alert"}, true},
		{"page", cells{rows.Actions: "page=60"}, true},
		{"archived", cells{rows.Archived: "/a"}, true},
		{"killed", cells{rows.Killed: "0"}, true},
		{"remaining", cells{rows.Remaining: "0"}, true},
		{"failed", cells{rows.Errors: "mine: broken"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if out := quiet(t, printed(), stream(c.row)); (out != "") != c.reported {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestColumnsInAnyOrder(t *testing.T) {
	got := quiet(t, printed(), "actions,mine,count,proc,user,host\nalert=60,\"x,y\",61,vi,zeppo,tula\n")
	same(t, below(t, got), "\n          61 zeppo vi\n")
	if !strings.Contains(got, strings.Repeat(" ", 35)+"tula\n") {
		t.Errorf("host not centred:\n%s", got)
	}
}

func TestRefusedRowsAndTheRest(t *testing.T) {
	in := stream(incident) + "cut,row\n" + "time,host,user,proc,count\n" + "x,y,z,p,9\n"
	out, problems := run(t, printed(), in)
	want := []string{"<stdin>:3: 2 cells where the header has 19", `<stdin>:4: header: no column "actions", which threshold adds`}
	if !slices.Equal(problems, want) {
		t.Errorf("reported %q, want %q", problems, want)
	}
	if !strings.Contains(out, "404 groucho imapd") {
		t.Errorf("what was read isn't reported: %q", out)
	}
	out, problems = run(t, printed(), stream(incident)+"\"unfinished\n")
	if len(problems) != 1 || !strings.Contains(out, "404 groucho imapd") {
		t.Errorf("reading ended early: message %q, reported %q", out, problems)
	}
	if out, problems = run(t, printed(), ""); out != "" || len(problems) != 1 {
		t.Errorf("no input: message %q, reported %q", out, problems)
	}
}

func TestOneMessageOrEach(t *testing.T) {
	a, b := cells{rows.Killed: "1", rows.User: "a"}, cells{rows.Killed: "1", rows.User: "b"}
	in := stream(a) + stream() + stream(cells{}, b) + "time,user,proc,count\n1,lost,p,3\n" + stream(a)
	reported := func(o alertmail.Options) (reported []string) {
		out, _ := run(t, o, in)
		for _, text := range strings.Split(out, o.Title)[1:] {
			var users string
			for _, line := range strings.Split(text, "\n") {
				if user, is := strings.CutPrefix(line, "         404 "); is {
					users += user[:1]
				}
			}
			reported = append(reported, users)
		}
		return reported
	}
	o := printed()
	if got := reported(o); !slices.Equal(got, []string{"aab"}) {
		t.Errorf("one message for all: %q", got)
	}
	o.Each = true
	if got := reported(o); !slices.Equal(got, []string{"a", "b", "a"}) {
		t.Errorf("a message each: %q", got)
	}
}

// TestEachReportsAtOnce: a snapshot is reported when the next header is there, not
// only at the end of input; an unfit header ends it too.
func TestEachReportsAtOnce(t *testing.T) {
	for _, next := range []string{stream(), "time,user,proc,count\n"} {
		o := printed()
		o.Each, o.Report = true, func(error) {}
		var out bytes.Buffer
		feed := &feeder{text: stream(incident) + next}
		feed.atEnd = func() {
			if !strings.Contains(out.String(), "404 groucho imapd") {
				t.Errorf("nothing reported at %q", next)
			}
			out.Reset()
		}
		if err := alertmail.Run(o, feed, &out); err != nil {
			t.Error(err)
		}
		if out.Len() > 0 {
			t.Errorf("reported again: %s", &out)
		}
	}
}

func TestWorstRowIsFirst(t *testing.T) {
	in := []cells{
		{rows.User: "alert-more", rows.Count: "900", rows.Actions: "alert=60"},
		{rows.User: "killed", rows.Count: "10", rows.Killed: "10", rows.Remaining: "0"},
		{rows.User: "alert-less", rows.Count: "800", rows.Actions: "alert=60"},
		{rows.User: "failed", rows.Count: "30", rows.Errors: "x: y"},
		{rows.User: "remaining", rows.Count: "5", rows.Killed: "1", rows.Remaining: "4"},
		{rows.User: "paged", rows.Count: "20", rows.Actions: "page=20"},
		{rows.User: "same", rows.Proc: "b", rows.Count: "7", rows.Actions: "alert=5"},
		{rows.User: "same", rows.Proc: "a", rows.Host: "tula", rows.Count: "7", rows.Actions: "alert=5"},
		{rows.User: "same", rows.Proc: "a", rows.Host: "omsk", rows.Count: "7", rows.Actions: "alert=5"},
		{rows.User: "equal", rows.Proc: "z", rows.Count: "7", rows.Actions: "alert=5"},
	}
	want := "remaining killed paged failed alert-more alert-less equal same/a/omsk same/a/tula same/b/moscow"
	for range in {
		in = append(in[1:], in[0])
		var got []string
		for _, line := range strings.Split(below(t, quiet(t, printed(), stream(in...))), "\n") {
			if f := strings.Fields(line); len(f) >= 3 && strings.Trim(f[0], "0123456789") == "" {
				name := f[1]
				if name == "same" {
					host := "moscow"
					if len(f) > 3 {
						host = f[4]
					}
					name += "/" + f[2] + "/" + host
				}
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("order %q, want %q", got, want)
		}
	}
}

// TestFiftyRowsAreShown: 50 rows are shown, those that were killed above all, and the
// others are counted.
func TestFiftyRowsAreShown(t *testing.T) {
	alert := func(n int) (all []cells) {
		for i := range n {
			all = append(all, cells{rows.Count: fmt.Sprint(1000 + i), rows.Actions: "alert=60"})
		}
		return all
	}
	killed := cells{rows.User: "last", rows.Count: "1", rows.Killed: "1", rows.Remaining: "0"}
	for _, c := range []struct {
		rows int
		more string
	}{
		{49, ""}, {50, "\n        and 1 more row\n"}, {66, "\n        and 17 more rows\n"},
	} {
		got := below(t, quiet(t, printed(), stream(append(alert(c.rows), killed)...)))
		if n := strings.Count(got, "imapd\n"); n != min(50, c.rows+1) {
			t.Errorf("%d rows of %d shown", n, c.rows+1)
		}
		if !strings.HasPrefix(got, "\n           1 last imapd\n") {
			t.Errorf("what was killed isn't the first:\n%s", got)
		}
		if shown := strings.Contains(got, "1000 groucho"); shown != (c.more == "") {
			t.Errorf("of %d rows the least shown: %v", c.rows+1, shown)
		}
		if !strings.HasSuffix(got, "imapd\n"+c.more) {
			t.Errorf("the end of %d rows isn't %q:\n%s", c.rows+1, c.more, got)
		}
	}
}

func TestAllRowsAreLogged(t *testing.T) {
	o := printed()
	o.Log = filepath.Join(t.TempDir(), "log")
	in := stream(incident, cells{})
	quiet(t, o, in+in)
	got, err := os.ReadFile(o.Log)
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(got), in+strings.SplitN(in, "\n", 2)[1])

	o.DryRun = true
	quiet(t, o, in)
	if after, _ := os.ReadFile(o.Log); !bytes.Equal(after, got) {
		t.Error("a dry run logs")
	}

	o.DryRun = false
	o.Log = filepath.Join(t.TempDir(), "none", "log")
	out, problems := run(t, o, in)
	if len(problems) != 1 || !strings.HasPrefix(problems[0], o.Log+": ") {
		t.Errorf("reported %q", problems)
	}
	if !strings.Contains(out, "404 groucho imapd") {
		t.Errorf("a log that can't be written keeps from telling: %q", out)
	}
}

// TestRowsAreLoggedBeforeAReadThatMayBlock: rows are in the log before a read that may block.
func TestRowsAreLoggedBeforeAReadThatMayBlock(t *testing.T) {
	o := printed()
	o.Log = filepath.Join(t.TempDir(), "log")
	o.Report = func(err error) { t.Error(err) }
	in := stream(incident)
	feed := &feeder{text: in, atEnd: func() {
		if got, _ := os.ReadFile(o.Log); string(got) != in {
			t.Errorf("logged %q", got)
		}
	}}
	if err := alertmail.Run(o, feed, io.Discard); err != nil {
		t.Error(err)
	}
}

// A feeder hands out its text, and calls atEnd, which may give it more, when it
// has no more.
type feeder struct {
	text  string
	atEnd func()
}

func (f *feeder) Read(p []byte) (int, error) {
	if f.text == "" {
		f.atEnd()
	}
	if f.text == "" {
		return 0, io.EOF
	}
	n := copy(p, f.text)
	f.text = f.text[n:]
	return n, nil
}

// TestOnlyWhatCanBeShownIsKept: what is kept of a row is what can be shown, not the columns of
// others.
func TestOnlyWhatCanBeShownIsKept(t *testing.T) {
	const size = 400 << 10
	o := printed()
	o.Report = func(err error) { t.Error(err) }
	long := strings.Repeat("x", size)
	line := "moscow,groucho,imapd,%d,alert=60," + long + "," + long + "\n"
	kept := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	before := kept()
	feed := &feeder{text: "host,user,proc,count,actions,notes,mine\n"}
	n := 0
	feed.atEnd = func() {
		if n++; n <= 100 {
			feed.text = fmt.Sprintf(line, n)
		} else if grown := kept() - before; grown > 10<<20 {
			t.Errorf("%d bytes kept", grown)
		}
	}
	if err := alertmail.Run(o, feed, io.Discard); err != nil {
		t.Error(err)
	}
}

// tool runs the command and returns its status. The command limits the memory of its
// process, which here is that of all tests.
func tool(in string, args ...string) (stdout, stderr string, status int) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	app := alertmail.App()
	var out, problems bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(in), &out, &problems
	status = filter.Status(app, append([]string{"alertmail"}, args...))
	return out.String(), problems.String(), status
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // of a usage error
	}{
		{[]string{"-n"}, ""},
		{[]string{"--to", "root", "--to", "a+b@c.example", "-n"}, ""},
		{[]string{"--to", ""}, `--to: "" is not an address`},
		{[]string{"--to", "root", "--to", "-oQ/tmp"}, `--to: "-oQ/tmp" is not an address`},
		{[]string{"--to", "a b"}, `--to: "a b" is not an address`},
		{[]string{"--to", "a,b"}, `--to: "a,b" is not an address`},
		{[]string{"--to", "a\nBcc: x@y"}, `--to: "a\nBcc: x@y" is not an address`},
		{[]string{"--to", "a\x7f"}, `--to: "a\x7f" is not an address`},
		{[]string{"--to", "ä"}, `--to: "ä" is not an address`},
		{[]string{"--to", strings.Repeat("a", 254), "-n"}, ""},
		{[]string{"--to", "ops@[192.0.2.1]", "-n"}, ""},
		{[]string{"--to", "root;ops@example.org"}, `--to: "root;ops@example.org" is not an address`},
		{[]string{"--to", `"`}, `--to: "\"" is not an address`},
		{[]string{"--to", "ops@"}, `--to: "ops@" is not an address`},
		{[]string{"--to", "@example.org"}, `--to: "@example.org" is not an address`},
		{[]string{"--to", "|/bin/sh"}, `--to: "|/bin/sh" is not an address`},
		{[]string{"--to", "/etc/passwd"}, `--to: "/etc/passwd" is not an address`},
		{[]string{"--to", "Ops <ops@example.org>"}, `--to: "Ops <ops@example.org>" is not an address`},
		{[]string{"--to", "a..b@example.org"}, `--to: "a..b@example.org" is not an address`},
		{[]string{"--to", "ops@[]"}, `--to: "ops@[]" is not an address`},
		{[]string{"--to", "a@b@c"}, `--to: "a@b@c" is not an address`},
		{[]string{"--from", "Ops <ops> x"}, `--from: "Ops <ops> x" is not an address`},
		{[]string{"--from", "Ops\n<ops>"}, `--from: "Ops\n<ops>" is not an address`},
		{[]string{"--to", strings.Repeat("a", 255)}, `--to: "` + strings.Repeat("a", 255) + `" is not an address`},
		{[]string{"--from", ""}, "--from: empty"},
		{[]string{"--from", "a b"}, `--from: "a b" is not an address`},
		{[]string{"--from", "a@b\nBcc: x@y"}, `--from: "a@b\nBcc: x@y" is not an address`},
		{[]string{"--from", "<-f@b>"}, `--from: "<-f@b>" is not an address`},
		{[]string{"--level", "loud"}, `--level: "loud" is none of emergency, urgent, critical, error, warning, notice, info, debug`},
		{[]string{"--level", ""}, `--level: "" is none of emergency, urgent, critical, error, warning, notice, info, debug`},
		{[]string{"--title", ""}, "--title: empty"},
		{[]string{"--sendmail", ""}, "--sendmail: empty"},
		{[]string{"--log", ""}, "--log: empty"},
		{[]string{"--page-to", "root", "-n"}, ""},
		{[]string{"--page-to", "-x"}, `--page-to: "-x" is not an address`},
		{[]string{"--context", ""}, "--context: empty"},
		{[]string{"--context-window", "0"}, `--context-window: "0" is not a positive duration such as 90s or 10m`},
		{[]string{"--state", ""}, "--state: empty"},
		{[]string{"--repeat", "1h"}, "--repeat: needs --state"},
		{[]string{"--after", "3"}, "--after: needs --state"},
		{[]string{"--over-after", "3"}, "--over-after: needs --state"},
		{[]string{"--state", "s", "--repeat", "1"}, `--repeat: "1" is not a positive duration such as 90s or 10m`},
		{[]string{"--state", "s", "--repeat", "0", "-n"}, ""},
		{[]string{"--state", "s", "--after", "0"}, "--after: must be 1 or more"},
		{[]string{"--state", "s", "--over-after", "x"}, `--over-after: "x" is not a number`},
	} {
		out, problems, status := tool(stream(), c.args...)
		switch {
		case c.want == "" && (out != "" || problems != "" || status != 0):
			t.Errorf("%q: status %d, %s", c.args, status, problems)
		case c.want != "" && (status != 2 || !strings.HasPrefix(problems, "alertmail: "+c.want+"\nusage: alertmail [--to ADDR]...")):
			t.Errorf("%q: status %d, %s", c.args, status, problems)
		}
	}
}

// TestRowsAreLoggedWithoutAReader: with nobody to read the message the rows are still logged, and
// the status says that it got nowhere.
func TestRowsAreLoggedWithoutAReader(t *testing.T) {
	if os.Getenv("ALERTMAIL_LOG") != "" {
		os.Args = []string{"alertmail", "--log", os.Getenv("ALERTMAIL_LOG")}
		filter.Main(alertmail.App())
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command(os.Args[0], "-test.run=^TestRowsAreLoggedWithoutAReader$")
	cmd.Env = append(os.Environ(), "ALERTMAIL_LOG="+log)
	var problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stream(incident)), writer, &problems
	if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 1 || problems.String() != "alertmail: <stdout>: broken pipe\n" {
		t.Errorf("%s, %s", cmd.ProcessState, &problems)
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != stream(incident) {
		t.Errorf("logged %q, %v", text, err)
	}
}

func TestDefaults(t *testing.T) {
	out, problems, status := tool(stream(incident))
	if status != 0 || problems != "" {
		t.Errorf("status %d, %s", status, problems)
	}
	for _, want := range []string{
		strings.Repeat(" ", 31) + "STORM ALERT\n",
		"\nURGENT:\n    stormcheck\n        Report unusually high numbers of per-user processes.\n\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
