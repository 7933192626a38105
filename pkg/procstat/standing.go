package procstat

import (
	"context"
	"fmt"
	"io"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// namesLast is how long the answers of the name service are kept.
const namesLast = 10 * time.Minute

// Stand writes a snapshot on each beat until ctx is done, the next one's header
// behind each, so that whoever reads knows that it is whole. It keeps what it needs
// from the first on: when no process and no thread can be started any more it goes
// on.
func Stand(ctx context.Context, o Options, every time.Duration, out io.Writer) error {
	table, err := proc.Open()
	if err != nil {
		return err
	}
	defer table.Close()
	w := rows.NewWriter(out)
	names := nameCache{now: o.Now}
	titles := &titleReader{titles: o.Titles, report: onChange(o.Report)}
	o.Report, o.Warn = onChange(o.Report), onChange(o.Warn)
	if o.Churn {
		if o.churn, err = newChurn(table, churnRoom); err != nil {
			o.Report(fmt.Errorf("%w: the column started is empty", err))
		} else {
			defer o.churn.close()
		}
	}
	export := exporter{Options: o}
	defer func() { o.check(export.close()) }()
	_ = w.Write(header) // Error has it
	for beat := newBeat(every); ; {
		if o.NodeName != nil {
			o.Host = o.NodeName()
			export.Host = o.Host
		}
		found, err := o.fromTable(table, titles, names.byUIDs)
		if err != nil {
			return err
		}
		_ = rows.Encode(w, rows.SnapshotColumns, found.printed(o.Min)...)
		_ = w.Write(header)
		if w.Flush(); w.Error() != nil {
			return w.Error()
		}
		o.check(export.take(found))
		skipped, done := beat.wait(ctx)
		switch {
		case done:
			return nil
		case skipped > 0:
			o.Warn(fmt.Errorf("a snapshot takes longer than %s: beats are skipped", every))
		}
	}
}

// check reports a failure after which the rest goes on.
func (o Options) check(err error) {
	if err != nil {
		o.Report(err)
	}
}

// onChange returns report without what it has reported last.
func onChange(report func(error)) func(error) {
	last := ""
	return func(err error) {
		if err.Error() != last {
			last = err.Error()
			report(err)
		}
	}
}

// A beat is a time every so often, counted from the first: it doesn't drift.
type beat struct {
	every time.Duration
	next  time.Time
}

func newBeat(every time.Duration) *beat { return &beat{every, time.Now().Add(every)} }

// wait returns at the next beat, or when ctx is done. It says how many beats are
// past that nobody has waited for.
func (b *beat) wait(ctx context.Context) (skipped int, done bool) {
	if late := time.Since(b.next); late > 0 {
		skipped = int(late/b.every) + 1
		b.next = b.next.Add(time.Duration(skipped) * b.every)
	}
	select {
	case <-time.After(time.Until(b.next)):
		b.next = b.next.Add(b.every)
		return skipped, ctx.Err() != nil
	case <-ctx.Done():
		return skipped, true
	}
}

// A nameCache asks the name service for each uid once in namesLast.
type nameCache struct {
	now   func() time.Time
	since time.Time
	known map[uint32]account.Account // with an empty name where there is none
}

// byUIDs is account.ByUIDs with a memory.
func (n *nameCache) byUIDs(uids []uint32) (map[uint32]account.Account, error) {
	if now := n.now(); n.known == nil || now.Sub(n.since).Abs() > namesLast {
		n.known, n.since = map[uint32]account.Account{}, now
	}
	var unknown []uint32
	for _, uid := range uids {
		if _, asked := n.known[uid]; !asked {
			unknown = append(unknown, uid)
		}
	}
	var err error
	if len(unknown) > 0 {
		var answer map[uint32]account.Account
		answer, err = account.ByUIDs(unknown)
		for _, uid := range unknown {
			if a, found := answer[uid]; found || err == nil {
				n.known[uid] = a
			}
		}
	}
	found := map[uint32]account.Account{}
	for _, uid := range uids {
		if a := n.known[uid]; a.Name != "" {
			found[uid] = a
		}
	}
	return found, err
}
