package stormplot

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

var update = flag.Bool("update", false, "rewrite the golden drawings")

// header is what the five filters write, old and new columns alike.
const header = "time,host,user,uid,proc,count,zombies,recent,account,rule,actions,archived,killed,remaining,notes,errors\n"

// A stream is a log in the making.
type stream struct{ strings.Builder }

func newStream() *stream {
	s := &stream{}
	s.WriteString(header)
	return s
}

// row adds a row with what the standard limits say of its count.
func (s *stream) row(at time.Time, host, user, proc string, count, killed int) {
	var actions []string
	for _, a := range []struct {
		name  string
		limit int
	}{{"log", 20}, {"alert", 60}, {"archive", 60}, {"kill", 100}} {
		if count >= a.limit {
			actions = append(actions, fmt.Sprint(a.name, "=", a.limit))
		}
	}
	gone := ""
	if killed > 0 {
		gone = fmt.Sprint(killed)
	}
	fmt.Fprintf(s, "%s,%s,%s,,%s,%d,,,,*/*,%s,,%s,,,\n", at.UTC().Format(time.RFC3339), host, user, proc, count, strings.Join(actions, " "), gone)
}

// chicago is where moscow stands in these tests: its clocks change.
func chicago(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Skip("no time zones here: ", err)
	}
	return zone
}

// options are those of a terminal of 80 columns on the night of the storm.
func options(t testing.TB) Options {
	zone := chicago(t)
	return Options{Now: time.Date(2000, 4, 25, 7, 0, 0, 0, zone), Zone: zone, Top: 10, Width: 80, ASCII: true}
}

// draw runs stormplot, and returns its drawing, what it reported, and what ended it.
func draw(t testing.TB, o Options, in string) (drawing string, reported []string, err error) {
	t.Helper()
	var out strings.Builder
	err = Run(o, filter.Env{In: strings.NewReader(in), Out: &out, Report: func(err error) { reported = append(reported, err.Error()) }})
	return out.String(), reported, err
}

// drawn is draw for input without a fault.
func drawn(t testing.TB, o Options, in string) string {
	t.Helper()
	drawing, reported, err := draw(t, o, in)
	if len(reported) > 0 || err != nil {
		t.Errorf("reported %q, ended by %v", reported, err)
	}
	return drawing
}

