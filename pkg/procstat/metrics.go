package procstat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"stormcheck/pkg/metrics"
	"stormcheck/pkg/rows"
)

// mostSeries is how many pairs of an account and a comm have a number of their own in
// the metrics: each name that somebody thinks of would otherwise be one more series
// in the database.
const mostSeries = 50

// byComm counts all processes of a census by uid and comm. It holds none of the names
// that titles give, which anybody may choose: they must not become labels.
func (c *census) byComm() map[key]int64 {
	counts := map[key]int64{}
	for k, t := range c.counts {
		counts[k] = t.count
	}
	for k, group := range c.groups {
		counts[k] += int64(group.size)
	}
	return counts
}

// largest deletes all but the mostSeries largest counts, and returns counts.
func largest(counts map[key]int64) map[key]int64 {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b key) int {
		return cmp.Or(
			-cmp.Compare(counts[a], counts[b]),
			cmp.Compare(a.uid, b.uid),
			cmp.Compare(a.user, b.user),
			cmp.Compare(a.name, b.name))
	})
	for _, k := range keys[min(len(keys), mostSeries):] {
		delete(counts, k)
	}
	return counts
}

// A series is a count with its labels.
type series struct {
	user, proc string // escaped
	count      int64
}

// seriesOf returns the counts with their names, in order. Two uids may have one
// name, and the collector refuses a file with the same labels twice.
func seriesOf(counts map[key]int64, user func(key) string) (all []series) {
	sums := map[series]int64{}
	for k, n := range counts {
		sums[series{user: rows.EscapeName(user(k)), proc: k.proc()}] += n
	}
	for s, n := range sums {
		s.count = n
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(-cmp.Compare(a.count, b.count), cmp.Compare(a.user, b.user), cmp.Compare(a.proc, b.proc))
	})
	return all
}

// export writes the snapshot to the file of --metrics. The rest that has no number
// of its own is that of the proc "*", which no process has: its name would be
// escaped.
func (o Options) export(s scan) error {
	return metrics.Update(o.Metrics, func(metrics.Past) *metrics.Text {
		var t metrics.Text
		rest := s.all
		t.Metric("stormcheck_processes", metrics.Gauge, fmt.Sprintf(
			"Processes by account and name: the %d largest counts, the rest summed as user other, proc *.", mostSeries))
		for _, one := range s.series {
			t.Add(float64(one.count), "host", o.Host, "user", one.user, "proc", one.proc)
			rest -= one.count
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
