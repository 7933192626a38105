package stormplot

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"stormcheck/pkg/table"
)

// A situation is input that is drawn as text and as SVG.
type situation struct {
	name string
	o    Options
	in   string
}

// situations are what the drawings in testdata show.
func situations(t testing.TB) []situation {
	t.Helper()
	at := func(o Options, hours float64) time.Time { return o.Now.Add(time.Duration(hours * float64(time.Hour))) }
	every := func(o Options, from, until float64, each time.Duration, add func(hour float64, t time.Time)) {
		for now := at(o, from); now.Before(at(o, until)); now = now.Add(each) {
			add(now.Sub(o.Now).Hours(), now)
		}
	}
	var all []situation
	add := func(name string, o Options, s *stream) { all = append(all, situation{name, o, s.String()}) }

	// A storm that was ended, one that only grew, and a service that is always large.
	o, s := options(t), newStream()
	o.Since = at(o, -12)
	every(o, -12, 0, time.Minute, func(hour float64, now time.Time) {
		switch n := int((hour + 7) * 1200); {
		case hour >= -6.98 && hour < -6.72:
			s.row(now, "moscow", "groucho", "imapd", min(n, 404), 0)
		case hour >= -6.72 && hour < -6.7:
			s.row(now, "moscow", "groucho", "imapd", 404, 404)
		}
		if hour > -4 {
			s.row(now, "moscow", "chico", "sendmail", 20+int((hour+4)*15), 0)
		}
		s.row(now, "moscow", "harpo", "httpsd", 35-int(hour*hour/10), 0)
	})
	add("night", o, s)

	// The same night, one pair.
	o.User = compile(t, "groucho")
	o.Since = time.Time{}
	add("one", o, s)

	// Seven days with a storm each night, at 40 columns.
	o, s = options(t), newStream()
	o.Width = 40
	every(o, -7*24, 0, 10*time.Minute, func(_ float64, now time.Time) {
		if hour := now.In(o.Zone).Hour(); hour < 2 {
			s.row(now, "moscow", "groucho", "imapd", 150+now.Day()*7+hour, 150)
		} else if hour >= 9 && hour < 17 && now.Weekday() != time.Sunday {
			s.row(now, "moscow", "zeppo", "python3", 24+hour, 0)
		}
	})
	add("week", o, s)

	// Two days on which clocks are set back: one has 25 hours.
	o, s = options(t), newStream()
	o.Now = time.Date(2000, 10, 30, 0, 0, 0, 0, o.Zone)
	every(o, -49, 0, 30*time.Minute, func(_ float64, now time.Time) {
		s.row(now, "moscow", "groucho", "imapd", 20+now.In(o.Zone).Hour(), 0)
		if now.In(o.Zone).Hour() == 1 {
			s.row(now, "moscow", "harpo", "imapd", 30, 0)
		}
	})
	add("clocks", o, s)

	// A fleet, one host of which could not be asked for a while.
	o, s = options(t), newStream()
	every(o, -24, 0, 5*time.Minute, func(hour float64, now time.Time) {
		for i, host := range []string{"mail1", "mail2", "mail3"} {
			if i == 1 && hour > -12 && hour < -9 {
				fmt.Fprintf(s, "%s,%s,?,,?,0,,,,,,,,,,ssh: no route to host\n", now.UTC().Format(time.RFC3339), host)
				continue
			}
			s.row(now, host, "groucho", "imapd", 30+i*20+int(-hour), 0)
		}
	})
	add("fleet", o, s)

	// A night in which cron was dead for two hours.
	o, s = options(t), newStream()
	o.Since = at(o, -10)
	o.Runs = runs(t, o.Since, func(minute int) bool { return minute < 240 || minute > 360 }, 600)
	every(o, -9, -8, time.Minute, func(_ float64, now time.Time) { s.row(now, "moscow", "groucho", "imapd", 60, 0) })
	every(o, -3, -1, time.Minute, func(_ float64, now time.Time) { s.row(now, "moscow", "chico", "vi", 21, 0) })
	add("dead-cron", o, s)

	// A quiet night in which all checks ran.
	o = options(t)
	o.Since = at(o, -10)
	o.Runs = runs(t, o.Since, func(int) bool { return true }, 600)
	add("quiet", o, newStream())

	// Names of other scripts, of control characters, and too long ones; trim and growth.
	o, s = options(t), newStream()
	for i, name := range []string{strings.Repeat("x", 255), "日本語のユーザー名は広い", "e\u0301\u0301\u0301\u0301ric", `a\x1b[31m\x2c`, "<b>&amp;"} {
		every(o, -1, 0, 5*time.Minute, func(hour float64, now time.Time) {
			fmt.Fprintf(s, "%s,moscow,%s,,%s,%d,,30,,*/*,alert=+30 trim=60 kill=100|+60,,,,,\n", now.UTC().Format(time.RFC3339), name, name, 60+i)
		})
	}
	add("names", o, s)
	return all
}

func compile(t testing.TB, glob string) table.Pattern {
	t.Helper()
	p, err := table.Compile(glob)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGolden holds the drawings in testdata, of text for both kinds of locales, against
// what is drawn now. With -update it writes them.
func TestGolden(t *testing.T) {
	for _, s := range situations(t) {
		golden(t, s.name+".txt", drawn(t, with(s.o, func(o *Options) { o.ASCII = false }), s.in))
		golden(t, s.name+".ascii.txt", drawn(t, s.o, s.in))
		svg := drawn(t, with(s.o, func(o *Options) { o.SVG = true }), s.in)
		wellFormed(t, svg)
		golden(t, s.name+".svg", svg)
		if s.name == "week" {
			heat := with(s.o, func(o *Options) { o.Heat = true })
			golden(t, "heat.ascii.txt", drawn(t, heat, s.in))
			heat.SVG = true
			svg := drawn(t, heat, s.in)
			wellFormed(t, svg)
			golden(t, "heat.svg", svg)
		}
	}
}

func with(o Options, change func(*Options)) Options {
	change(&o)
	return o
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v; drawn now, which -update writes:\n%.3000s", path, err, got)
	}
}

