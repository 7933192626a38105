package procstat

import "stormcheck/pkg/rows"

// parents counts the parents of processes. Most rows have one or two: the first has a
// place of its own.
type parents struct {
	first int // PID
	count int64
	other map[int]int64 // by PID
}

// add counts n processes of a parent. PID 0 is none: such a process is the kernel's, or
// was put into this PID namespace from outside.
func (p *parents) add(pid int, n int64) {
	switch {
	case pid == 0:
	case p.count == 0 || p.first == pid:
		p.first = pid
		p.count += n
	default:
		if p.other == nil {
			p.other = map[int]int64{}
		}
		p.other[pid] += n
	}
}

func (p *parents) merge(q *parents) {
	p.add(q.first, q.count)
	for pid, n := range q.other {
		p.add(pid, n)
	}
}

// largest returns the most frequent parent, of several the smallest PID, and how many
// processes it has: 0 if none has a parent.
func (p *parents) largest() (pid int, count int64) {
	pid, count = p.first, p.count
	for other, n := range p.other {
		if n > count || n == count && other < pid {
			pid, count = other, n
		}
	}
	return pid, count
}

// most returns the parent column. names are the names of processes.
func (p *parents) most(names map[int]string) rows.Parentage {
	pid, count := p.largest()
	if count == 0 {
		return rows.Parentage{}
	}
	return rows.Parentage{Count: count, PID: int64(pid), Name: rows.EscapeName(names[pid])}
}
