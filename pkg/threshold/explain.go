package threshold

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"stormcheck/pkg/rows"
)

// An explainer writes for each row which limits row decided, which limits were
// reached, and how far the next one is.
type explainer struct {
	out  *bufio.Writer // nil if nobody asked
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

// row explains a row on which a rule, or nil, has decided.
func (e *explainer) row(t *Table, r *rows.Record, rule *rule) {
	if e.out == nil {
		return
	}
	why := "no row matches"
	if rule != nil {
		why = fmt.Sprintf(`%s "%s": %s`, rule.place(), rule.patterns, t.distance(rule, r))
	}
	e.say(r, why)
}

// gap explains a row that says which rows are missing.
func (e *explainer) gap(r *rows.Record) {
	if e.out != nil {
		e.say(r, "a gap, which always passes")
	}
}

func (e *explainer) say(r *rows.Record, why string) {
	if !e.any {
		e.host, e.any = r.Get(rows.Host), true
	}
	place := ""
	if host := r.Get(rows.Host); host != e.host {
		place = " on " + host
	}
	line := fmt.Sprintf("%s %s %s%s: %s", r.Get(rows.User), r.Get(rows.Proc), r.Get(rows.Count), place, why)
	fmt.Fprintln(e.out, rows.Printable(line)) // flush has the error
}

// distance says which limits of a rule a row reaches, and which is next: the one for which
// the fewest processes are missing.
func (t *Table) distance(rule *rule, r *rows.Record) string {
	numbers := numbersOf(r)
	next, missing := "", int64(math.MaxInt64)
	for i, limit := range rule.limits {
		if limit == (rows.Limit{}) || limit.Reached(numbers) {
			continue
		}
		action := t.actions[i] + "=" + limit.String()
		for _, part := range []struct {
			limit, number int64
			column        rows.Column
			unit          string
		}{
			{limit.Count, numbers.Count, rows.Count, ""},
			{limit.Growth, numbers.Recent, rows.Recent, " new"},
			{limit.Churn, numbers.Started, rows.Started, " started"},
		} {
			switch more := part.limit - part.number; {
			case part.limit == 0:
			case r.Get(part.column) == "" && next == "":
				next = fmt.Sprintf("%s needs the column %s", action, part.column)
			case r.Get(part.column) != "" && more < missing:
				next, missing = fmt.Sprintf("%s in %d%s", action, more, part.unit), more
			}
		}
	}
	reached := t.reached(rule, numbers)
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
