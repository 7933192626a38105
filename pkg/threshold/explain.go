package threshold

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"stormcheck/pkg/rows"
)

// An explainer says of each row which limits row decided, what was reached, and
// how far the next limit is.
type explainer struct {
	out  *bufio.Writer // nil where nobody asked
	host string        // of the first row: only other hosts are named
	any  bool
}

func newExplainer(out io.Writer) *explainer {
	if out == nil {
		return &explainer{}
	}
	return &explainer{out: bufio.NewWriter(out)}
}

func (e *explainer) flush() error {
	if e.out == nil {
		return nil
	}
	return e.out.Flush()
}

// row explains a row that a rule, or nil, has decided on.
func (e *explainer) row(t *Table, r *rows.Record, rule *rule) {
	if e.out == nil {
		return
	}
	if !e.any {
		e.host, e.any = r.Get(rows.Host), true
	}
	place := ""
	if host := r.Get(rows.Host); host != e.host {
		place = " on " + host
	}
	why := "no row matches"
	if rule != nil {
		why = fmt.Sprintf(`row %d "%s": %s`, rule.row, rule.patterns, t.distance(rule, r))
	}
	line := fmt.Sprintf("%s %s %s%s: %s", r.Get(rows.User), r.Get(rows.Proc), r.Get(rows.Count), place, why)
	fmt.Fprintln(e.out, rows.Printable(line)) // flush has the error
}

// distance says which limits of a rule are reached, and which is next: of those
// that are not, the first that the fewest processes are missing for. In input from
// text, recent and started are empty: unknown.
func (t *Table) distance(r *rule, record *rows.Record) string {
	n := numbers(record)
	next, missing := "", int64(math.MaxInt64)
	for i, limit := range r.limits {
		if limit == (rows.Limit{}) || limit.Reached(n) {
			continue
		}
		action := t.actions[i] + "=" + limit.String()
		if more := limit.Count - n.Count; limit.Count > 0 && more < missing {
			next, missing = fmt.Sprintf("%s in %d", action, more), more
		}
		if more := limit.Growth - n.Recent; limit.Growth > 0 && record.Get(rows.Recent) != "" && more < missing {
			next, missing = fmt.Sprintf("%s in %d new", action, more), more
		}
		if more := limit.Churn - n.Started; limit.Churn > 0 && record.Get(rows.Started) != "" && more < missing {
			next, missing = fmt.Sprintf("%s in %d started", action, more), more
		}
		if next == "" && limit.Growth > 0 {
			next = action + " needs the column recent"
		} else if next == "" {
			next = action + " needs the column started"
		}
	}
	reached := t.reached(r, n)
	switch {
	case reached == "" && next == "":
		return "no limits"
	case reached == "":
		return next
	case next == "":
		return reached + " reached"
	}
	return reached + " reached, " + next
}
