package killstorm

import (
	"stormcheck/pkg/account"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/titles"
)

// mostComms is how many names of an account's processes are kept in mind.
const mostComms = 1000

// A naming says which of an account's processes have the row's name in the stream: those
// of that comm, and those whose titles name such a program.
type naming struct {
	table *titles.Table // nil if there is none
	owner account.Account
	comm  string // the row's name
	comms map[string]*commRules
}

// A commRules is a name that processes of the account have in the kernel.
type commRules struct {
	name  string
	rules titles.Rules // how to read their titles; none if they don't matter
	// standing are programs that have a name of their own in the stream, or had: their
	// processes don't count under the comm.
	standing map[string]bool
}

// of returns the comm of a process that may have the row's name, nil if it can't. Its
// caller holds the fight's mutex.
func (n *naming) of(name []byte) *commRules {
	if c, known := n.comms[string(name)]; known {
		return c
	}
	if string(name) != n.comm && (n.table == nil || len(n.comms) >= mostComms) {
		return nil
	}
	c := &commRules{name: string(name), rules: n.table.RulesOf(n.owner, rows.EscapeName(string(name))), standing: map[string]bool{}}
	if c.name != n.comm && len(c.rules) == 0 {
		c = nil
	}
	if n.comms == nil {
		n.comms = map[string]*commRules{}
	}
	n.comms[string(name)] = c
	return c
}

// has reports whether a process of that comm whose title says so has the row's name.
func (n *naming) has(c *commRules, says titles.Saying) bool {
	return says.Proc == n.comm || c.name == n.comm && !c.standing[says.Proc]
}

// stand notes which programs have names of their own, of all that processes of a comm
// say.
func (c *commRules) stand(all titles.Programs) {
	for program := range all.Standing() {
		c.standing[program] = true
	}
}
