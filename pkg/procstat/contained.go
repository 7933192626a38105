package procstat

import (
	"slices"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
)

// containers finds out which processes of subordinate uids, subuid(5), belong to the
// account that owns their user namespace: those of its rootless containers.
type containers struct {
	table  *proc.Table
	own    proc.NamespaceID
	ranges account.SubuidTable // none if nothing can be found out
}

func newContainers(table *proc.Table, report func(error)) containers {
	own, err := table.OwnUserNamespace()
	if err != nil {
		return containers{}
	}
	own.Close()
	ranges, err := account.ReadSubuid()
	if err != nil {
		report(err)
	}
	return containers{table, own.ID, ranges}
}

// containedKey is what is counted apart until the scan is over.
type containedKey struct {
	key
	namespace proc.NamespaceID
}

// A containedCount counts the processes of subordinate uids that a worker has seen.
type containedCount struct {
	counts map[containedKey]*tally
	owners map[proc.NamespaceID][]uint32
}

// add counts a process and reports true if it is in a user namespace within our own.
func (c *containedCount) add(in containers, p *proc.Process, t *tally, now uint64) bool {
	namespace, err := in.table.UserNamespaceOf(p.PID)
	if err != nil {
		return false
	}
	defer namespace.Close()
	if namespace.ID == in.own {
		return false
	}
	if c.counts == nil {
		c.counts, c.owners = map[containedKey]*tally{}, map[proc.NamespaceID][]uint32{}
	}
	if _, known := c.owners[namespace.ID]; !known {
		c.owners[namespace.ID], _ = namespace.Owners(in.own) // nobody's if that can't be read
	}
	k := containedKey{key{uid: p.UID, name: t.comm}, namespace.ID}
	if c.counts[k] == nil {
		c.counts[k] = &tally{}
	}
	c.counts[k].addProcess(p, now)
	return true
}

// attribute adds what was counted to the account that owns both the range in which the
// uid lies and the namespace, or to the uid.
func (c *containedCount) attribute(in containers, counts map[key]*tally) {
	for contained, t := range c.counts {
		k := contained.key
		if owner, found := in.ranges.Owner(k.uid); found && slices.Contains(c.owners[contained.namespace], owner) {
			k.uid = owner
		}
		if counts[k] == nil {
			counts[k] = &tally{comm: k.name}
		}
		counts[k].add(t)
	}
}
