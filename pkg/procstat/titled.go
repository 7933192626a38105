package procstat

import (
	"fmt"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// titlesTake is how long it may take to read all titles of a snapshot, a variable for
// tests.
var titlesTake = 2 * time.Second

// A group are processes of one account and name whose titles may say whom they serve.
type group struct {
	key
	rules titles.Rules
}

// newGroup returns the group of a key, nil where the table says nothing of it.
func newGroup(k key, says *titles.Table) *group {
	if rules := says.For(k.uid, k.proc()); rules != nil {
		return &group{k, rules}
	}
	return nil
}

// A speaker is a process of a group.
type speaker struct {
	*group
	proc.Process
}

func newSpeaker(g *group, p *proc.Process) speaker {
	s := speaker{g, *p}
	s.Comm = nil // which the scan uses again
	return s
}

// speakers finds out whom processes serve that run under one account.
type speakers struct {
	titles   *titles.Table // nil: none says
	report   func(error)
	resolved time.Time // when the table's accounts were looked up
	reader   proc.TitleReader
}

// resolve looks the table's accounts up, unless it was done not long ago.
func (s *speakers) resolve(now time.Time) {
	if s.titles == nil || now.Sub(s.resolved).Abs() <= namesLast {
		return
	}
	s.resolved = now
	if err := s.titles.Resolve(); err != nil {
		s.report(err) // what is theirs counts as the account's
	}
}

// part moves those of whom a title says whose they are from the account's counts to
// that user's. All others stay there.
func (s *speakers) part(table *proc.Table, counts map[key]*tally, all []speaker, now uint64) {
	of, users := make([]proc.Process, len(all)), make([]string, len(all))
	for i := range all {
		of[i] = all[i].Process
	}
	unread := s.reader.Read(table, of, titlesTake, func(i int, title []byte) { users[i] = all[i].rules.User(title) })
	if unread > 0 {
		s.report(fmt.Errorf("%d process titles not read within %s: counted as their account's", unread, titlesTake))
	}
	for i, user := range users {
		if user == "" {
			continue
		}
		from, to := all[i].key, all[i].key
		to.user = user
		p := one(&all[i].Process, now)
		if counts[to] == nil {
			counts[to] = &tally{}
		}
		counts[to].add(p)
		counts[from].add(tally{count: -p.count, zombies: -p.zombies, recent: -p.recent})
		if counts[from].count == 0 {
			delete(counts, from)
		}
	}
}
