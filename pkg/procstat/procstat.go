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
	"stormcheck/pkg/titles"
)

// Options are what Run and Stand work with.
type Options struct {
	Min      int64            // the smallest count of a row
	Total    bool             // also a row for all processes of each user
	Host     string           // the host column, escaped
	NodeName func() string    // with Stand: the host column of each snapshot, escaped; nil: Host
	Titles   *titles.Table    // what process titles say; nil: they aren't read
	Text     io.Reader        // text of ps in place of this machine's table
	TextName string           // its name in messages
	Metrics  string           // file for node_exporter's textfile collector; "" is none
	Now      func() time.Time // the clock
	Churn    bool             // with Stand: count what is started, alive or not
	Report   func(error)      // called with what is wrong when rows still come out
	Warn     func(error)      // called by Stand with what is no failure

	churn *churn // nil: started isn't known
}

// key is what a row is about. Text has no uid. In a scan of the table only a title has named
// the user yet.
type key struct {
	user  string
	uid   uint32
	name  string // comm, or the program that a title names
	total bool   // all names together
}

// proc returns the proc column.
func (k key) proc() string {
	if k.total {
		return "*"
	}
	return rows.EscapeName(k.name)
}

// tally is what is counted of a key.
type tally struct {
	count, zombies, recent int64
	oldest                 uint64 // the smallest Process.Start
	parents                parents
	comm                   string       // of the processes, unless the tally is a sum
	group                  *titledGroup // whose titles are read, so that they aren't counted before; nil: they are
	subordinate            bool         // their uid is some account's for its containers
	untimed                bool         // by a title: what was started isn't known by user or program
	started                startedCount
}

func (t *tally) add(u *tally) {
	if u.count > 0 && (t.count == 0 || u.oldest < t.oldest) {
		t.oldest = u.oldest
	}
	t.count += u.count
	t.zombies += u.zombies
	t.recent += u.recent
	t.started.count += u.started.count
	t.parents.merge(&u.parents)
}

// addProcess counts a process.
func (t *tally) addProcess(p *proc.Process, now uint64) {
	if t.count == 0 || p.Start < t.oldest {
		t.oldest = p.Start
	}
	t.count++
	if p.Zombie {
		t.zombies++
	}
	if p.Recent(now) {
		t.recent++
	}
	t.parents.add(p.PPID, 1)
}

// Run writes a snapshot to out, of text each that is in it. If the table can't be seen
// whole it writes nothing and returns the reason.
func Run(o Options, out io.Writer) error {
	w := rows.NewWriter(out)
	take := func(found scan) error {
		_ = w.Write(header) // Error has it
		_ = rows.Encode(w, rows.SnapshotColumns, found.printed(o.Min)...)
		w.Flush()
		if w.Error() != nil || o.Metrics == "" {
			return w.Error()
		}
		return o.export(found)
	}
	if o.Text != nil {
		return newTextReader(o).each(take)
	}
	found, err := o.snapshot()
	if err != nil {
		return err
	}
	return take(found)
}

// header is the first line of each snapshot.
var header = rows.Header(rows.SnapshotColumns)

// A scan is what has been found in one.
type scan struct {
	rows   []rows.Row // in order
	all    int64      // processes, also those of no row
	series []series   // for the metrics, if they are written
	start  time.Time
	took   time.Duration
}

// printed returns the rows of least processes or more, alive or started lately.
func (s scan) printed(least int64) (printed []rows.Row) {
	for _, row := range s.rows {
		if row.Count.N >= least || row.Started.N >= least {
			printed = append(printed, row)
		}
	}
	return printed
}

// snapshot takes one of this machine's table.
func (o Options) snapshot() (scan, error) {
	table, err := proc.Open()
	if err != nil {
		return scan{}, err
	}
	defer table.Close()
	return o.fromTable(table, &titleReader{titles: o.Titles, report: o.Report}, account.ByUIDs)
}

// finish puts what was found in a scan of all so many processes, begun at start, in
// order.
func (o Options) finish(start time.Time, all int64, found []rows.Row) scan {
	stamp := rows.Timestamp{Time: start.UTC().Truncate(time.Second)}
	for i := range found {
		found[i].Time, found[i].Host = stamp, o.Host
	}
	slices.SortFunc(found, func(a, b rows.Row) int {
		return cmp.Or(
			-cmp.Compare(a.Count.N, b.Count.N),
			cmp.Compare(a.User, b.User),
			cmp.Compare(a.Proc, b.Proc),
			cmp.Compare(a.UID.N, b.UID.N),
			cmp.Compare(a.Account, b.Account))
	})
	return scan{rows: found, all: all, start: start, took: max(0, o.Now().Sub(start))}
}

// fromTable counts the processes of this machine, some by what titles finds in their titles.
// names is asked for the accounts of those that become rows.
func (o Options) fromTable(table *proc.Table, titles *titleReader, names func([]uint32) (map[uint32]account.Account, error)) (scan, error) {
	start := o.Now()
	titles.resolve(start)
	now, boot := proc.Now(), proc.Boot()
	c, err := count(table, titles.titles, newContainers(table, o.Report), now)
	if err != nil {
		return scan{}, err
	}
	var byComm map[key]int64
	if o.Metrics != "" {
		byComm = largest(c.byComm())
	}
	titles.count(table, c, now, names)
	if o.churn != nil {
		c.addStarted(o.churn.started(o.Report))
	}
	all := o.cut(c.counts)

	accounts, err := names(uidsOf(c.counts, byComm))
	if err != nil {
		o.Report(err) // rows come out with the uid where there is no name
	}
	owner := func(k key) string {
		if a, known := accounts[k.uid]; known {
			return a.Name
		}
		return strconv.FormatUint(uint64(k.uid), 10)
	}
	parents := c.parents()
	var found []rows.Row
	for k, t := range c.counts {
		row := rows.Row{User: rows.EscapeName(owner(k)), UID: rows.Known(int64(k.uid)), Proc: k.proc(), Count: rows.Known(t.count)}
		if k.user != "" {
			row.User, row.Account = rows.EscapeName(k.user), row.User
		}
		row.Parent = t.parents.most(parents)
		if o.churn != nil && !t.untimed {
			row.Started = rows.Known(t.started.count)
		}
		if t.count == 0 {
			row.Parent = t.started.parent
		}
		if proc.Detailed {
			row.Zombies, row.Recent = rows.Known(t.zombies), rows.Known(t.recent)
		}
		if proc.Detailed && t.count > 0 {
			row.Oldest = rows.Timestamp{Time: proc.StartTime(boot, t.oldest).UTC().Truncate(time.Second)}
		}
		found = append(found, row)
	}
	finished := o.finish(start, all, found)
	finished.series = seriesOf(byComm, owner)
	return finished, nil
}