func contains(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func lacks(t *testing.T, text string, unwanted ...string) {
	t.Helper()
	for _, u := range unwanted {
		if strings.Contains(text, u) {
			t.Errorf("%q in\n%s", u, text)
		}
	}
}

// lineOf returns the first line of a drawing that begins with a text.
func lineOf(t *testing.T, drawing, begin string) string {
	t.Helper()
	for line := range strings.Lines(drawing) {
		if strings.HasPrefix(line, begin) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	t.Fatalf("no line %q in\n%s", begin, drawing)
	return ""
}

func TestBarIsTheMaximumAndNeverAnAverage(t *testing.T) {
	o := options(t)
	s := newStream()
	start := time.Date(2000, 4, 24, 18, 0, 7, 0, o.Zone)
	for minute := range 12 * 60 {
		count := 20
		if minute == 6*60+17 {
			count = 404
		}
		s.row(start.Add(time.Duration(minute)*time.Minute), "moscow", "groucho", "imapd", count, 0)
	}
	c := newChart(o, read(t, o, s.String()), nil, 12)
	for i, b := range c.lines[0].bars {
		want := uint32(20)
		if i == 6 {
			want = 404
		}
		if b.max != want {
			t.Errorf("bar %d of %v: %d; want %d", i, c.each, b.max, want)
		}
	}
	contains(t, drawn(t, o, s.String()), "404 00:17")
}

// read takes a stream into a history.
func read(t *testing.T, o Options, text string) *history {
	t.Helper()
	in := &input{Options: o, history: newHistory(o.Zone, o.Top)}
	err := filter.Stream{
		Need:   []rows.Column{rows.Time, rows.User, rows.Proc, rows.Count},
		Idle:   func() error { return nil },
		Header: func(*rows.Record) error { return nil },
		Row:    func(r *rows.Record) error { in.row(r); return nil },
	}.Run(strings.NewReader(text), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return in.history
}

func TestWorstComeFirst(t *testing.T) {
	o := options(t)
	s := newStream()
	for i := range 30 {
		s.row(o.Now.Add(-time.Hour), "moscow", fmt.Sprintf("user%02d", i), "imapd", 20+(i*7)%30, 0)
	}
	o.Top = 3
	lines := strings.Split(drawn(t, o, s.String()), "\n")
	var users []string
	for _, line := range lines {
		if strings.HasPrefix(line, "user") {
			users = append(users, strings.Fields(line)[0])
		}
	}
	if got, want := strings.Join(users, " "), "user17 user04 user21"; got != want {
		t.Errorf("drawn %s; want %s", got, want)
	}
}

func TestHostsAreNamedIfThereAreSeveral(t *testing.T) {
	o := options(t)
	one := newStream()
	one.row(o.Now.Add(-2*time.Hour), "moscow", "groucho", "imapd", 50, 0)
	one.row(o.Now.Add(-time.Hour), "moscow", "groucho", "imapd", 60, 0)
	if drawing := drawn(t, o, one.String()); strings.Count(drawing, "moscow") != 1 {
		t.Errorf("one host:\n%s", drawing)
	}
	one.row(o.Now.Add(-time.Hour), "mail2", "groucho", "imapd", 70, 0)
	drawing := drawn(t, o, one.String())
	contains(t, drawing, "groucho imapd mail2 ", "groucho imapd moscow ")
}

func TestPatternsChoose(t *testing.T) {
	o := options(t)
	s := newStream()
	for _, user := range []string{"groucho", "harpo", "chico"} {
		for _, proc := range []string{"imapd", "vi"} {
			s.row(o.Now.Add(-time.Hour), "moscow", user, proc, 50, 0)
		}
	}
	out := runApp(t, s.String(), "--user", "harpo|chi*", "--proc", "v?")
	contains(t, out, "harpo vi", "chico vi")
	lacks(t, out, "imapd", "groucho")
}

// runApp runs the command with its flags, whose status must be 0.
func runApp(t *testing.T, in string, args ...string) string {
	t.Helper()
	out, problems, status := runStatus(t, in, args...)
	if status != 0 || problems != "" {
		t.Errorf("%q: status %d: %s", args, status, problems)
	}
	return out
}

func runStatus(t *testing.T, in string, args ...string) (out, problems string, status int) {
	t.Helper()
	var stdout, stderr strings.Builder
	app := App()
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(in), &stdout, &stderr
	status = filter.Status(app, append([]string{"stormplot"}, args...))
	return stdout.String(), stderr.String(), status
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--since", "--since: needs a value"},
		{"--since 0h", `--since: "0h" is neither a duration such as 36h nor a date such as 2026-11-01`},
		{"--since 2d", `--since: "2d" is neither`},
		{"--since 1000000h", `--since: "1000000h" is neither`},
		{"--since 2026-13-01", `--since: "2026-13-01" is neither`},
		{"--since 2999-01-01", "--since: 2999-01-01 is in the future"},
		{"--top 0", "--top: 0 is not from 1 to 1000"},
		{"--top 1001", "--top: 1001 is not from 1 to 1000"},
		{"--top x", `--top: "x" is not a number`},
		{"--heat --top 3", "--top and --heat can't be used together"},
		{"--user [", `--user: "[": [ without ]`},
		{"log.csv", "operand \"log.csv\": rows come on standard input"},
	} {
		out, problems, status := runStatus(t, header, strings.Fields(c.args)...)
		if status != 2 || out != "" || !strings.HasPrefix(problems, "stormplot: "+c.want) || strings.Count(problems, "\n") != 3 {
			t.Errorf("%s: status %d, %q, %q", c.args, status, out, problems)
		}
	}
}

func TestSince(t *testing.T) {
	s := newStream()
	now := time.Now()
	s.row(now.Add(-50*time.Hour), "moscow", "harpo", "vi", 300, 0)
	s.row(now.Add(-3*time.Hour), "moscow", "groucho", "imapd", 40, 0)
	out := runApp(t, s.String(), "--since", "36h")
	contains(t, out, now.Add(-36*time.Hour).Format("2006-01-02 15:04"), " to "+now.Format(time.DateOnly), "groucho")
	lacks(t, out, "harpo")
	day := now.AddDate(0, 0, -4)
	out = runApp(t, s.String(), "--since", day.Format(time.DateOnly))
	contains(t, out, day.Format("2006-01-02 00:00"), "groucho", "harpo")
	if out := runApp(t, header, "--since", "1h"); !strings.Contains(out, "no storms") {
		t.Errorf("nothing found:\n%s", out)
	}
}

// A log that was rotated is read as one, whatever the order, and with old headers
// between new ones.
func TestStreamsAreJoined(t *testing.T) {
	o := options(t)
	newer, older := newStream(), newStream()
	newer.row(o.Now.Add(-time.Hour), "moscow", "groucho", "imapd", 50, 0)
	older.row(o.Now.Add(-9*time.Hour), "moscow", "groucho", "imapd", 60, 0)
	wide := "proc,count,mine,user,time,host,actions,killed\nimapd,70,x,groucho,2000-04-25T05:00:00Z,moscow,kill=+60,70\n"
	a, b := drawn(t, o, newer.String()+older.String()+wide), drawn(t, o, wide+older.String()+newer.String())
	if a != b {
		t.Errorf("the order of files matters:\n%s\n%s", a, b)
	}
	contains(t, a, "70 00:00", "2000-04-24 22:00 to 2000-04-25 06:00 CDT", "X killed")
}

func TestBadInput(t *testing.T) {
	o := options(t)
	good := "2000-04-25T05:17:02Z,moscow,groucho,,imapd,404,,,,,,,,,,\n"
	for name, c := range map[string]struct {
		in       string
		draws    bool
		reported []string
		ended    string
	}{
		"no bytes":           {"", false, nil, "<stdin>: no input, not even a header: the stage before failed"},
		"header only":        {header, true, nil, ""},
		"no time column":     {"user,proc,count\ngroucho,imapd,404\n", false, []string{`<stdin>:1: header: no column "time"`}, "status 1"},
		"ragged":             {header + "a,b,c\n" + good, true, []string{"<stdin>:2: 3 cells where the header has 16"}, ""},
		"being written":      {header + good + "2000-04-25T05:18:02Z,mosc", true, []string{"<stdin>:3: the last line is cut"}, ""},
		"a large count":      {header + strings.Replace(good, "404", "1000000000000000", 1) + good, true, []string{`<stdin>:2: count: "1000000000000000" is too large`}, ""},
		"the largest":        {header + strings.Replace(good, "404", "4294967294", 1), true, nil, ""},
		"of the future":      {header + strings.Replace(good, "2000", "2126", 1) + strings.Replace(good, "2000", "2127", 1) + good, true, []string{"<stdin>:2: rows from here on that are in the future: 2"}, ""},
		"old":                {header + strings.Replace(good, "2000", "1969", 1) + good, true, []string{"<stdin>:2: rows from here on that are older than 1970: 1"}, ""},
		"no time":            {header + strings.Replace(good, "2000-04-25T05:17:02Z", "", 1) + good, true, []string{"<stdin>:2: rows from here on that have no time that can be read: 1"}, ""},
		"a quote":            {header + good + "\"", true, nil, "<stdin>:3: extraneous or missing \" in quoted-field"},
		"a gap without time": {header + ",moscow,?,,?,0,,,,,,,,,,ssh: no route\n" + good, true, nil, ""},
	} {
		drawing, reported, err := draw(t, o, c.in)
		if ended := fmt.Sprint(err); strings.Join(reported, "\n") != strings.Join(c.reported, "\n") || ended != c.ended && (err != nil || c.ended != "") {
			t.Errorf("%s: reported %q, ended by %v", name, reported, err)
		}
		if (drawing != "") != c.draws {
			t.Errorf("%s: drawing %q", name, drawing)
		}
		if strings.Contains(c.in, good) && c.draws && !strings.Contains(drawing, "404 00:17") {
			t.Errorf("%s: the good row is missing:\n%s", name, drawing)
		}
	}
}

func TestFailedReadingAndWriting(t *testing.T) {
	o := options(t)
	broken := errors.New("broken")
	var out strings.Builder
	in := io.MultiReader(strings.NewReader(header+"2000-04-25T05:17:02Z,moscow,groucho,,imapd,404,,,,,,,,,,\n"), failing{broken})
	if err := Run(o, filter.Env{In: in, Out: &out, Report: func(error) {}}); !errors.Is(err, broken) || !strings.Contains(out.String(), "404") {
		t.Errorf("%v: %q", err, out.String())
	}
	if err := Run(o, filter.Env{In: strings.NewReader(header), Out: failing{broken}, Report: func(error) {}}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error)  { return 0, f.error }
func (f failing) Write([]byte) (int, error) { return 0, f.error }

func TestHostileNames(t *testing.T) {
	o := options(t)
	long := strings.Repeat("x", 255)
	s := newStream()
	at := o.Now.Add(-time.Hour)
	for i, name := range []string{long, `a\x1b[31m\x2c\\`, "日本語日本語日本語日本語", "e\u0301" + strings.Repeat("\u0301", 200), "\u0301\u0302", "<b>&amp;'", "a b", "\"q\x1b[2J\r\nuser,proc\""} {
		s.row(at, "moscow", name, name, 50+i, 0)
	}
	for _, wide := range []int{40, 80, 200} {
		o.Width = wide
		for _, o.ASCII = range []bool{false, true} {
			drawing := drawn(t, o, s.String())
			for line := range strings.Lines(drawing) {
				line = strings.TrimSuffix(line, "\n")
				if n := width(line); n > max(wide, 78) {
					t.Errorf("%d columns in %q", n, line)
				}
				for _, r := range line {
					if r < ' ' || r == 0x7f || o.ASCII && r > 0x7e {
						t.Errorf("%q in %q", r, line)
					}
				}
			}
			contains(t, drawing, `a\x1b[`)
		}
	}
	o.SVG = true
	svg := drawn(t, o, s.String())
	contains(t, svg, long, "&lt;b&gt;&amp;amp;&#39;", `\x1b[31m\x2c\\`)
	lacks(t, svg, "<b>", "\x1b", "<script")
	wellFormed(t, svg)
}

func TestThousandUsersAndSteps(t *testing.T) {
	o := options(t)
	o.Top = 5
	s := newStream()
	start := o.Now.Add(-20 * 24 * time.Hour)
	for minute := 0; minute < 20*24*60; minute += 90 {
		for user := range 1000 {
			count := 20 + user%40
			if minute == 90*100 && user == 777 {
				count = 404
			}
			s.row(start.Add(time.Duration(minute)*time.Minute), "moscow", fmt.Sprint("user", user), "imapd", count, 0)
		}
	}
	h := read(t, o, s.String())
	if h.step == 60 || len(h.series) < 5 {
		t.Errorf("steps of %d s, %d series: the bound on memory was not reached", h.step, len(h.series))
	}
	if worst := h.ranked()[0]; worst.user != "user777" || worst.peak != 404 || worst.peakAt != start.Add(9000*time.Minute).Unix() {
		t.Errorf("the worst: %s, %d at %d", worst.user, worst.peak, worst.peakAt)
	}
	cost := 0
	for _, s := range h.all() {
		cost += cap(s.samples)*sampleCost + seriesCost
	}
	if cost > 2*maxCost {
		t.Errorf("the history costs %d", cost)
	}
}

// Many names of one row each: the worst of all are still found.
func TestManyPairs(t *testing.T) {
	o := options(t)
	h := newHistory(o.Zone, o.Top)
	for i := range 200_000 {
		count := uint32(20)
		if i%50_000 == 7 {
			count = uint32(100 + i)
		}
		h.add(pair{host: "moscow", user: fmt.Sprint("user", i), proc: "imapd"}, observation{at: o.Now.Unix() - 60, count: count})
	}
	for i, want := range []string{"user150007", "user100007", "user50007", "user7"} {
		if got := h.ranked()[i].user; got != want {
			t.Errorf("the worst but %d is %s; want %s", i, got, want)
		}
	}
	if n := len(h.series); n > 50_000 {
		t.Errorf("%d series", n)
	}
}

// Rows in the worst of orders cost neither time nor memory.
func TestUnsorted(t *testing.T) {
	o := options(t)
	h, sorted := newHistory(o.Zone, o.Top), newHistory(o.Zone, o.Top)
	const n = 200_000
	for i := range n {
		at := int64(i * 7919 % n)
		k, what := pair{host: "moscow", user: "groucho", proc: "imapd"}, func(at int64) observation {
			return observation{at: o.Now.Unix() - 60*at, count: uint32(at), killed: 1}
		}
		h.add(k, what(at))
		sorted.add(k, what(int64(i)))
	}
	a, b := newChart(o, h, nil, 40), newChart(o, sorted, nil, 40)
	for i, got := range a.lines[0].bars {
		if got != b.lines[0].bars[i] {
			t.Errorf("bar %d: %v; sorted %v", i, got, b.lines[0].bars[i])
		}
	}
}

func TestGapIsUnknown(t *testing.T) {
	o := options(t)
	s := newStream()
	start := o.Now.Add(-4 * time.Hour)
	s.row(start, "moscow", "groucho", "imapd", 50, 0)
	s.row(start, "mail2", "harpo", "imapd", 50, 0)
	fmt.Fprintf(s, "%s,mail2,?,,?,0,,,,,,,,,,ssh: no route to host\n", start.Add(2*time.Hour).UTC().Format(time.RFC3339))
	s.row(start.Add(3*time.Hour), "moscow", "groucho", "imapd", 50, 0)
	drawing := drawn(t, o, s.String())
	contains(t, lineOf(t, drawing, "harpo"), "?")
	lacks(t, lineOf(t, drawing, "groucho"), "?")
	contains(t, drawing, "? unknown")
}

func TestRunsThatDidNotTakePlaceAreUnknown(t *testing.T) {
	o := options(t)
	s := newStream()
	start := o.Now.Add(-10 * time.Hour)
	s.row(start, "moscow", "groucho", "imapd", 50, 0)
	s.row(o.Now.Add(-time.Minute), "moscow", "groucho", "imapd", 50, 0)
	o.Runs = runs(t, start, func(minute int) bool { return minute < 120 || minute > 240 }, 600)
	o.Since = start
	drawing := drawn(t, o, s.String())
	bars := lineOf(t, drawing, "runs")
	if unknown := strings.Count(bars, "?"); unknown < 9 || unknown > 13 {
		t.Errorf("%d of 50 bars are unknown:\n%s", unknown, drawing)
	}
	contains(t, bars, " 79%")
	o.Runs = runs(t, start, func(int) bool { return true }, 600)
	drawing = drawn(t, o, s.String())
	lacks(t, drawing, "?")
	contains(t, lineOf(t, drawing, "runs"), " 100%")

	// A night without a storm, and one without a check, don't look the same.
	contains(t, drawn(t, o, header), "no storms", "____")
	o.Runs = runs(t, start, func(int) bool { return false }, 600)
	contains(t, drawn(t, o, header), "no storms", "????", " 0%", "? unknown: no check")
}

// runs writes a file of runs, one a minute for those that took place.
func runs(t testing.TB, start time.Time, took func(minute int) bool, minutes int) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("time,period,seconds,status,rows,killed\n")
	for minute := range minutes {
		if took(minute) {
			fmt.Fprintf(&text, "%s,60,0.2,0,3,0\n", start.Add(time.Duration(minute)*time.Minute).UTC().Format(time.RFC3339))
		}
	}
	path := filepath.Join(t.TempDir(), "runs.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A row whose limit of starts was reached has a line for them beside that of its count.
func TestStartsHaveALineOfTheirOwn(t *testing.T) {
	o := options(t)
	in := "time,host,user,uid,proc,count,actions,started\n"
	for minute := range 30 {
		at := o.Now.Add(time.Duration(minute-30) * time.Minute).UTC().Format(time.RFC3339)
		in += at + ",moscow,groucho,,curl,3,alert=200|3000/m," + fmt.Sprint(8700-minute) + "\n"
		in += at + ",moscow,harpo,,imapd,70,alert=60,12\n"
	}
	drawing := drawn(t, o, in)
	var got []string
	for line := range strings.Lines(drawing) {
		if f := strings.Fields(line); f[0] == "groucho" || f[0] == "harpo" {
			got = append(got, fmt.Sprint(f[0], " ", f[1], " ", f[len(f)-2]))
		}
	}
	if want := "[groucho curl/m 8700 harpo imapd 70 groucho curl 3]"; fmt.Sprint(got) != want {
		t.Errorf("%s; want %s in\n%s", got, want, drawing)
	}
}
