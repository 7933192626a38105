package alertmail

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"stormcheck/pkg/metrics"
	"stormcheck/pkg/rows"
)

// The counters of --metrics.
const (
	limitsReached = "stormcheck_limits_reached_total"
	killedTotal   = "stormcheck_killed_processes_total"
	remainTotal   = "stormcheck_remaining_processes_total"
	archivedTotal = "stormcheck_archived_mailboxes_total"
	errorsTotal   = "stormcheck_errors_total"
	untakenTotal  = "stormcheck_untaken_messages_total"
	lastRun       = "stormcheck_last_run_timestamp_seconds"
)

// counters are what is counted across runs. What stands in always is there from the
// first run on, for the first step of a counter that wasn't there is none to
// Prometheus.
var counters = []struct {
	name, label, help string
	always            []string
}{
	{limitsReached, "action", "Rows that reached a limit, by its action.", []string{"log", "alert", "archive", "page", "kill"}},
	{killedTotal, "", "Processes that were killed.", nil},
	{remainTotal, "", "Processes that remained after a kill, summed over the kills.", nil},
	{archivedTotal, "", "Copies of mail files that were made.", nil},
	{errorsTotal, "tool", "What went wrong with rows, by the tool that said so.", []string{"mailarchive", "killstorm"}},
	{untakenTotal, "way", "Times that a message wasn't taken.", wayNames[:]},
}

// counts are what has been counted and isn't in the file yet: by metric and the
// value of its label. A nil one counts nothing.
type counts map[string]map[string]int64

// mostLabels is how many values of a label there are, lest rows make series.
const mostLabels = 30

var labelValue = pattern(`^[a-z][a-z0-9-]{0,31}$`)

func (c counts) add(metric, value string, n int64) {
	if c == nil {
		return
	}
	if c[metric] == nil {
		c[metric] = map[string]int64{}
	}
	if value != "" && !labelValue().MatchString(value) {
		value = "other"
	}
	c[metric][value] += n
}

func (c counts) refuse(way string) { c.add(untakenTotal, way, 1) }

// row counts what a row says.
func (c counts) row(record *rows.Record) {
	number := func(column rows.Column) int64 {
		var n rows.Number
		_ = n.UnmarshalCSV(record.Get(column)) // the Reader has refused what is none
		return n.N
	}
	for _, word := range strings.Fields(record.Get(rows.Actions)) {
		action, _, _ := strings.Cut(word, "=")
		c.add(limitsReached, action, 1)
	}
	c.add(killedTotal, "", number(rows.Killed))
	c.add(remainTotal, "", number(rows.Remaining))
	copies := len(parts(record.Get(rows.Archived), ":"))
	for _, note := range record.Messages(rows.Notes) {
		_, unchanged := rows.ParseUnchanged(note.Text)
		_, changed := rows.ParseChanged(note.Text)
		if note.Tool == mailarchive && (unchanged || changed) {
			copies-- // it stood already
		}
	}
	c.add(archivedTotal, "", int64(max(0, copies)))
	for _, fault := range record.Messages(rows.Errors) {
		c.add(errorsTotal, cmp.Or(fault.Tool, "other"), 1)
	}
}

// export adds what has been counted to the file of --metrics. A run counts as the
// last only if its input was whole.
func (a *alerter) export(whole bool) {
	if a.counts == nil || !whole && a.ending && len(a.counts) == 0 {
		return
	}
	err := metrics.Update(a.Metrics, func(past metrics.Past) *metrics.Text {
		var t metrics.Text
		for _, c := range counters {
			t.Metric(c.name, metrics.Counter, c.help)
			if c.label == "" {
				t.Add(past.Value(c.name) + float64(a.counts[c.name][""]))
				continue
			}
			sums := map[string]float64{}
			for _, value := range slices.Concat(c.always, past.Labels(c.name, c.label)) {
				sums[value] = past.Value(c.name, c.label, value)
			}
			for value, n := range a.counts[c.name] {
				if _, known := sums[value]; !known && len(sums) >= mostLabels {
					value = "other"
				}
				sums[value] += float64(n)
			}
			for _, value := range slices.Sorted(maps.Keys(sums)) {
				t.Add(sums[value], c.label, value)
			}
		}
		a.starters.export(&t)
		t.Metric(lastRun, metrics.Gauge, "When the last run ended that could read all its input, since 1970.")
		at := past.Value(lastRun)
		if whole {
			at = float64(a.Now().Unix())
		}
		t.Add(at)
		return &t
	})
	if err != nil {
		a.Report(err)
		return
	}
	a.counts = counts{}
}
