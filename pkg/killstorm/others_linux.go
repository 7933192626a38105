package killstorm

import (
	"fmt"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// subsided is the error of a storm that is below its limit; it is the number of processes
// left.
type subsided int64

func (s subsided) Error() string { return rows.FormatSubsided(int64(s), "") }

// explain adds to the notes of storms that have subsided what else their accounts have
// started since then, under another name, and which zombies are there.
func (f *fight) explain(left map[*storm]int64) {
	for s, n := range left {
		s.due.Err = filter.Note(subsided(n).Error())
	}
	c, parents := census{}, map[*storm]map[int]int{}
	err := f.table.Scan(func(_ int, p *proc.Process) {
		for _, s := range f.byUID[p.UID] {
			if _, is := left[s]; is && p.Zombie && string(p.Comm) == s.comm {
				f.mutex.Lock()
				if parents[s] == nil {
					parents[s] = map[int]int{}
				}
				parents[s][p.PPID]++
				f.mutex.Unlock()
				return
			}
		}
		f.countOther(c, p, func(s *storm) bool {
			_, is := left[s]
			return is && string(p.Comm) != s.comm && p.Start >= f.firstOf(s.due.Row)
		})
	})
	if err != nil {
		return // the notes are right without it
	}
	for s, n := range left {
		var also []string
		if other := f.most(c, s); other.mayBe(s.due.Row.Count.N) {
			also = append(also, fmt.Sprintf("%d named %s started at the same time", other.count, field(other.comm)))
		}
		if zombies := f.zombies(parents[s]); zombies != "" {
			also = append(also, zombies)
		}
		s.due.Err = filter.Note(rows.FormatSubsided(n, strings.Join(also, " and ")))
	}
}

// A census is the processes of some storms' accounts that have other names, by name.
type census map[*storm]map[string][]id

// add counts a process.
func (c census) add(s *storm, p *proc.Process) {
	if c[s] == nil {
		c[s] = map[string][]id{}
	}
	c[s][string(p.Comm)] = append(c[s][string(p.Comm)], id{p.PID, p.Start})
}

// most returns the name that the most processes of a storm's account have.
func (f *fight) most(c census, s *storm) (most crowd) {
	for comm, ids := range c[s] {
		n := 0
		for _, id := range ids {
			p := process{id: id, uid: s.user.UID}
			if h, err := f.open(&p, &f.one); err == nil {
				if f.refusal(s, &p, h, &f.one) == "" {
					n++
				}
				h.Close()
			}
		}
		if n > most.count || n == most.count && comm < most.comm {
			most = crowd{comm, n}
		}
	}
	return most
}

// countOther counts a process of a storm's account that has another name, if is holds for
// it. It doesn't for titled rows, because many people may share the account.
func (f *fight) countOther(c census, p *proc.Process, is func(*storm) bool) {
	if p.Zombie || p.Kernel || f.isOwn(p) {
		return
	}
	of := f.byUID[p.UID]
	if len(of) == 0 {
		return
	}
	f.mutex.Lock() // also for is, which looks at what the other worker notes
	defer f.mutex.Unlock()
	for _, s := range of {
		if !s.people && is(s) {
			c.add(s, p)
		}
	}
}

// zombies says how many zombies each parent has.
func (f *fight) zombies(parents map[int]int) string {
	total, parent := 0, 0
	for pid, n := range parents {
		if total += n; n > parents[parent] || n == parents[parent] && pid < parent {
			parent = pid
		}
	}
	if total == 0 {
		return ""
	}
	name := "of another namespace"
	if f.identify(parent, &f.one) == nil {
		name = fmt.Sprintf("%s (PID %d)", field(string(f.one.Comm)), parent)
	}
	return fmt.Sprintf("%d zombies: no kill ends them - their parent %s has to reap them", total, name)
}

// firstOf returns when the row's oldest process started, as Process.Start: a minute
// before the snapshot if the row doesn't say.
func (f *fight) firstOf(row rows.Row) uint64 {
	oldest := row.Oldest.Time
	if oldest.IsZero() {
		oldest = row.Time.Add(-time.Minute)
	}
	const ticks = 100 // a second, proc_pid_stat(5)
	ago := uint64(max(0, f.Now().Sub(oldest)+time.Second) / (time.Second / ticks))
	return f.now - min(f.now, ago)
}
