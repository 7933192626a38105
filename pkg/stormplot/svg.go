package stormplot

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// An SVG is as wide as a mail shows without scrolling; a narrower page shrinks it.
const (
	svgBars   = 120
	svgWidth  = 720
	svgMargin = 20
	svgInner  = svgWidth - 2*svgMargin
	barHeight = 44
	lineStep  = 92 // from one pair to the next
)

// A paint is what a part of the drawing looks like on light and on dark ground.
type paint struct{ class, light, dark string }

var (
	ground   = paint{"ground", "#ffffff", "#16191d"}
	ink      = paint{"ink", "#1f2328", "#e6e8eb"}
	faint    = paint{"faint", "#59636e", "#9aa4af"}
	field    = paint{"field", "#f3f5f7", "#20252b"}
	grid     = paint{"grid", "#d5dae0", "#363d45"}
	hatch    = paint{"hatch", "#b3bac2", "#59636e"}
	calm     = paint{"calm", "#4f83cc", "#6ea0e6"}
	worrying = paint{"worrying", "#d18b00", "#e5a83b"}
	saving   = paint{"saving", "#c2600a", "#ef8a3c"}
	trimming = paint{"trimming", "#8b4fc2", "#b98ae8"}
	deadly   = paint{"deadly", "#c62f3b", "#f0616b"}
	paints   = []paint{ground, ink, faint, field, grid, hatch, calm, worrying, saving, trimming, deadly}
)

// paint returns what a bar looks like: as the gravest thing that happened.
func (m marks) paint() paint {
	switch m.gravest() {
	case kill, killed:
		return deadly
	case trim:
		return trimming
	case archive:
		return saving
	case alert:
		return worrying
	}
	return calm
}

// fill returns the attributes that paint a shape. A mail reader that drops styles
// shows the light ones.
func (p paint) fill() string { return `class="` + p.class + `" fill="` + p.light + `"` }

func (p paint) stroke() string { return `class="` + p.class + `-line" stroke="` + p.light + `"` }

// A canvas is an SVG in the making.
type canvas struct {
	strings.Builder
	y int // how far it is filled
}

func (c *canvas) print(format string, args ...any) { fmt.Fprintf(c, format+"\n", args...) }

// text writes one line of text; anchor is start, middle or end.
func (c *canvas) text(x float64, y int, size int, p paint, anchor, text string) {
	weight := ""
	if p == ink {
		weight = ` font-weight="600"`
	}
	c.print(`<text x="%.1f" y="%d" font-size="%d"%s text-anchor="%s" %s>%s</text>`, x, y, size, weight, anchor, p.fill(), html.EscapeString(text))
}

// rect draws a rectangle.
func (c *canvas) rect(x float64, y int, width float64, height int, attributes string) {
	c.print(`<rect x="%.1f" y="%d" width="%.1f" height="%d" %s/>`, x, y, max(width, 0.5), height, attributes)
}

// unknown draws time in which nothing ran.
func (c *canvas) unknown(x float64, y int, width float64, height int) {
	c.rect(x, y, width, height, `fill="url(#stormplot-unknown)"`)
}

// hover begins a group that shows text under the mouse.
func (c *canvas) hover(text string) { c.print(`<g><title>%s</title>`, html.EscapeString(text)) }

// target ends such a group with what the mouse finds.
func (c *canvas) target(x float64, y int, width float64, height int) {
	c.rect(x, y, width, height, `fill="none" pointer-events="all"`)
	c.print(`</g>`)
}

