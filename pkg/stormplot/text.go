package stormplot

import (
	"fmt"
	"strings"
)

// A pen is the characters of a text.
type pen struct {
	levels  []string // from nothing to the whole height
	unknown string
	cut     string
	limit   string
	tick    string
	watched string
}

var (
	blocks = pen{strings.Split(" ▁▂▃▄▅▆▇█", ""), "░", "…", "┄", "└", "─"}
	ascii  = pen{strings.Split(" .:-=+*%#", ""), "?", "~", "-", "|", "_"}
)

func (o Options) pen() pen {
	if o.ASCII {
		return ascii
	}
	return blocks
}

const (
	leastBars = 8   // however narrow the terminal
	mostBars  = 400 // however wide
	tall      = 8   // lines of a pair that is drawn alone
	eighths   = 8   // of a character's height that a bar can have
)

// A sheet is a chart as text.
type sheet struct {
	*chart
	pen
	Options
	names  [3]int                         // columns of user, process and host; 0 for none
	left   int                            // columns before the bars
	wide   int                            // columns of a bar
	beside struct{ peak, at, killed int } // columns of the figures, with the blank before each
	out    strings.Builder
}

// newSheet makes the sheet for a history. How wide the bars may be depends on the
// figures beside them, and how the figures look on the axis.
func newSheet(o Options, h *history, watched *periods) *sheet {
	s := &sheet{pen: o.pen(), Options: o, chart: newChart(o, h, watched, mostBars)}
	s.measure()
	room := o.Width - s.left - s.beside.peak - s.beside.at - s.beside.killed
	room = min(max(room, leastBars), mostBars)
	s.chart = newChart(o, h, watched, room)
	s.wide = room / s.chart.bars()
	return s
}

// measure finds the widths of all columns but the bars.
func (s *sheet) measure() {
	var longest [3]int
	s.beside.peak, s.beside.at = len(" peak"), 1+len("at")
	for _, l := range s.lines {
		for i, cell := range s.cells(l) {
			longest[i] = max(longest[i], width(cell))
		}
		s.beside.peak = max(s.beside.peak, 1+len(itoa(l.peak)))
		s.beside.at = max(s.beside.at, 1+len(s.moment(l.peakAt)))
		if s.killed {
			s.beside.killed = max(s.beside.killed, len(" killed"), 1+len(itoa(l.killed)))
		}
	}
	if s.unseen != nil {
		longest[0] = max(longest[0], len("runs"))
	}
	for i, most := range [...]int{s.Width / 5, s.Width / 5, s.Width / 8} {
		s.names[i] = min(longest[i], max(most, 4))
		if s.names[i] > 0 {
			s.left += s.names[i] + 1
		}
	}
}

// cells returns user, process and, if there are several, host of a line.
func (s *sheet) cells(l line) [3]string {
	cells := [3]string{shown(l.user, s.ASCII), shown(l.program(), s.ASCII)}
	if s.hosts {
		cells[2] = shown(l.host, s.ASCII)
	}
	return cells
}

// label returns user, process and host in their columns.
func (s *sheet) label(cells [3]string) (text string) {
	for i, cell := range cells {
		if s.names[i] > 0 {
			text += pad(cell, s.names[i], s.cut) + " "
		}
	}
	return text
}

