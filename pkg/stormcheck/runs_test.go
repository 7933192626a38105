//go:build linux

package stormcheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDelayCountsFromTheStart: not from where a run looks at it.
func TestDelayCountsFromTheStart(t *testing.T) {
	time.Sleep(time.Second)
	first := left(time.Hour)
	if first > time.Hour-time.Second {
		t.Errorf("%s of an hour are left after a second", first)
	}
	time.Sleep(time.Second)
	if second := left(time.Hour); second > first-time.Second {
		t.Errorf("%s are left, and a second later %s", first, second)
	}
	if none := left(time.Nanosecond); none > 0 {
		t.Errorf("%s of a nanosecond are left", none)
	}
}

func TestRunsAreAppendedUnderOneHeader(t *testing.T) {
	StateDir = t.TempDir()
	at := time.Date(2026, 11, 29, 15, 0, 7, 0, time.UTC)
	first, second := entry{at, minute, 2 * time.Second, 0, 1, 404}, entry{at.Add(minute), minute, 0, 1, 0, 0}
	for _, e := range []entry{first, second} {
		if err := e.append(); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := os.ReadFile(runsPath())
	want := runsHeader + "2026-11-29T15:00:07Z,60,2,0,1,404\n2026-11-29T15:01:07Z,60,0,1,0,0\n"
	if string(text) != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	if info, _ := os.Stat(runsPath()); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	got := readRuns(at.Add(time.Hour))
	if len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("read %+v", got)
	}
	if got := readRuns(at.Add(24*time.Hour + time.Second)); len(got) != 1 || got[0] != second {
		t.Errorf("a day after the first: %+v", got)
	}
	if got := readRuns(at.Add(time.Second)); len(got) != 1 || got[0] != first {
		t.Errorf("before the second, which a wrong clock has left: %+v", got)
	}
}

func TestRunsAreReadOverRotation(t *testing.T) {
	StateDir = t.TempDir()
	for name, text := range map[string]string{
		"runs.csv":            runsHeader + "2026-11-29T15:02:07Z,60,0,0,0,0\n",
		"runs.csv.1795964400": runsHeader + "2026-11-29T15:00:07Z,60,0,0,0,0\nhalf a li\n2026-11-29T15:01:07Z,60,x,0,0,0\n2026-11-29T15:01:07Z,60,0,0,0,0\n",
	} {
		if err := os.WriteFile(filepath.Join(StateDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range readRuns(time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC)) {
		got = append(got, e.at.Format("15:04:05"))
	}
	if strings.Join(got, " ") != "15:00:07 15:01:07 15:02:07" {
		t.Errorf("read %q", got)
	}
}

func TestPeriodIsThatOfCronsLine(t *testing.T) {
	at := time.Date(2026, 11, 29, 15, 0, 7, 0, time.UTC)
	each5 := []entry{{at: at, period: 5 * minute}}
	for _, c := range []struct {
		name   string
		before []entry
		now    time.Time
		want   time.Duration
	}{
		{"the first run", nil, at, minute},
		{"a minute later, started late", each5, at.Add(64 * time.Second), minute},
		{"five minutes later", each5, at.Add(5 * minute), 5 * minute},
		{"at once, by hand", each5, at.Add(2 * time.Second), 5 * minute},
		{"two days later", each5, at.Add(48 * time.Hour), 5 * minute},
		{"after the clock was set back", each5, at.Add(-time.Hour), 5 * minute},
	} {
		if got := periodSince(c.before, c.now); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

func TestLastDay(t *testing.T) {
	day := func(n int, period time.Duration, failures int) (all []entry) {
		for i := range n {
			e := entry{period: period}
			if i < failures {
				e.status = 1
			}
			all = append(all, e)
		}
		return all
	}
	for _, c := range []struct {
		all  []entry
		want string
	}{
		{nil, "none is recorded"},
		{day(1438, minute, 2), "1,438 of 1,440, 2 failed"},
		{day(1440, minute, 0), "1,440 of 1,440"},
		{day(280, 5*minute, 0), "280 of 288"},
		{append(day(3, 7*minute, 0), day(1400, minute, 0)...), "1,403 of 1,440"},
		{day(1500, minute, 0), "1,500 of 1,500"},
	} {
		if got := lastDay(c.all); got != c.want {
			t.Errorf("%d entries: %q; want %q", len(c.all), got, c.want)
		}
	}
}