// finish returns the whole file.
func (c *canvas) finish(title, description string) string {
	var out canvas
	out.print(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" style="max-width:100%%;height:auto" role="img" aria-labelledby="stormplot-title stormplot-desc" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif">`,
		svgWidth, c.y, svgWidth, c.y)
	out.print(`<title id="stormplot-title">%s</title>`, html.EscapeString(title))
	out.print(`<desc id="stormplot-desc">%s</desc>`, html.EscapeString(description))
	out.print(`<style>@media (prefers-color-scheme: dark) {`)
	for _, p := range paints {
		out.print(`.%s { fill: %s } .%s-line { stroke: %s }`, p.class, p.dark, p.class, p.dark)
	}
	out.print(`}</style>`)
	out.print(`<defs><pattern id="stormplot-unknown" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" stroke-width="3" %s/></pattern></defs>`, hatch.stroke())
	out.rect(0, 0, svgWidth, c.y, ground.fill())
	return out.String() + c.String() + "</svg>\n"
}

// svg draws the chart.
func (c *chart) svg() string {
	var out canvas
	title := "Storms"
	if !c.hosts && c.host != "" {
		title += " on " + shown(c.host, false)
	}
	description := "No storms."
	if len(c.lines) > 0 {
		description = fmt.Sprintf("The worst of each account and process name, %s.", c.heading())
	} else if c.start > 0 {
		description = "No storms from " + interval(c.zone, c.start, c.end) + "."
	}
	out.text(svgMargin, 30, 17, ink, "start", title)
	out.y = 50
	if c.start > 0 {
		out.text(svgMargin, 50, 12, faint, "start", c.heading())
		out.y = 58
	}
	if len(c.lines) == 0 {
		out.y += 24
		out.text(svgMargin, out.y, 14, faint, "start", "no storms")
	}
	var seen marks
	for _, l := range c.lines {
		description += "\n" + c.name(l) + ": " + c.figures(l) + "."
		c.svgLine(&out, l)
		for _, b := range l.bars {
			seen |= b.marks.gravest() | b.marks&killed
		}
	}
	if c.unseen != nil && c.start > 0 {
		description += "\nChecks ran for " + c.share() + " of the time."
		c.svgRuns(&out)
	}
	if len(c.lines) > 0 || c.unseen != nil && c.start > 0 {
		for _, t := range c.svgTicks() {
			out.text(c.x(t.bar)+2, out.y+14, 11, faint, "start", t.text)
		}
		out.y += 14
	}
	c.svgLegend(&out, seen)
	out.y += svgMargin
	return out.finish(title, description)
}

// x returns where a bar begins.
func (c *chart) x(bar int) float64 {
	return svgMargin + float64(bar)*svgInner/float64(c.bars())
}

func (c *chart) svgTicks() []tick {
	return c.ticks(c.bars(), func(characters int) int {
		pixels := 7*characters + 14
		return (pixels*c.bars() + svgInner - 1) / svgInner
	})
}

// name returns a pair in words.
func (c *chart) name(l line) string { return c.shortName(l, math.MaxInt) }

// shortName returns a pair in words, each cut to so many columns.
func (c *chart) shortName(l line, most int) string {
	name := clip(shown(l.user, false), most) + " " + clip(shown(l.program(), false), most)
	if c.hosts {
		name += " on " + clip(shown(l.host, false), most)
	}
	return name
}

// figures returns a pair's numbers in words.
func (c *chart) figures(l line) string {
	text := "peak " + itoa(l.peak) + " at " + strings.ReplaceAll(c.moment(l.peakAt), "  ", " ")
	if l.killed > 0 {
		text += ", " + itoa(l.killed) + " killed"
	}
	if limits := l.limits.words(); limits != "" {
		text += "; limits: " + limits
	}
	return text
}

// say returns what a bar says in words.
func (c *chart) say(bar int, b bar) string {
	text := interval(c.zone, c.bounds[bar], c.bounds[bar+1]) + ": "
	switch b.kind {
	case unknown:
		return text + "unknown, no check"
	case quiet:
		return text + "none"
	}
	text += itoa(b.max)
	if words := b.marks.words(); words != "" {
		text += "; reached: " + words
	}
	if b.killed > 0 {
		text += "; killed " + itoa(b.killed)
	}
	return text
}

func (c *chart) svgLine(out *canvas, l line) {
	top := out.y + 26
	name, figures := c.name(l), c.figures(l)
	if room := (svgInner - 7*width(figures)) / 9; width(name) > room { // in pixels of usual fonts
		name = c.shortName(l, room/3-1)
	}
	out.text(svgMargin, top, 13, ink, "start", name)
	out.text(svgWidth-svgMargin, top, 12, faint, "end", figures)
	top += 8
	bottom := top + barHeight
	out.rect(svgMargin, top, svgInner, barHeight, field.fill())
	for _, t := range c.svgTicks() {
		out.print(`<path d="M%.1f %dV%d" %s/>`, c.x(t.bar), top, bottom, grid.stroke())
	}
	wide := float64(svgInner) / float64(c.bars())
	for i, b := range l.bars {
		if b.kind == quiet {
			continue
		}
		x := c.x(i)
		out.hover(c.name(l) + ", " + c.say(i, b))
		height := level(b.max, l.peak, barHeight-4)
		switch {
		case b.kind == unknown:
			out.unknown(x, top, wide, barHeight)
		case height > 0:
			out.rect(x, bottom-height, wide-min(1, wide/4), height, b.marks.paint().fill())
		}
		if b.marks&killed != 0 {
			out.print(`<path d="M%.1f %dl6 6m0 -6l-6 6" stroke-width="1.8" fill="none" %s/>`, x+wide/2-3, bottom+3, deadly.stroke())
		}
		out.target(x, top, wide, barHeight+10)
	}
	c.svgLimits(out, l, bottom)
	out.y += lineStep
}

// svgLimits draws a pair's limits over its bars.
func (c *chart) svgLimits(out *canvas, l line, bottom int) {
	for i, limit := range l.limits {
		if limit == 0 || limit > l.peak {
			continue
		}
		y := bottom - level(limit, l.peak, barHeight-4)
		out.print(`<path d="M%d %dH%d" stroke-dasharray="4 3" fill="none" %s/>`, svgMargin, y, svgWidth-svgMargin, allMarks[i].marks.paint().stroke())
	}
}

func (c *chart) svgRuns(out *canvas) {
	top := out.y + 14
	out.text(svgMargin, top, 12, faint, "start", "checks ran")
	out.text(svgWidth-svgMargin, top, 12, faint, "end", c.share()+" of the time")
	top += 6
	width := float64(svgInner) / float64(c.bars())
	out.rect(svgMargin, top, svgInner, 8, field.fill())
	for i, unseen := range c.unseen {
		if !unseen {
			continue
		}
		out.hover(c.say(i, bar{kind: unknown}))
		out.unknown(c.x(i), top, width, 8)
		out.target(c.x(i), top, width, 8)
	}
	out.y = top + 10
}

func (c *chart) svgLegend(out *canvas, seen marks) {
	x := float64(svgMargin)
	entry := func(draw func(x float64, y int), text string) {
		draw(x, out.y)
		out.text(x+15, out.y, 11, faint, "start", text)
		x += 15 + 6.5*float64(len(text)) + 16
	}
	out.y += 28
	for _, m := range allMarks {
		switch {
		case seen&m.marks == 0:
		case m.marks == killed:
			entry(func(x float64, y int) {
				out.print(`<path d="M%.1f %dl6 6m0 -6l-6 6" stroke-width="1.8" fill="none" %s/>`, x+2, y-7, deadly.stroke())
			}, "killed")
		default:
			entry(func(x float64, y int) { out.rect(x, y-9, 10, 10, m.marks.paint().fill()) }, m.word+" limit reached")
		}
	}
	if c.anyUnknown() {
		entry(func(x float64, y int) { out.unknown(x, y-9, 10, 10) }, "unknown: no check")
	}
	if x == svgMargin {
		out.y -= 28
	}
}

// clip cuts a text to so many columns.
func clip(text string, most int) string {
	if width(text) <= most {
		return text
	}
	return strings.TrimRight(pad(text, most, "…"), " ")
}

// svg draws the week.
func (w *week) svg(o Options, watched *periods) string {
	const (
		cell = 27
		high = 24
		left = svgMargin + 34
	)
	var out canvas
	title, description := "Storms by hour and weekday", "No storms."
	start, end := w.span(o)
	unknowns := w.unknown(o, watched)
	out.text(svgMargin, 30, 17, ink, "start", title)
	out.y = 50
	if w.last > 0 || !o.Since.IsZero() {
		text := interval(o.Zone, start, end)
		if w.last > 0 {
			text += ", each hour's maximum"
			description = fmt.Sprintf("%s. The highest is %d.", text, w.peak)
		}
		out.text(svgMargin, 50, 12, faint, "start", text)
		out.y = 72
	}
	for hour := range 24 {
		out.text(float64(left+hour*cell)+cell/2, out.y, 11, faint, "middle", fmt.Sprintf("%02d", hour))
	}
	out.y += 6
	isUnknown := false
	for _, day := range weekdays {
		out.text(svgMargin, out.y+16, 12, faint, "start", day.String()[:3])
		worst := hour{}
		for i, h := range w.hours[day] {
			x := float64(left + i*cell)
			text := fmt.Sprintf("%s %02d:00 to %02d:00: ", day, i, i+1)
			switch {
			case h.rows > 0:
				text += fmt.Sprintf("%d at %s", h.max, time.Unix(h.at, 0).In(o.Zone).Format("2006-01-02 15:04"))
				if h.killed > 0 {
					text += fmt.Sprintf("; killed %d", h.killed)
				}
			case unknowns != nil && unknowns[day][i]:
				text += "unknown, no check"
			default:
				text += "none"
			}
			out.hover(text)
			out.rect(x, out.y, cell-2, high-2, field.fill())
			switch {
			case h.rows > 0:
				out.rect(x, out.y, cell-2, high-2, fmt.Sprintf(`fill-opacity="%.2f" %s`, 0.1+0.08*float64(level(h.max, w.peak, eighths)), deadly.fill()))
				if h.max < 10000 {
					out.text(x+cell/2-1, out.y+15, 9, ink, "middle", itoa(h.max))
				}
				if worst.rows == 0 || h.max > worst.max {
					worst = h
				}
			case unknowns != nil && unknowns[day][i]:
				isUnknown = true
				out.unknown(x, out.y, cell-2, high-2)
			}
			out.target(x, out.y, cell-2, high-2)
		}
		if worst.rows > 0 {
			description += fmt.Sprintf("\n%s: %d at %s.", day, worst.max, time.Unix(worst.at, 0).In(o.Zone).Format("2006-01-02 15:04"))
		}
		out.y += high
	}
	if isUnknown {
		out.y += 22
		out.unknown(svgMargin, out.y-9, 10, 10)
		out.text(svgMargin+15, out.y, 11, faint, "start", "unknown: no check")
	}
	out.y += svgMargin
	return out.finish(title, description)
}
