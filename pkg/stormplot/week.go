package stormplot

import (
	"fmt"
	"strings"
	"time"
)

// A week is the maximum of each hour of each weekday, in local time, over all rows.
type week struct {
	hours       [7][24]hour // from Sunday on
	first, last int64       // seconds since 1970
	peak        uint32
}

// An hour is what is known of one hour of one weekday.
type hour struct {
	rows   int64
	max    uint32
	at     int64 // when it was the maximum, seconds since 1970
	killed int64
}

// add takes an observation whose time is t.
func (w *week) add(t time.Time, o observation) {
	if w.last == 0 {
		w.first, w.last = o.at, o.at
	}
	w.first, w.last = min(w.first, o.at), max(w.last, o.at)
	w.peak = max(w.peak, o.count)
	h := &w.hours[t.Weekday()][t.Hour()]
	if h.rows++; o.count > h.max || h.rows == 1 || o.count == h.max && o.at < h.at {
		h.max, h.at = o.count, o.at
	}
	h.killed += int64(o.killed)
}

// weekdays are the days from Monday on.
var weekdays = [...]time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday, time.Saturday, time.Sunday}

// span returns the time that the rows or, if it is known, the drawing spans.
func (w *week) span(o Options) (start, end int64) {
	if o.Since.IsZero() {
		return w.first, w.last + 1
	}
	return o.Since.Unix(), max(o.Now.Unix(), w.last+1)
}

// unknown returns the hours in which checks never ran: nil if that isn't known.
func (w *week) unknown(o Options, watched *periods) *[7][24]bool {
	if watched == nil {
		return nil
	}
	unknown := [7][24]bool{}
	for day := range unknown {
		for hour := range unknown[day] {
			unknown[day][hour] = w.hours[day][hour].rows == 0
		}
	}
	start, end := w.span(o)
	for _, run := range watched.all {
		from, until := max(start, run.from), min(end, run.until)
		until = min(until, from+8*86400) // a week has all hours
		for at := from; at < until; at += 900 {
			t := time.Unix(at, 0).In(o.Zone)
			unknown[t.Weekday()][t.Hour()] = false
		}
	}
	return &unknown
}

// text draws the week for a terminal.
func (w *week) text(o Options, watched *periods) string {
	var out strings.Builder
	pen, unknown := o.pen(), w.unknown(o, watched)
	start, end := w.span(o)
	if w.last == 0 {
		if o.Since.IsZero() {
			return "no storms\n"
		}
		out.WriteString(interval(o.Zone, start, end) + "\nno storms\n")
		if unknown == nil {
			return out.String()
		}
	} else {
		fmt.Fprintf(&out, "%s, each hour's maximum; the highest is %d\n", interval(o.Zone, start, end), w.peak)
	}
	isUnknown := false
	for _, day := range weekdays {
		var line strings.Builder
		worst := hour{}
		for i, h := range w.hours[day] {
			cell := pen.levels[level(h.max, w.peak, eighths)]
			if unknown != nil && unknown[day][i] {
				cell, isUnknown = pen.unknown, true
			}
			line.WriteString(cell + cell)
			if h.rows > 0 && (worst.rows == 0 || h.max > worst.max) {
				worst = h
			}
		}
		figures := ""
		if worst.rows > 0 {
			figures = fmt.Sprintf("  %d at %s", worst.max, time.Unix(worst.at, 0).In(o.Zone).Format("15:04, Jan 2"))
		}
		out.WriteString(strings.TrimRight(day.String()[:3]+" "+line.String()+figures, " ") + "\n")
	}
	out.WriteString("   ")
	for hour := 0; hour < 24; hour += 6 {
		fmt.Fprintf(&out, " %s%-10s", pen.tick, fmt.Sprintf("%02d:00", hour))
	}
	text := strings.TrimRight(out.String(), " ") + "\n"
	if isUnknown {
		text += pen.unknown + " unknown: no check\n"
	}
	return text
}
