package alertmail

import (
	"maps"
	"slices"

	"stormcheck/pkg/metrics"
)

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
