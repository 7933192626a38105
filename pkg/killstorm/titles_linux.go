package killstorm

import (
	"slices"
	"time"

	"stormcheck/pkg/proc"
)

// titlesTake is how long the titles of a sweep may take. A process whose title isn't
// read by then isn't touched.
const titlesTake = 500 * time.Millisecond

// titled reports whether the row is about some processes only, by their titles.
func (t *target) titled() bool { return len(t.rules) > 0 }

// readTitles reads the titles of what the last sweep has seen, for rows that are about
// some processes only. A process that runs may have another title by the time that it
// gets a signal: so it is stopped for its title, but killed only if it has the same
// when it has stopped.
func (f *fight) readTitles() {
	for _, s := range f.storms {
		if !s.titled() {
			continue
		}
		var (
			index []int
			of    []proc.Process
		)
		for i := range s.processes {
			p := &s.processes[i]
			if p.sweep == s.sweep && (p.stage == seen || p.stage == frozen) && p.claim != spared {
				index = append(index, i)
				of = append(of, proc.Process{PID: p.pid, Start: p.start, UID: s.user.UID})
			}
		}
		right, empty := make([]bool, len(of)), make([]bool, len(of))
		f.titles.Read(f.table, of, titlesTake, func(i int, title []byte) {
			right[i], empty[i] = s.rules.User(title) == s.named, len(title) == 0
		})
		for i := range of {
			p := &s.processes[index[i]]
			switch {
			case p.sent != 0 && empty[i]:
				continue // it is about to end
			case !right[i]:
				p.claim = other
			case p.why != "":
				p.claim = refused
			default:
				p.claim = ours
			}
			p.confirmed = right[i] && p.stage == frozen && (p.state == 'T' || p.state == 't')
		}
	}
	f.release(func(p *process) bool { return p.claim == other })
}

// settled reports whether all processes whose titles are read have stopped, or can't
// for now.
func (f *fight) settled() bool {
	return !slices.ContainsFunc(f.storms, func(s *storm) bool {
		return s.titled() && s.any(func(p *process) bool {
			return p.stage == frozen && !p.confirmed && p.state != 'D' && p.remains(s.sweep) && p.sweep == s.sweep
		})
	})
}

// release resumes processes that were stopped for titles that they had then.
func (f *fight) release(which func(*process) bool) {
	if !slices.ContainsFunc(f.storms, func(s *storm) bool { return s.titled() }) {
		return
	}
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if !s.titled() || p.stage != frozen || !which(p) {
			return
		}
		h, err := f.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		p.got(resumeSignal, h.Signal(resumeSignal))
		h.Close()
	})
}
