package killstorm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stormcheck/pkg/proc"
)

// An id says which process: PIDs are reused.
type id struct {
	pid   int
	start uint64 // proc.Process.Start
}

// A stage is how far killstorm has come with a process.
type stage uint8

const (
	seen      stage = iota // it runs, or somebody else has stopped it
	frozen                 // stopped by killstorm
	signalled              // killed by killstorm, and not yet seen gone
	gone                   // it has ended, or is a zombie
)

// A claim says whether the row is about a process.
type claim uint8

const (
	ours    claim = iota // the row is about it
	other                // its title says otherwise, or doesn't say that the row is about it
	refused              // it must not be touched, for process.why
)

// A process matches, or did: it may have taken another name.
type process struct {
	id
	uid    uint32 // the account's, or a subordinate one
	comm   *commRules
	stage  stage
	claim  claim
	why    string // it is refused
	spared bool   // the row trims and hasn't chosen it: it is left alone, whatever its claim becomes
	sent   Signal // the last signal that it got to end it, 0 if none
	unseen error  // why it couldn't be opened
	denied error  // why it couldn't be signalled

	sweep     int  // the last one that saw it
	state     byte // then, proc_pid_stat(5)
	parent    int  // then, its PID
	terminal  bool // it has a controlling terminal
	recent    bool // it started in the last 60 s
	late      bool // it came after the killing had begun
	confirmed bool // its title was right after it had stopped
}

// titled reports whether its title says whether the row is about it.
func (p *process) titled() bool { return p.comm != nil && len(p.comm.rules) > 0 }

// touched reports whether killstorm has stopped or signalled it, and so must finish with
// it.
func (p *process) touched() bool { return p.stage == frozen || p.sent != 0 }

// alive reports whether it lives after the sweep, as far as killstorm knows.
func (p *process) alive(sweep int) bool { return p.stage != gone && (p.sweep == sweep || p.touched()) }

// ends reports whether killstorm ends it.
func (p *process) ends() bool { return p.claim == ours && !p.spared }

// remains reports whether it lives after the sweep, and should have ended.
func (p *process) remains(sweep int) bool { return p.ends() && p.alive(sweep) }

// killed reports whether it got a signal of killstorm's and has gone.
func (p *process) killed() bool { return p.stage == gone && p.sent != 0 }

// refuse notes why it must not be touched; "" allows it again.
func (p *process) refuse(why string) {
	switch p.why = why; {
	case why == stranger:
		p.claim = other
	case why != "":
		p.claim = refused
	case p.claim == refused:
		p.claim = ours
	}
}

// missed notes why it couldn't be opened. If it lives all the same, the next sweep
// finds it again.
func (p *process) missed(err error) {
	if err == proc.ErrGone {
		p.stage = gone
	} else {
		p.unseen = err
	}
}

// got notes that it was sent a signal, or why it couldn't be.
func (p *process) got(sig Signal, err error) {
	if err != proc.ErrGone {
		p.denied = err
	}
	if err != nil {
		return
	}
	switch sig {
	case stopSignal:
		p.stage = frozen
	case resumeSignal:
		p.stage, p.confirmed = seen, false
	case killSignal:
		p.stage, p.sent = signalled, sig
	default:
		p.sent = sig
	}
}

// oldest returns those processes that are the row's, the oldest first.
func oldest(all []process) []process {
	all = slices.DeleteFunc(slices.Clone(all), func(p process) bool { return p.claim != ours })
	slices.SortFunc(all, func(a, b process) int { return byAge(a.id, b.id) })
	return all
}

// byAge sorts the oldest first.
func byAge(a, b id) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.pid, b.pid)) }

// Why processes that match are refused.
const (
	ownGroup    = "of its own process group or above"
	inContainer = "in containers"
	foreign     = "in containers that others made"
	firstOne    = "the first of containers"
	otherUID    = "of another real uid"
	byTitle     = "named by titles and not spelled by the limits row"
	stranger    = "of a subordinate uid in a foreign user namespace" // the row isn't about it
)

// list lists counts, without commas, which a message can't have.
func list(counts map[string]int) string {
	var parts []string
	for what, n := range counts {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, " and ")
}
