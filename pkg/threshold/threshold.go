// Package threshold keeps the rows that reach a limit: a table of patterns and
// numbers where the original storm check had a chain of conditions in code.
package threshold

import (
	"io"
	"slices"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	Table   *Table
	All     bool      // rows that reach no limit pass too
	Explain io.Writer // gets a line for each row; nil for none
	Log     string    // file for the rows that reached "log"; "" for none
}

// Run takes a stream through the table.
func Run(o Options, env filter.Env) error {
	out := rows.NewWriter(env.Out)
	log := filter.Log{Path: o.Log}
	explain := newExplainer(o.Explain)
	// The log comes first: a reader that has gone ends the process at the next write.
	flush := func() error {
		if err := log.Flush(); err != nil {
			env.Report(err)
		}
		out.Flush()
		if err := out.Error(); err != nil {
			return err
		}
		return explain.flush()
	}
	least, wanted := o.Table.least(), o.All || o.Explain != nil
	memory := newMemory(o.Table)
	err := filter.Stream{
		Need:   []rows.Column{rows.Host, rows.User, rows.Proc, rows.Count},
		Layout: (*rows.Layout).Standard,
		Idle:   flush,
		Skip:   func(n rows.Numbers) bool { return !wanted && !least.Reached(n) },
		Header: func(r *rows.Record) error { return out.Write(r.Cells()) },
		Row: func(r *rows.Record) error {
			if _, isGap := r.Gap(); isGap {
				explain.gap(r)
				return out.Write(r.Cells())
			}
			rule := memory.decide(subjectOf(r))
			due := o.Table.judge(r, rule)
			explain.row(o.Table, r, rule)
			if !due && !o.All {
				return nil
			}
			if o.Table.logs(r) {
				if err := log.Add(r); err != nil {
					env.Report(err)
				}
			}
			return out.Write(r.Cells())
		},
	}.Run(env.In, func(err error) {
		_ = explain.flush() // what came before it; flush below has the error
		env.Report(err)
	})
	if flushed := flush(); err == nil {
		err = flushed
	}
	return err
}

// judge fills the columns rule and actions of a row on which a rule, or nil,
// decides, and reports whether a limit is reached.
func (t *Table) judge(r *rows.Record, rule *rule) bool {
	name, actions := "", ""
	if rule != nil {
		name, actions = rule.name, t.reached(rule, numbersOf(r))
	}
	r.Set(rows.Rule, name)
	r.Set(rows.Actions, actions)
	return actions != ""
}

// numbersOf returns what limits are compared with. The reader has checked the cells; an
// empty one is 0.
func numbersOf(r *rows.Record) rows.Numbers {
	number := func(c rows.Column) (n int64) {
		if cell := r.Get(c); cell != "" {
			n, _ = rows.ParseNumber(cell)
		}
		return n
	}
	return rows.Numbers{Count: number(rows.Count), Recent: number(rows.Recent), Started: number(rows.Started)}
}

// logs reports whether a row goes into the log. If the table has the action log, only
// a row that reached it does.
func (t *Table) logs(r *rows.Record) bool {
	if !slices.Contains(t.actions, rows.ActionLog) {
		return true
	}
	_, due, _ := rows.FindAction(r.Get(rows.Actions), rows.ActionLog)
	return due
}