// print writes one line of text, without blanks at its end.
func (s *sheet) print(format string, args ...any) {
	s.out.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// text returns the drawing.
func (s *sheet) text() string {
	if len(s.lines) == 0 && s.start == 0 {
		s.print("no storms")
		return s.out.String()
	}
	s.print("%s", s.heading())
	if len(s.lines) == 0 {
		s.print("no storms")
	} else {
		s.printHeader()
	}
	var seen marks
	for _, l := range s.lines {
		s.printLine(l)
		for _, b := range l.bars {
			seen |= b.marks.gravest()
		}
	}
	if s.unseen != nil {
		s.printRuns()
	}
	s.printAxis()
	s.printLegend(seen)
	return s.out.String()
}

func (s *sheet) printHeader() {
	host := ""
	if !s.hosts {
		host = pad(shown(s.host, s.ASCII), min(width(shown(s.host, s.ASCII)), s.left+s.wide*s.chart.bars()-1), s.cut)
	}
	dead := ""
	if s.killed {
		dead = fmt.Sprintf("%*s", s.beside.killed, "killed")
	}
	s.print("%s%*s%*s%s", pad(host, s.left+s.wide*s.chart.bars(), s.cut), s.beside.peak, "peak", s.beside.at, "at", dead)
}

// printLine draws one pair: its bars, and below them what happened. A pair that is
// drawn alone has room for its limits.
func (s *sheet) printLine(l line) {
	height := 1
	if len(s.lines) == 1 {
		height = tall
	}
	for row := height - 1; row > 0; row-- {
		text, name := s.row(l, row, height)
		s.print("%*s%s %s", s.left, "", text, name)
	}
	text, _ := s.row(l, 0, height)
	dead := ""
	if s.killed {
		dead = fmt.Sprintf("%*d", s.beside.killed, l.killed)
	}
	s.print("%s%s%*d%*s%s", s.label(s.cells(l)), text, s.beside.peak, l.peak, s.beside.at, s.moment(l.peakAt), dead)
	letters := strings.Builder{}
	for _, b := range l.bars {
		fmt.Fprintf(&letters, "%-*c", s.wide, b.marks.letter())
	}
	if strings.TrimSpace(letters.String()) != "" {
		s.print("%*s%s", s.left, "", letters.String())
	}
}

// row returns the bars of one line of text, from 0 at the bottom, and the name of the
// limit that lies in it.
func (s *sheet) row(l line, row, height int) (text, name string) {
	blank := s.levels[0]
	for i, limit := range l.limits {
		if limit > 0 && height > 1 && level(limit, l.peak, height*eighths) > row*eighths && level(limit, l.peak, height*eighths) <= (row+1)*eighths {
			name = strings.TrimPrefix(name+", "+allMarks[i].word+" "+itoa(limit), ", ")
			blank = s.limit
		}
	}
	var out strings.Builder
	for _, b := range l.bars {
		switch full := min(max(level(b.max, l.peak, height*eighths)-row*eighths, 0), eighths); {
		case b.kind == unknown:
			out.WriteString(strings.Repeat(s.pen.unknown, s.wide))
		case full == 0:
			out.WriteString(strings.Repeat(blank, s.wide))
		default:
			out.WriteString(strings.Repeat(s.levels[full], s.wide))
		}
	}
	return out.String(), name
}

// level returns how high n stands if peak stands so high: never 0 for what isn't 0.
func level(n, peak uint32, height int) int {
	if peak == 0 {
		return 0
	}
	return int((uint64(n)*uint64(height) + uint64(peak) - 1) / uint64(peak))
}

// letter returns the letter of the gravest mark.
func (m marks) letter() byte {
	for _, a := range allMarks {
		if m.gravest() == a.marks {
			return a.letter
		}
	}
	return ' '
}

// printRuns shows when checks ran.
func (s *sheet) printRuns() {
	text := strings.Builder{}
	for _, unseen := range s.unseen {
		if unseen {
			text.WriteString(strings.Repeat(s.pen.unknown, s.wide))
		} else {
			text.WriteString(strings.Repeat(s.pen.watched, s.wide))
		}
	}
	s.print("%s%s%*s", pad("runs", s.left, s.cut), text.String(), s.beside.peak, s.share())
}

func (s *sheet) printAxis() {
	text, at := strings.Builder{}, 0
	for _, t := range s.ticks((s.Width-s.left)/s.wide+1, func(characters int) int { return (characters + 2 + s.wide - 1) / s.wide }) {
		label := s.tick + t.text
		text.WriteString(strings.Repeat(" ", max(t.bar*s.wide-at, 0)) + label)
		at = t.bar*s.wide + width(label)
	}
	s.print("%*s%s", s.left, "", text.String())
}

// printLegend explains what was drawn.
func (s *sheet) printLegend(all marks) {
	var due, other []string
	for _, m := range allMarks {
		if all&m.marks == 0 {
			continue
		}
		if words := string(m.letter) + " " + m.word; m.action != "" {
			due = append(due, words)
		} else {
			other = append(other, words)
		}
	}
	if len(due) > 0 {
		other = append([]string{strings.Join(due, ", ") + ": limit reached"}, other...)
	}
	if s.anyUnknown() {
		other = append(other, s.pen.unknown+" unknown: no check")
	}
	if len(other) > 0 {
		s.print("%s", strings.Join(other, "; "))
	}
}

// anyUnknown reports whether a bar of the chart is unknown.
func (c *chart) anyUnknown() bool {
	for _, unseen := range c.unseen {
		if unseen {
			return true
		}
	}
	for _, l := range c.lines {
		for _, b := range l.bars {
			if b.kind == unknown {
				return true
			}
		}
	}
	return false
}
