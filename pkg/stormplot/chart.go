package stormplot

import (
	"fmt"
	"strings"
	"time"
)

// A chart is a history made ready to be drawn.
type chart struct {
	axis
	lines   []line
	hosts   bool   // there are several
	host    string // the only one
	unseen  []bool // bars in part of which nothing ran; nil if that isn't known
	watched int64  // seconds in which checks ran
	killed  bool   // something was
}

// A line is one pair's part of a chart.
type line struct {
	*series
	bars []bar
}

// A bar is one pair's state in a piece of time.
type bar struct {
	kind
	max    uint32
	killed uint32
	marks  marks
}

// kind is what a bar says.
type kind uint8

const (
	quiet   kind = iota // no row
	storm               // the maximum is known
	unknown             // nothing ran, or rows are missing
)

// newChart makes a chart of at most so many bars.
func newChart(o Options, h *history, watched *periods, bars int) *chart {
	start, end := h.first, h.last+1
	if !o.Since.IsZero() {
		start, end = o.Since.Unix(), max(o.Now.Unix(), end)
	}
	c := &chart{axis: newAxis(o.Zone, start, end, h.phase, h.step, bars)}
	ranked := h.ranked()
	ranked = ranked[:min(len(ranked), o.Top)]
	for _, s := range ranked {
		c.hosts = c.hosts || s.host != ranked[0].host
		c.host = s.host
		c.killed = c.killed || s.killed > 0
		h.tidy(s)
	}
	if watched != nil {
		c.watch(watched)
	}
	for _, s := range ranked {
		c.lines = append(c.lines, c.line(h, s))
	}
	return c
}

// watch finds the bars in which nothing ran for a while.
func (c *chart) watch(watched *periods) {
	c.unseen = make([]bool, c.bars())
	for i := range c.unseen {
		c.unseen[i] = !watched.cover(c.clip(i))
	}
	c.watched = watched.seconds(c.start, c.end)
}

func (c *chart) line(h *history, s *series) line {
	l := line{s, make([]bar, c.bars())}
	for i := range l.bars {
		if c.unseen != nil && c.unseen[i] {
			l.bars[i].kind = unknown
		}
	}
	if gaps := h.gaps[s.host]; gaps != nil {
		for _, p := range gaps.samples {
			l.bars[c.at(h.start(p))].kind = unknown
		}
	}
	for _, p := range s.samples {
		b := &l.bars[c.at(h.start(p))]
		b.kind = storm
		b.max = max(b.max, p.max)
		b.killed += p.killed
		b.marks |= p.marks
	}
	return l
}

// heading says when the drawing is of, and how long a bar is.
func (c *chart) heading() string {
	return interval(c.zone, c.start, c.end) + ", a bar is the maximum of " + c.each.String()
}

// interval returns a piece of time with its zone, or both of its zones.
func interval(zone *time.Location, start, end int64) string {
	from, until := time.Unix(start, 0).In(zone), time.Unix(end, 0).In(zone)
	text := from.Format("2006-01-02 15:04")
	if from.Format("MST") != until.Format("MST") {
		text += from.Format(" MST")
	}
	if layout := "2006-01-02 15:04 MST"; from.Format(time.DateOnly) != until.Format(time.DateOnly) {
		return text + until.Format(" to "+layout)
	}
	return text + until.Format(" to 15:04 MST")
}

// share returns how much of the time checks ran, as a percentage that says 100 only
// if it is all.
func (c *chart) share() string {
	return fmt.Sprintf("%d%%", min(c.watched*100/(c.end-c.start), 100))
}

// words names all marks of a bar.
func (m marks) words() string {
	var words []string
	for _, a := range allMarks {
		if m&a.marks != 0 && a.action != "" {
			words = append(words, a.word)
		}
	}
	return strings.Join(words, ", ")
}

// words names all limits that are set.
func (l limits) words() string {
	var words []string
	for i, limit := range l {
		if limit > 0 {
			words = append(words, allMarks[i].word+" "+itoa(limit))
		}
	}
	return strings.Join(words, ", ")
}

// gravest returns the last of the marks that a drawing names, 0 if there is none.
func (m marks) gravest() (gravest marks) {
	for _, a := range allMarks {
		if m&a.marks != 0 {
			gravest = a.marks
		}
	}
	return gravest
}
