package killstorm

import (
	"slices"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// titlesTake is how long the titles of a sweep may take. A process whose title isn't
// read by then isn't touched.
const titlesTake = 500 * time.Millisecond

// readTitles reads the titles of what the last sweep has seen, if they say which
// processes a row is about. A process that runs may have another title by the time that
// it gets a signal: so it is stopped for its title, but killed only if it has the same
// when it has stopped.
func (f *fight) readTitles() {
	for _, s := range f.storms {
		var (
			index []int
			of    []proc.Process
		)
		for i := range s.processes {
			p := &s.processes[i]
			if p.titled() && p.sweep == s.sweep && (p.stage == seen || p.stage == frozen) {
				index = append(index, i)
				of = append(of, proc.Process{PID: p.pid, Start: p.start, UID: p.uid})
			}
		}
		if len(of) > 0 {
			f.readTitlesOf(s, index, of)
		}
	}
	f.release(func(p *process) bool { return p.claim == other })
}

func (f *fight) readTitlesOf(s *storm, index []int, of []proc.Process) {
	says, empty := make([]titles.Saying, len(of)), make([]bool, len(of))
	read := make([]bool, len(of))
	f.titles.Read(f.table, of, titlesTake, func(i int, title []byte) {
		says[i] = s.processes[index[i]].comm.rules.Read(title)
		read[i], empty[i] = true, len(title) == 0
	})
	programs := map[*commRules]titles.Programs{}
	for i := range of {
		c := s.processes[index[i]].comm
		if programs[c] == nil {
			programs[c] = titles.Programs{}
		}
		programs[c][says[i].Proc]++
	}
	for c, all := range programs {
		c.stand(all)
	}
	for i := range of {
		p := &s.processes[index[i]]
		right := read[i] && says[i].User == s.named && s.naming.has(p.comm, says[i])
		switch {
		case p.sent != 0 && empty[i]:
			continue // it is about to end
		case !right:
			p.claim = other
		case p.comm.name != s.comm && !s.spelled:
			p.refuse(byTitle)
		case p.why != "":
			p.claim = refused
		default:
			p.claim = ours
		}
		p.confirmed = right && p.stage == frozen && (p.state == 'T' || p.state == 't')
	}
}

// settled reports whether all processes whose titles are read have stopped, or can't
// for now.
func (f *fight) settled() bool {
	return !slices.ContainsFunc(f.storms, func(s *storm) bool {
		return s.any(func(p *process) bool {
			return p.titled() && p.stage == frozen && !p.confirmed && p.state != 'D' && p.remains(s.sweep) && p.sweep == s.sweep
		})
	})
}

// release resumes processes that were stopped for a title that they no longer have.
func (f *fight) release(which func(*process) bool) {
	if !slices.ContainsFunc(f.storms, func(s *storm) bool { return s.any((*process).titled) }) {
		return
	}
	f.each(func(s *storm, p *process, who *proc.Identity) {
		if !p.titled() || p.stage != frozen || !which(p) {
			return
		}
		h, err := f.open(p, who)
		if err != nil {
			p.missed(err)
			return
		}
		p.got(resumeSignal, f.resume(p, h))
		h.Close()
	})
}
