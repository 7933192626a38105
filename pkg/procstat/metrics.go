package procstat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"stormcheck/pkg/metrics"
)

// mostSeries is how many pairs of a user and a name have a number of their own in
// the metrics: each name that somebody thinks of would otherwise be one more series
// in the database.
const mostSeries = 50

// largest returns the keys of the mostSeries largest counts.
func largest(counts map[key]*tally) map[key]bool {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b key) int {
		return cmp.Or(
			-cmp.Compare(counts[a].count, counts[b].count),
			cmp.Compare(a.uid, b.uid),
			cmp.Compare(a.user, b.user),
			cmp.Compare(a.name, b.name))
	})
	found := map[key]bool{}
	for _, k := range keys[:min(len(keys), mostSeries)] {
		found[k] = true
	}
	return found
}

type pair struct{ user, proc string }

// series returns the pairs that have a number of their own, their counts, and how
// many processes have none. Two uids may have one name.
func (s scan) series() (series []pair, counts map[pair]int64, rest int64) {
	counts, rest = map[pair]int64{}, s.all
	for _, row := range s.rows {
		p := pair{row.User, row.Proc}
		_, known := counts[p]
		if p.proc == "*" || !known && len(series) == mostSeries {
			continue
		}
		if !known {
			series = append(series, p)
		}
		counts[p] += row.Count.N
		rest -= row.Count.N
	}
	return series, counts, rest
}

// export writes the snapshot to the file of --metrics. The rest that has no number
// of its own is that of the proc "*", which no process has: its name would be
// escaped.
func (o Options) export(s scan) error {
	return metrics.Update(o.Metrics, func(metrics.Past) *metrics.Text {
		var t metrics.Text
		series, counts, rest := s.series()
		t.Metric("stormcheck_processes", metrics.Gauge, fmt.Sprintf(
			"Processes by effective user and name: the %d largest counts, the rest summed as user other, proc *.", mostSeries))
		for _, p := range series {
			t.Add(float64(counts[p]), "host", o.Host, "user", p.user, "proc", p.proc)
		}
		t.Add(float64(rest), "host", o.Host, "user", "other", "proc", "*")
		t.Metric("stormcheck_scan_duration_seconds", metrics.Gauge, "How long the last scan of the process table took.")
		t.Add(s.took.Seconds(), "host", o.Host)
		t.Metric("stormcheck_scan_timestamp_seconds", metrics.Gauge, "When the last scan began, since 1970.")
		t.Add(float64(s.start.UnixMilli())/1e3, "host", o.Host)
		return &t
	})
}

// An exporter writes metrics beside the snapshots of a standing pipe, which don't
// wait for a disk that hangs.
type exporter struct {
	Options
	done chan error // nil while nothing is being written
}

// take begins to write a snapshot, and returns what became of the one before.
func (e *exporter) take(s scan) error {
	if e.Metrics == "" {
		return nil
	}
	var err error
	if e.done != nil {
		select {
		case err = <-e.done:
		default:
			return fmt.Errorf("%s: not written yet: a snapshot is left out", e.Metrics)
		}
	}
	done := make(chan error, 1)
	go func() { done <- e.export(s) }()
	e.done = done
	return err
}

// close waits a little for what is being written.
func (e *exporter) close() error {
	if e.done == nil {
		return nil
	}
	select {
	case err := <-e.done:
		return err
	case <-time.After(2 * time.Second):
		return fmt.Errorf("%s: not written yet: left", e.Metrics)
	}
}
