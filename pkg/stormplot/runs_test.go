package stormplot

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRotatedRunsAreRead(t *testing.T) {
	dir := t.TempDir()
	line := func(hour int) string {
		return time.Unix(int64(hour)*3600, 0).UTC().Format(time.RFC3339) + ",3600,0.2,0,3,0\n"
	}
	const header = "time,period,seconds,status,rows,killed\n"
	write := func(name, text string) {
		t.Helper()
		if strings.HasSuffix(name, ".gz") {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			z.Write([]byte(text))
			z.Close()
			text = packed.String()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "runs.csv")
	if _, err := readRuns(path, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write("runs.csv", header+line(9)+line(8)+header+line(7))
	write("runs.csv.1", header+line(6))
	write("runs.csv.2.gz", header+line(5))
	write("runs.csv.956639822", header+line(4))
	write("runs.csv-20000425-956639822", header+line(3))
	write("runs.csv-20000425-956639823.gz", header+line(2))
	write("runs.csv.lock", "dear diary")
	write("runs.csv2", "dear diary")
	p, err := readRuns(path, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if !p.cover(2*3600, 10*3600) || p.cover(2*3600-1, 3*3600) || p.cover(9*3600, 11*3600) || len(p.all) != 1 {
		t.Errorf("covered %v", p.all)
	}
}

func TestUnfitRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.csv")
	for text, want := range map[string]string{
		"":              "",
		"time,period\n": "",
		"time,period\n2000-04-25T05:17:02Z,60\nx,60\n2000-04-25T05:18:02Z,x\na\n1969-01-01T00:00:00Z,60\n,60\n2000-04-25T05:18:02Z,100000\n": `:3: time: "x" is not an RFC 3339 time
:4: period: "x" is not a number
:5: 1 cells where the header has 2
:6: time: empty, or older than 1970
:7: time: empty, or older than 1970
:8: period: 100000 seconds are over a day`,
		"dear,diary\n":           ":1: header: no columns time and period",
		"time,period\n\"x\n":     `:2: extraneous or missing " in quoted-field`,
		"time,period\nx\"y,60\n": `:2: bare " in non-quoted-field`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var reported []string
		_, err := readRuns(path, func(err error) { reported = append(reported, strings.TrimPrefix(err.Error(), path)) })
		if err != nil {
			reported = append(reported, strings.TrimPrefix(err.Error(), path))
		}
		if got := strings.Join(reported, "\n"); got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

// Runs of a minute are one time without a break, in whatever order they come; a run
// that is missing is a break.
func TestPeriods(t *testing.T) {
	forward, backward := &periods{}, &periods{}
	for i := range int64(2000) {
		if i != 1000 && i != 1001 {
			forward.add(i*60+i%7, 60)
			backward.add((1999-i)*60, 5)
		}
	}
	backward.add(1000*60, 5)
	forward.tidy()
	backward.tidy()
	if len(forward.all) != 2 || forward.seconds(0, 2000*60) >= 2000*60 || !forward.cover(60, 900*60) || forward.cover(900*60, 1100*60) {
		t.Errorf("forward: %v", forward.all)
	}
	if len(backward.all) > 3 {
		t.Errorf("backward: %v", backward.all)
	}
}

// A day on which clocks change has 23 or 25 bars of an hour, and midnight is where it is.
func TestClockChanges(t *testing.T) {
	zone := chicago(t)
	for day, want := range map[time.Time]int{
		time.Date(2000, 4, 1, 0, 0, 0, 0, zone):   24,
		time.Date(2000, 4, 2, 0, 0, 0, 0, zone):   23,
		time.Date(2000, 10, 29, 0, 0, 0, 0, zone): 25,
	} {
		a := newAxis(zone, day.Unix(), day.AddDate(0, 0, 1).Unix(), 0, 60, 25)
		if a.each != (span{hours: 1}) || a.bars() != want {
			t.Errorf("%s: %d bars of %s; want %d of 1 hour", day.Format(time.DateOnly), a.bars(), a.each, want)
		}
		week := newAxis(zone, day.AddDate(0, 0, -3).Unix(), day.AddDate(0, 0, 4).Unix(), 0, 3600, 7)
		if week.each != (span{days: 1}) || week.bars() != 7 {
			t.Errorf("%s: the week has %d bars of %s", day.Format(time.DateOnly), week.bars(), week.each)
		}
		for _, bound := range week.bounds {
			if at := time.Unix(bound, 0).In(zone); at.Hour() != 0 {
				t.Errorf("a day begins at %s", at)
			}
		}
	}
}

// Hours of a zone half an hour off begin at its own hours.
func TestHalfHourZone(t *testing.T) {
	zone := time.FixedZone("IST", 5*3600+1800)
	start := time.Date(2000, 4, 25, 0, 10, 0, 0, zone)
	o := Options{Now: start.Add(48 * time.Hour), Zone: zone, Top: 10, Width: 80}
	h := newHistory(zone, 10)
	for i := range 24 {
		h.add(pair{host: "moscow", user: "groucho", proc: "imapd"}, observation{at: start.Add(time.Duration(i) * time.Hour).Unix(), count: uint32(i + 1)})
	}
	c := newChart(o, h, nil, 24)
	for i, b := range c.lines[0].bars {
		if at := time.Unix(c.bounds[i], 0).In(zone); at.Minute() != 0 || b.max != uint32(i+1) {
			t.Errorf("bar %d begins at %s with %d", i, at, b.max)
		}
	}
}

// What a run that failed would have seen is unknown, but not if it saw something.
func TestFailedRunWithoutRowsDoesNotCount(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.csv")
	for run, want := range map[string]bool{"0,0": true, "0,3": true, "1,3": true, "1,0": false} {
		if err := os.WriteFile(path, []byte("time,period,seconds,status,rows,killed\n2000-04-25T05:17:02Z,60,1,"+run+",0\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := readRuns(path, func(err error) { t.Error(err) })
		at := time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC).Unix()
		if err != nil || p.cover(at, at+60) != want {
			t.Errorf("status and rows %s: covered %v, %v", run, p.all, err)
		}
	}
}
