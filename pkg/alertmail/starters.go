package alertmail

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"stormcheck/pkg/metrics"
	"stormcheck/pkg/rows"
)

const startedPerMinute = "stormcheck_started_per_minute"

// Bounds of the accounts in the metrics.
const (
	mostStarters = 20   // that have a number of their own
	mostCounted  = 4096 // that are counted, of more the largest
)

// A starter is an account on a host. If the row's user is from a process title, it is the
// account that owns the process.
type starter struct{ host, account string }

// starts is how many processes an account started in a minute, by the rows of its
// names and by its row of all processes.
type starts struct{ named, total int64 }

func (s starts) sum() int64 { return max(s.named, s.total) }

// starters are what the rows of one run say about started processes.
type starters map[starter]starts

// add adds a row, if it has the number.
func (s *starters) add(record *rows.Record) {
	var n rows.Number
	_ = n.UnmarshalCSV(record.Get(rows.Started)) // the Reader has refused what is none
	if !n.Known {
		return
	}
	if *s == nil {
		*s = starters{}
	}
	text := func(c rows.Column) string { return strings.Clone(rows.Clip(rows.Printable(record.Get(c)), maxName)) }
	who := starter{text(rows.Host), cmp.Or(text(rows.Account), text(rows.User))}
	sums := (*s)[who]
	if record.Get(rows.Proc) == "*" {
		sums.total = n.N
	} else {
		sums.named += n.N
	}
	if (*s)[who] = sums; len(*s) > mostCounted {
		for _, small := range s.largest()[mostCounted/2:] {
			delete(*s, small)
		}
	}
}

// largest returns the accounts, those that started the most first.
func (s starters) largest() []starter {
	return slices.SortedFunc(maps.Keys(s), func(a, b starter) int {
		return cmp.Or(-cmp.Compare(s[a].sum(), s[b].sum()), cmp.Compare(a.host, b.host), cmp.Compare(a.account, b.account))
	})
}

// export adds the metric, if any row had the number.
func (s starters) export(t *metrics.Text) {
	if len(s) == 0 {
		return
	}
	t.Metric(startedPerMinute, metrics.Gauge, "Processes that an account started in the last minute, in the rows of the last run: the 20 largest.")
	for _, who := range s.largest()[:min(len(s), mostStarters)] {
		t.Add(float64(s[who].sum()), "host", who.host, "account", who.account)
	}
}
