//go:build linux

package stormcheck

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// An entry is a line of runs.csv: a run from cron, or a minute of a standing pipe.
type entry struct {
	at     time.Time     // when it began
	period time.Duration // until the next one is due
	took   time.Duration
	status int
	rows   int64 // that reached a limit
	killed int64 // processes
}

const runsHeader = "time,period,seconds,status,rows,killed\n"

func runsPath() string { return filepath.Join(StateDir, "runs.csv") }

// counts are what runs.csv says of the rows that have passed.
type counts struct {
	mutex        sync.Mutex
	rows, killed int64
}

// row takes a row that has passed.
func (c *counts) row(r *rows.Record) {
	killed, _ := rows.ParseNumber(r.Get(rows.Killed)) // an empty cell is none
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.killed += killed
	if r.Get(rows.Actions) != "" {
		c.rows++
	}
}

// entry returns the entry of a run, or of a minute, and begins to count anew.
func (c *counts) entry(at time.Time, period, took time.Duration, status int) entry {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	e := entry{at, period, took, status, c.rows, c.killed}
	c.rows, c.killed = 0, 0
	return e
}

// minute is the period of a standing pipe's lines, and of a run from cron if nothing
// is known of the one before.
const minute = time.Minute

// append adds the entry to runs.csv.
func (e entry) append() error {
	f, err := trusted.Open(runsPath(), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	text := fmt.Sprintf("%s,%d,%d,%d,%d,%d\n", e.at.UTC().Format(time.RFC3339),
		e.period/time.Second, e.took/time.Second, e.status, e.rows, e.killed)
	if info, err := f.Stat(); err == nil && info.Size() == 0 {
		text = runsHeader + text
	}
	if _, err := f.WriteString(text); err != nil {
		return fmt.Errorf("%s: %w", runsPath(), trusted.Cause(err))
	}
	return nil
}

// note appends an entry, and reports once if it can't.
func (r *runner) note(e entry) {
	if err := e.append(); err != nil && !r.unnoted {
		r.unnoted = true
		r.say("%v", err)
	}
}

// minutes notes each minute of a standing pipe, until the function that it returns is
// called. A minute in which no snapshot has passed counts as failed.
func (r *runner) minutes() (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		each := time.NewTicker(minute)
		defer each.Stop()
		for {
			select {
			case <-stopped:
				return
			case now := <-each.C:
				status := fine
				if since, known := age(heartbeatPath()); !known || since > 2*minute {
					status = failed
				}
				r.note(r.counts.entry(now.Add(-minute), minute, minute, status))
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}
}

// periodSince returns the period of a run from cron that begins now: the time since
// the run before, in whole minutes, or the run before's own if that is longer ago than
// a day or in the future.
func periodSince(before []entry, now time.Time) time.Duration {
	if len(before) == 0 {
		return minute
	}
	last := before[len(before)-1]
	since := now.Sub(last.at).Round(minute)
	if since < minute || since > 24*time.Hour {
		return max(last.period, minute)
	}
	return since
}

// readRuns returns the entries of the 24 hours before now, of runs.csv and the files that
// it was rotated to. Lines that are unfit are left out, and so are those of the future,
// which a clock that was wrong has left.
func readRuns(now time.Time) (all []entry) {
	since := now.Add(-24 * time.Hour)
	paths, _ := trusted.Rotated(runsPath()) // none is as good as no entries
	for _, path := range paths {            // the newest first
		of := readRunsFile(path)
		all = append(of, all...)
		if len(of) > 0 && of[0].at.Before(since) {
			break
		}
	}
	return slices.DeleteFunc(all, func(e entry) bool { return e.at.Before(since) || e.at.After(now) })
}

func readRunsFile(path string) (all []entry) {
	in, err := trusted.OpenRotated(path)
	if err != nil {
		return nil
	}
	defer in.Close()
	lines := csv.NewReader(in)
	lines.FieldsPerRecord = -1
	for {
		cells, err := lines.Read()
		var syntax *csv.ParseError
		switch {
		case errors.As(err, &syntax):
			continue
		case err != nil:
			return all
		}
		if e, ok := parseEntry(cells); ok {
			all = append(all, e)
		}
	}
}

func parseEntry(cells []string) (e entry, ok bool) {
	if len(cells) != 6 {
		return e, false
	}
	at, err := time.Parse(time.RFC3339, cells[0])
	if err != nil {
		return e, false
	}
	var numbers [5]int64
	for i, cell := range cells[1:] {
		if numbers[i], err = rows.ParseNumber(cell); err != nil {
			return e, false
		}
	}
	return entry{
		at: at, period: time.Duration(numbers[0]) * time.Second, took: time.Duration(numbers[1]) * time.Second,
		status: int(numbers[2]), rows: numbers[3], killed: numbers[4],
	}, true
}

// lastDay sums up the entries of the 24 hours before now: "1,438 of 1,440, 2 failed".
// How many there should be follows from the period that most of them have.
func lastDay(all []entry) string {
	if len(all) == 0 {
		return "none is recorded"
	}
	seen := map[time.Duration]int{}
	period, failures := time.Duration(0), 0
	for _, e := range all {
		seen[e.period]++
		if period == 0 || seen[e.period] > seen[period] {
			period = e.period
		}
		if e.status != 0 {
			failures++
		}
	}
	due := max(int(24*time.Hour/max(period, time.Second)), len(all))
	text := fmt.Sprintf("%s of %s", thousands(len(all)), thousands(due))
	if failures > 0 {
		text += fmt.Sprintf(", %s failed", thousands(failures))
	}
	return text
}

// thousands writes a number with commas: 1,438.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