// uidsOf returns the uids of all keys, those with the largest counts first: in a storm
// the name service may not have the time for all of them.
func uidsOf(counts map[key]*tally, byComm map[key]int64) []uint32 {
	largest := map[uint32]int64{}
	for k, t := range counts {
		largest[k.uid] = max(largest[k.uid], t.count)
	}
	for k, n := range byComm {
		largest[k.uid] = max(largest[k.uid], n)
	}
	return slices.SortedFunc(maps.Keys(largest), func(a, b uint32) int {
		return cmp.Or(-cmp.Compare(largest[a], largest[b]), cmp.Compare(a, b))
	})
}

// cut leaves the counts that are of use, with those of each user's processes, and
// returns the number of all processes.
func (o Options) cut(counts map[key]*tally) (all int64) {
	for _, t := range counts {
		all += t.count
	}
	if o.Total {
		addTotals(counts)
	}
	maps.DeleteFunc(counts, func(_ key, t *tally) bool { return t.count < o.Min && t.started.count < o.Min })
	return all
}

// addTotals adds what each user has of all names together.
func addTotals(counts map[key]*tally) {
	totals := map[key]*tally{}
	for k, t := range counts {
		total := key{user: k.user, uid: k.uid, total: true}
		if totals[total] == nil {
			totals[total] = &tally{}
		}
		totals[total].add(t)
	}
	maps.Copy(counts, totals)
}

// A census is what a scan has found.
type census struct {
	counts    map[key]*tally
	titled    titled
	groups    map[key]*titledGroup // of titled
	seen      [][]sighting         // all, by worker
	contained containedCount
}

// A sighting is a process that a scan has seen.
type sighting struct {
	pid int
	of  *tally // which has its name
}

// count scans the table. Kernel threads are nobody's processes and left out.
func count(table *proc.Table, says *titles.Table, in containers, now uint64) (*census, error) {
	parts := make([]census, proc.Workers())
	seen := make([][]sighting, proc.Workers())
	groups := titledGroups{byKey: map[key]*titledGroup{}}
	for i := range parts {
		parts[i].counts = map[key]*tally{}
	}
	err := table.Scan(func(worker int, p *proc.Process) {
		part := &parts[worker]
		if p.Kernel {
			seen[worker] = append(doubled(seen[worker]), sighting{p.PID, &tally{comm: string(p.Comm)}})
			return
		}
		t := part.counts[key{uid: p.UID, name: string(p.Comm)}] // the compiler makes no copy for this
		if t == nil {
			k := key{uid: p.UID, name: string(p.Comm)}
			t = &tally{comm: k.name, subordinate: in.ranges.Holds(k.uid)}
			if says.Concerns(k.uid, k.proc()) {
				t.group = groups.of(k)
			}
			part.counts[k] = t
		}
		seen[worker] = append(doubled(seen[worker]), sighting{p.PID, t})
		switch {
		case t.subordinate && part.contained.add(in, p, t, now):
		case t.group != nil:
			part.titled.add(p, t.group)
		default:
			t.addProcess(p, now)
		}
	})
	if err != nil {
		return nil, err
	}
	total := parts[0]
	total.seen, total.groups = seen, groups.byKey
	for _, part := range parts[1:] {
		total.titled.processes = append(total.titled.processes, part.titled.processes...)
		total.titled.groups = append(total.titled.groups, part.titled.groups...)
		for k, t := range part.counts {
			if sum := total.counts[k]; sum != nil {
				sum.add(t)
			} else {
				total.counts[k] = t
			}
		}
	}
	for i := range parts {
		parts[i].contained.attribute(in, total.counts)
	}
	for _, group := range total.titled.groups {
		group.size++
	}
	maps.DeleteFunc(total.counts, func(_ key, t *tally) bool { return t.count == 0 && t.group == nil })
	if len(total.counts) == 0 {
		return nil, errors.New("/proc: no process to be seen, not even this one")
	}
	return &total, nil
}

// addStarted adds what was started lately: also where no process is left.
func (c *census) addStarted(started map[key]startedCount) {
	for k, s := range started {
		if c.counts[k] == nil {
			c.counts[k] = &tally{comm: k.name}
		}
		c.counts[k].started = s
	}
}

// parents returns the names of the most frequent parents of all counts. A parent that
// ended before the scan came to it has none.
func (c *census) parents() map[int]string {
	names := map[int]string{}
	for _, t := range c.counts {
		if pid, n := t.parents.largest(); n > 0 {
			names[pid] = ""
		}
	}
	for _, part := range c.seen {
		for _, s := range part {
			if _, wanted := names[s.pid]; wanted {
				names[s.pid] = s.of.comm
			}
		}
	}
	return names
}
