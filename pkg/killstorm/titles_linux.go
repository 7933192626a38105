package killstorm

import (
	"slices"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
)

// titlesTake is how long the titles of a sweep may take. Whose isn't read by then
// isn't touched.
const titlesTake = 500 * time.Millisecond

// readTitles reads what those say of themselves whom the last sweep has seen, where a
// row is only about some of them. One that runs may say something else by the time
// that it gets a signal: so it is stopped on its word, but killed only when it says the
// same when it has stopped.
func (b *battle) readTitles() {
	for _, s := range b.storms {
		if s.rules == nil {
			continue
		}
		var (
			index []int
			of    []proc.Process
		)
		for i := range s.processes {
			if p := &s.processes[i]; p.seen == b.sweeps && !p.gone && !p.killed {
				index = append(index, i)
				of = append(of, proc.Process{PID: p.pid, Start: p.start, UID: s.user.UID})
			}
		}
		right, empty := make([]bool, len(of)), make([]bool, len(of))
		b.titles.Read(b.table, of, titlesTake, func(i int, title []byte) {
			right[i], empty[i] = s.rules.User(title) == s.named, len(title) == 0
		})
		for i := range of {
			p := &s.processes[index[i]]
			if p.signalled && empty[i] {
				continue // it is about to end
			}
			p.other = !right[i]
			p.sure = right[i] && p.stopped && (p.state == 'T' || p.state == 't')
		}
	}
	b.release(func(p *process) bool { return p.other })
}

// settled reports whether all of whom titles are read have stopped, or can't for now.
func (b *battle) settled() bool {
	for _, s := range b.storms {
		for i := range s.processes {
			p := &s.processes[i]
			if s.rules != nil && p.stopped && !p.sure && p.state != 'D' && p.remains(b.sweeps) && p.seen == b.sweeps {
				return false
			}
		}
	}
	return true
}

// release lets those go on that were stopped for what they said then.
func (b *battle) release(which func(*process) bool) {
	if !slices.ContainsFunc(b.storms, func(s *storm) bool { return s.rules != nil }) {
		return
	}
	b.each(func(s *storm, p *process, who *proc.Identity) {
		if s.rules == nil || !p.stopped || p.gone || !which(p) {
			return
		}
		h, err := b.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		p.sent(syscall.SIGCONT, h.Signal(syscall.SIGCONT))
		h.Close()
	})
}
