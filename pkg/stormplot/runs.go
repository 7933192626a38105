package stormplot

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// readRuns reads the file of runs and what it was rotated to: FILE, FILE.N, FILE.EPOCH,
// FILE-DATE-EPOCH, and those that were compressed. A line that is unfit is reported and passed over.
func readRuns(path string, report func(error)) (*periods, error) {
	paths, err := rotated(path)
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

var rotation = regexp.MustCompile(`^(\.[0-9]+|(-[0-9]+)+)(\.gz)?$`)

// rotated returns those of a log's files that exist. One of them must.
func rotated(path string) (paths []string, err error) {
	if _, err = os.Lstat(path); err == nil {
		paths = []string{path}
	}
	dir, base := filepath.Split(path)
	entries, listing := os.ReadDir(cmp.Or(dir, "."))
	for _, entry := range entries {
		if ending, ok := strings.CutPrefix(entry.Name(), base); ok && rotation.MatchString(ending) {
			paths = append(paths, dir+entry.Name())
		}
	}
	if len(paths) > 0 {
		return paths, nil
	}
	return nil, fmt.Errorf("%s: %w", path, trusted.Cause(cmp.Or(err, listing)))
}

func (p *periods) readFile(path string, report func(error)) error {
	f, err := trusted.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return p.read(path, in, report)
}

// read reads one file. A header may stand anywhere, for files are joined.
func (p *periods) read(path string, in io.Reader, report func(error)) error {
	lines := csv.NewReader(in)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	at, every, width := -1, -1, 0
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
		if slices.Contains(cells, "time") || width == 0 {
			at, every, width = slices.Index(cells, "time"), slices.Index(cells, "period"), len(cells)
			if at < 0 || every < 0 {
				return fmt.Errorf("%s:%d: header: no columns time and period", path, line)
			}
			continue
		}
		if err := p.addLine(cells, at, every, width); err != nil {
			report(fmt.Errorf("%s:%d: %w", path, line, err))
		}
	}
}

func (p *periods) addLine(cells []string, at, every, width int) error {
	if len(cells) != width {
		return fmt.Errorf("%d cells where the header has %d", len(cells), width)
	}
	var t rows.Timestamp
	if err := t.UnmarshalCSV(cells[at]); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if t.IsZero() || t.Unix() < 0 {
		return errors.New("time: empty, or older than 1970")
	}
	seconds, err := rows.ParseNumber(cells[every])
	if err != nil {
		return fmt.Errorf("period: %w", err)
	}
	if seconds > int64(24*time.Hour/time.Second) {
		return fmt.Errorf("period: %d seconds are over a day", seconds)
	}
	p.add(t.Unix(), seconds)
	return nil
}
