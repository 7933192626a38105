package procstat

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// titlesTake is how long it may take to read all titles of a snapshot, a variable for
// tests.
var titlesTake = 2 * time.Second

// A speaker is a process whose title may name its user or its program.
type speaker struct {
	comm string
	proc.Process
}

func newSpeaker(comm string, p *proc.Process) speaker {
	s := speaker{comm, *p}
	s.Comm = nil // which the scan uses again
	return s
}

// speakers finds out what processes say in their titles.
type speakers struct {
	titles   *titles.Table // nil: nothing
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

// part counts the processes with titles: each as the user and the program that its title
// names, or as the account's own under its comm.
func (s *speakers) part(table *proc.Table, c *census, now uint64, names func([]uint32) (map[uint32]account.Account, error)) {
	if len(c.titled) == 0 {
		return
	}
	said := s.read(table, c.titled, s.rules(c.titled, names))
	programs := map[key]titles.Programs{}
	for i, p := range c.titled {
		group := key{uid: p.UID, name: p.comm}
		if programs[group] == nil {
			programs[group] = titles.Programs{}
		}
		programs[group][said[i].Proc]++
	}
	for group, all := range programs {
		programs[group] = all.Standing()
	}
	for i := range c.titled {
		p := &c.titled[i]
		k := key{user: said[i].User, uid: p.UID, name: p.comm}
		if _, stands := programs[key{uid: p.UID, name: p.comm}][said[i].Proc]; stands {
			k.name = said[i].Proc
		}
		t := c.counts[k]
		if t == nil {
			t = &tally{untimed: true}
			c.counts[k] = t
		}
		t.addProcess(&p.Process, now)
	}
	for k, t := range c.counts {
		if t.count == 0 {
			delete(c.counts, k)
		}
	}
}

// rules returns the rules for each group of processes.
func (s *speakers) rules(all []speaker, names func([]uint32) (map[uint32]account.Account, error)) map[key]titles.Rules {
	sizes := map[key]int{}
	for i := range all {
		sizes[key{uid: all[i].UID, name: all[i].comm}]++
	}
	var accounts map[uint32]account.Account
	if s.titles.NeedsNames() {
		uids := map[uint32]bool{}
		for k := range sizes {
			uids[k.uid] = true
		}
		var err error
		if accounts, err = names(slices.Sorted(maps.Keys(uids))); err != nil {
			s.report(err)
		}
	}
	rules := map[key]titles.Rules{}
	for k, size := range sizes {
		a := accounts[k.uid]
		a.UID = k.uid
		rules[k] = s.titles.RulesOf(a, k.proc()).Of(size)
	}
	return rules
}

// read returns what each process says.
func (s *speakers) read(table *proc.Table, all []speaker, rules map[key]titles.Rules) []titles.Saying {
	said := make([]titles.Saying, len(all))
	var (
		of    []proc.Process
		index []int
		each  []titles.Rules
	)
	for i := range all {
		if r := rules[key{uid: all[i].UID, name: all[i].comm}]; r != nil {
			of, index, each = append(of, all[i].Process), append(index, i), append(each, r)
		}
	}
	unread := s.reader.Read(table, of, titlesTake, func(i int, title []byte) { said[index[i]] = each[i].Read(title) })
	if unread > 0 {
		s.report(fmt.Errorf("%d process titles not read within %s: counted as their account's", unread, titlesTake))
	}
	return said
}
