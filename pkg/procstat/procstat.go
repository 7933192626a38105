// Package procstat counts processes by account and name: the first stage of the
// pipe, and the only one that sees the whole process table.
package procstat

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	Min      int64            // the smallest count of a row
	Host     string           // the host column, escaped
	Text     io.Reader        // text of ps in place of this machine's table
	TextName string           // its name in messages
	Now      func() time.Time // the clock
	Report   func(error)      // told what is wrong when rows still come out
}

// key is what a row is about. Text has no uid, and the table no user yet.
type key struct {
	user string
	uid  uint32
	comm string
}

// tally is what is counted of a key.
type tally struct{ count, zombies, recent int64 }

func (t *tally) add(u tally) {
	t.count += u.count
	t.zombies += u.zombies
	t.recent += u.recent
}

// Run writes one snapshot to out. When the table can't be seen whole it writes
// nothing and returns the reason.
func Run(o Options, out io.Writer) error {
	now := rows.Timestamp{Time: o.Now().UTC().Truncate(time.Second)}
	var (
		found []rows.Row
		err   error
	)
	if o.Text != nil {
		found, err = fromText(o)
	} else {
		found, err = fromTable(o)
	}
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Time, found[i].Host = now, o.Host
	}
	slices.SortFunc(found, func(a, b rows.Row) int {
		return cmp.Or(
			-cmp.Compare(a.Count.N, b.Count.N),
			cmp.Compare(a.User, b.User),
			cmp.Compare(a.Proc, b.Proc),
			cmp.Compare(a.UID.N, b.UID.N))
	})
	w := rows.NewWriter(out)
	_ = w.Write(rows.Header(9)) // Error has it
	_ = rows.Encode(w, 9, found...)
	w.Flush()
	return w.Error()
}

// fromTable counts the processes of this machine.
func fromTable(o Options) ([]rows.Row, error) {
	counts, err := count()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(counts, func(_ key, t *tally) bool { return t.count < o.Min })

	uids := map[uint32]bool{}
	for k := range counts {
		uids[k.uid] = true
	}
	accounts, err := account.ByUIDs(slices.Collect(maps.Keys(uids)))
	if err != nil {
		o.Report(err) // rows come out with the uid where there is no name
	}
	var found []rows.Row
	for k, t := range counts {
		user := strconv.FormatUint(uint64(k.uid), 10)
		if a, known := accounts[k.uid]; known {
			user = a.Name
		}
		row := rows.Row{
			User:  rows.Escape(user),
			UID:   rows.Known(int64(k.uid)),
			Proc:  rows.EscapeProc(k.comm),
			Count: rows.Known(t.count),
		}
		if proc.Detailed {
			row.Zombies, row.Recent = rows.Known(t.zombies), rows.Known(t.recent)
		}
		found = append(found, row)
	}
	return found, nil
}

// count scans the table. Kernel threads are nobody's processes and left out.
func count() (map[key]*tally, error) {
	table, err := proc.Open()
	if err != nil {
		return nil, err
	}
	defer table.Close()
	now := proc.Now()
	parts := make([]map[key]*tally, proc.Workers())
	for i := range parts {
		parts[i] = map[key]*tally{}
	}
	err = table.Scan(func(worker int, p *proc.Process) {
		if p.Kernel {
			return
		}
		counts := parts[worker]
		t := counts[key{uid: p.UID, comm: string(p.Comm)}] // the compiler makes no copy for this
		if t == nil {
			t = &tally{}
			counts[key{uid: p.UID, comm: string(p.Comm)}] = t
		}
		t.count++
		if p.Zombie {
			t.zombies++
		}
		if p.Recent(now) {
			t.recent++
		}
	})
	if err != nil {
		return nil, err
	}
	total := parts[0]
	for _, part := range parts[1:] {
		for k, t := range part {
			if sum := total[k]; sum != nil {
				sum.add(*t)
			} else {
				total[k] = t
			}
		}
	}
	if len(total) == 0 {
		return nil, errors.New("/proc: no process to be seen, not even this one")
	}
	return total, nil
}