// TestTextAndSVGHaveTheSameMaxima reads both drawings back.
func TestTextAndSVGHaveTheSameMaxima(t *testing.T) {
	for _, s := range situations(t) {
		s.o.ASCII = false
		h := read(t, s.o, s.in)
		sheet, picture := newSheet(s.o, h, nil), newChart(s.o, h, nil, svgBars)
		text, svg := sheet.text(), readSVG(t, s.o, h, picture)
		for _, l := range sheet.lines {
			name := sheet.name(l)
			bars, peak := readText(t, sheet, text, l)
			var most uint32
			for _, n := range svg[name] {
				most = max(most, n)
			}
			if peak != most || most != l.peak {
				t.Errorf("%s: %s: the text says %d, the SVG %d, the rows %d", s.name, name, peak, most, l.peak)
			}
			for i, height := range bars {
				most = 0
				for from, n := range svg[name] {
					if sheet.at(from) == i {
						most = max(most, n)
					}
				}
				full := eighths
				if len(sheet.lines) == 1 {
					full *= tall
				}
				if want := level(most, peak, full); height != want {
					t.Errorf("%s: %s: bar %d is %d high; %d of %d in the SVG are %d", s.name, name, i, height, most, peak, want)
				}
			}
		}
	}
}

// readText returns how high the bars of a line of text are, and the peak beside them.
func readText(t *testing.T, s *sheet, text string, l line) (heights []int, peak uint32) {
	t.Helper()
	heights = make([]int, s.chart.bars())
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, s.label(s.cells(l))) {
			continue
		}
		first := i
		if len(s.lines) == 1 {
			first = i - tall + 1
		}
		for _, row := range lines[first : i+1] {
			cells := []rune(cutColumns(row, s.left))
			for bar := range heights {
				if at := bar * s.wide; at < len(cells) {
					heights[bar] += max(strings.IndexRune("▁▂▃▄▅▆▇█", cells[at])/3+1, 0)
					if !strings.ContainsRune("▁▂▃▄▅▆▇█", cells[at]) {
						heights[bar]--
					}
				}
			}
		}
		figures := strings.Fields(string([]rune(cutColumns(line, s.left))[s.chart.bars()*s.wide:]))
		n, err := strconv.ParseUint(figures[0], 10, 32)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return heights, uint32(n)
	}
	t.Fatalf("no line of %s %s in\n%s", l.user, l.proc, text)
	return nil, 0
}

// cutColumns returns a line without its first n columns.
func cutColumns(line string, n int) string {
	for n > 0 && line != "" {
		r, size := utf8.DecodeRuneInString(line)
		n -= columns(r)
		line = line[size:]
	}
	for line != "" { // what joins the last
		r, size := utf8.DecodeRuneInString(line)
		if columns(r) > 0 {
			break
		}
		line = line[size:]
	}
	return line
}

// readSVG returns the numbers of each pair's bars, by the time at which a bar begins.
func readSVG(t *testing.T, o Options, h *history, c *chart) map[string]map[int64]uint32 {
	t.Helper()
	begins := map[string]int64{}
	for i := range c.bars() {
		begins[interval(c.zone, c.bounds[i], c.bounds[i+1])] = c.bounds[i]
	}
	found := map[string]map[int64]uint32{}
	in := xml.NewDecoder(strings.NewReader(c.svg()))
	for {
		token, err := in.Token()
		if err == io.EOF {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		text, is := token.(xml.CharData)
		if !is {
			continue
		}
		for _, l := range c.lines {
			bar, is := strings.CutPrefix(string(text), c.name(l)+", ")
			parts := barText.FindStringSubmatch(bar)
			if !is || parts == nil {
				continue
			}
			at, known := begins[parts[1]]
			n, err := strconv.ParseUint(parts[2], 10, 32)
			if !known || err != nil {
				t.Fatalf("%q", text)
			}
			if found[c.name(l)] == nil {
				found[c.name(l)] = map[int64]uint32{}
			}
			found[c.name(l)][at] = uint32(n)
		}
	}
}

var barText = regexp.MustCompile(`^(.*): (\d+)(;.*)?$`)

// wellFormed reads an SVG to its end.
func wellFormed(t testing.TB, svg string) {
	t.Helper()
	in := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := in.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzRun draws whatever it gets: nothing crashes, hangs, or goes to a terminal.
func FuzzRun(f *testing.F) {
	for _, s := range situations(f) {
		f.Add(s.in[:min(len(s.in), 2000)], false, false)
	}
	f.Add(header+"2000-04-25T05:17:02Z,moscow,groucho,,imapd,404,,,,,kill=100|+60,,4294967294,,,\n0000-01-01T00:00:00Z,,,,,0,,,,,,,,,,\n", true, true)
	f.Fuzz(func(t *testing.T, in string, heat, svg bool) {
		o := options(t)
		o.Heat, o.SVG = heat, svg
		drawing, _, _ := draw(t, o, in)
		for _, r := range drawing {
			if r < ' ' && r != '\n' || r > 0x7e && !svg {
				t.Errorf("%q in %q", r, drawing)
			}
		}
		if svg && drawing != "" {
			wellFormed(t, drawing)
		}
	})
}
