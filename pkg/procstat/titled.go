package procstat

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// titlesTake is how long it may take to read all titles of a snapshot, a variable for
// tests.
var titlesTake = 2 * time.Second

// A titledGroup is an account's processes of one comm whose titles may name their user or
// their program.
type titledGroup struct {
	uid      uint32
	comm     string
	size     int
	rules    titles.Rules    // what reads their titles: none if nothing that they say matters
	programs titles.Programs // that their titles name
}

// titledGroups are the groups of a scan, whose workers share them.
type titledGroups struct {
	mutex sync.Mutex
	byKey map[key]*titledGroup
}

// of returns the group of a key.
func (g *titledGroups) of(k key) *titledGroup {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.byKey[k] == nil {
		g.byKey[k] = &titledGroup{uid: k.uid, comm: k.name, programs: titles.Programs{}}
	}
	return g.byKey[k]
}

// titled are processes whose titles may say more than their comm. The scan doesn't count
// them. Process i, without its Comm, is of group i.
type titled struct {
	processes []proc.Process
	groups    []*titledGroup
}

func (t *titled) add(p *proc.Process, group *titledGroup) {
	t.processes, t.groups = append(doubled(t.processes), *p), append(doubled(t.groups), group)
	t.processes[len(t.processes)-1].Comm = nil // which the scan uses again
}

// doubled returns a slice that has room for one more element. A full one gets room for as
// many again: append's smaller steps touch more memory, which costs more than copying.
func doubled[T any](s []T) []T {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, max(64, len(s)))
}

// rulesFirst moves the processes whose group has rules before all others, and returns their
// number.
func (t *titled) rulesFirst() (n int) {
	for i, group := range t.groups {
		if group.rules != nil {
			t.processes[i], t.processes[n] = t.processes[n], t.processes[i]
			t.groups[i], t.groups[n] = t.groups[n], t.groups[i]
			n++
		}
	}
	return n
}

// titleReader finds out what processes say in their titles.
type titleReader struct {
	titles   *titles.Table // nil: nothing
	report   func(error)
	resolved time.Time // when the table's accounts were looked up
	reader   proc.TitleReader
}

// resolve looks the table's accounts up, unless it was done not long ago.
func (r *titleReader) resolve(now time.Time) {
	if r.titles == nil || now.Sub(r.resolved).Abs() <= namesLast {
		return
	}
	r.resolved = now
	if err := r.titles.Resolve(); err != nil {
		r.report(err) // what is theirs counts as the account's
	}
}

// count counts the processes with titles: each as the user and the program that its title
// names, or as the account's own under its comm.
func (r *titleReader) count(table *proc.Table, c *census, now uint64, names func([]uint32) (map[uint32]account.Account, error)) {
	if len(c.groups) == 0 {
		return
	}
	r.findRules(c.groups, names)
	said := r.read(table, &c.titled)
	for i, group := range c.titled.groups {
		group.programs[said[i].Proc]++
	}
	for _, group := range c.groups {
		group.programs = group.programs.Standing()
	}
	for i, group := range c.titled.groups {
		k := key{user: said[i].User, uid: group.uid, name: group.comm}
		if _, stands := group.programs[said[i].Proc]; stands {
			k.name = said[i].Proc
		}
		t := c.counts[k]
		if t == nil {
			t = &tally{untimed: true}
			c.counts[k] = t
		}
		t.addProcess(&c.titled.processes[i], now)
	}
	maps.DeleteFunc(c.counts, func(_ key, t *tally) bool { return t.count == 0 })
}

// findRules finds the rules of each group.
func (r *titleReader) findRules(groups map[key]*titledGroup, names func([]uint32) (map[uint32]account.Account, error)) {
	var accounts map[uint32]account.Account
	if r.titles.NeedsNames() {
		uids := map[uint32]bool{}
		for k := range groups {
			uids[k.uid] = true
		}
		var err error
		if accounts, err = names(slices.Sorted(maps.Keys(uids))); err != nil {
			r.report(err)
		}
	}
	for k, group := range groups {
		a := accounts[k.uid]
		a.UID = k.uid
		group.rules = r.titles.RulesOf(a, k.proc()).Of(group.size)
	}
}

// read returns what each process says.
func (r *titleReader) read(table *proc.Table, t *titled) []titles.Saying {
	said := make([]titles.Saying, len(t.processes))
	unread := r.reader.Read(table, t.processes[:t.rulesFirst()], titlesTake, func(i int, title []byte) {
		said[i] = t.groups[i].rules.Read(title)
	})
	if unread > 0 {
		r.report(fmt.Errorf("%d process titles not read within %s: counted as their account's", unread, titlesTake))
	}
	return said
}
