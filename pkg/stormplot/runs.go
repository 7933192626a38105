package stormplot

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// A period is a time in which checks ran, from and until seconds since 1970.
type period struct{ from, until int64 }

// periods are all times in which checks ran, in order and apart from each other
// once they are tidy.
type periods struct {
	all    []period
	sorted int
}

// leastPeriod is how long a run counts for at least: a standing pipe writes one line
// a minute, whatever its period is.
const leastPeriod = 60

// A run may be late by a half of its period.
func (p *periods) add(at, seconds int64) {
	seconds = max(seconds, leastPeriod)
	run := period{at, at + seconds + seconds/2}
	if last := len(p.all) - 1; last >= 0 && p.all[last].from <= run.from && run.from <= p.all[last].until {
		p.all[last].until = max(p.all[last].until, run.until)
		return
	}
	if len(p.all) >= max(64, 2*p.sorted) {
		p.tidy()
	}
	p.all = append(p.all, run)
}

// tidy sorts the periods and joins those that touch.
func (p *periods) tidy() {
	slices.SortFunc(p.all, func(a, b period) int { return cmp.Compare(a.from, b.from) })
	kept := p.all[:0]
	for _, run := range p.all {
		if last := len(kept) - 1; last >= 0 && run.from <= kept[last].until {
			kept[last].until = max(kept[last].until, run.until)
		} else {
			kept = append(kept, run)
		}
	}
	p.all, p.sorted = kept, len(kept)
}

// cover reports whether checks ran all the time between two moments.
func (p *periods) cover(from, until int64) bool {
	at, found := slices.BinarySearchFunc(p.all, from, func(run period, from int64) int { return cmp.Compare(run.from, from) })
	if !found {
		at--
	}
	return at >= 0 && p.all[at].until >= until
}

// seconds returns for how long checks ran between two moments.
func (p *periods) seconds(from, until int64) (sum int64) {
	for _, run := range p.all {
		if from, until := max(from, run.from), min(until, run.until); from < until {
			sum += until - from
		}
	}
	return sum
}

// readRuns reads the file of runs and what it was rotated to. A line that is unfit is
// reported and passed over.
func readRuns(path string, report func(error)) (*periods, error) {
	paths, err := trusted.Rotated(path)
	if err != nil {
		return nil, err
	}
	p := &periods{}
	for _, path := range paths {
		if err := p.readFile(path, report); err != nil {
			return nil, err
		}
	}
	p.tidy()
	return p, nil
}

func (p *periods) readFile(path string, report func(error)) error {
	in, err := trusted.OpenRotated(path)
	if err != nil {
		return err
	}
	defer in.Close()
	return p.read(path, in, report)
}

// read reads one file. A header may stand anywhere, for files are joined.
func (p *periods) read(path string, in io.Reader, report func(error)) error {
	lines := csv.NewReader(in)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	var columns runColumns
	for {
		cells, err := lines.Read()
		var syntax *csv.ParseError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &syntax):
			report(fmt.Errorf("%s:%d: %w", path, syntax.Line, syntax.Err))
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", path, trusted.Cause(err))
		}
		line, _ := lines.FieldPos(0)
		if slices.Contains(cells, "time") || columns.all == 0 {
			columns = newRunColumns(cells)
			if columns.time < 0 || columns.period < 0 {
				return fmt.Errorf("%s:%d: header: no columns time and period", path, line)
			}
			continue
		}
		if err := p.addLine(cells, columns); err != nil {
			report(fmt.Errorf("%s:%d: %w", path, line, err))
		}
	}
}

// runColumns says where the columns are, -1 where missing, and how many there are.
type runColumns struct{ time, period, status, rows, all int }

func newRunColumns(header []string) runColumns {
	return runColumns{slices.Index(header, "time"), slices.Index(header, "period"),
		slices.Index(header, "status"), slices.Index(header, "rows"), len(header)}
}

// addLine adds the run of one line, unless it failed and saw no row: what it would have
// seen is unknown.
func (p *periods) addLine(cells []string, c runColumns) error {
	if len(cells) != c.all {
		return fmt.Errorf("%d cells where the header has %d", len(cells), c.all)
	}
	var t rows.Timestamp
	if err := t.UnmarshalCSV(cells[c.time]); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if t.IsZero() || t.Unix() < 0 {
		return errors.New("time: empty, or older than 1970")
	}
	seconds, err := rows.ParseNumber(cells[c.period])
	if err != nil {
		return fmt.Errorf("period: %w", err)
	}
	if seconds > int64(24*time.Hour/time.Second) {
		return fmt.Errorf("period: %d seconds are over a day", seconds)
	}
	if c.status >= 0 && c.rows >= 0 && cells[c.status] != "0" && cells[c.rows] == "0" {
		return nil
	}
	p.add(t.Unix(), seconds)
	return nil
}
