package stormplot

import (
	"sort"
	"time"
)

// A span is the length of a bar, or the distance between marks on the axis. Only one of
// minutes, hours and days is set: an hour has sixty minutes, but a day may have 23 hours.
type span struct{ minutes, hours, days int }

// String returns the span in words.
func (s span) String() string {
	switch {
	case s.minutes == 1:
		return "1 minute"
	case s.minutes > 0:
		return itoa(s.minutes) + " minutes"
	case s.hours == 1:
		return "1 hour"
	case s.hours > 0:
		return itoa(s.hours) + " hours"
	case s.days == 1:
		return "1 day"
	}
	return itoa(s.days) + " days"
}

// seconds returns how long the span mostly is.
func (s span) seconds() int64 {
	return int64(s.minutes)*60 + int64(s.hours)*3600 + int64(s.days)*86400
}

// spans are what bars and axes are made of, from short to long.
var spans = func() []span {
	all := []span{
		{minutes: 1}, {minutes: 2}, {minutes: 5}, {minutes: 10}, {minutes: 15}, {minutes: 20}, {minutes: 30},
		{hours: 1}, {hours: 2}, {hours: 3}, {hours: 4}, {hours: 6}, {hours: 8}, {hours: 12}, {days: 1}, {days: 2}, {days: 7},
	}
	for days := 14; days < 1<<16; days *= 2 {
		all = append(all, span{days: days})
	}
	return all
}()

// An axis is where time begins and ends, and the bounds between bars.
type axis struct {
	zone       *time.Location
	start, end int64   // seconds since 1970; end is not part of it
	each       span    // what lies between bounds, but where the clock is set
	bounds     []int64 // of the bars: one more than there are bars
}

// newAxis makes an axis of at most so many bars, each of whole steps.
func newAxis(zone *time.Location, start, end, phase, step int64, bars int) axis {
	end = max(end, start+1)
	for _, s := range spans {
		if s.seconds()%step != 0 {
			continue
		}
		if bounds := s.bounds(zone, start, end, phase, bars+1); bounds != nil {
			return axis{zone, start, end, s, bounds}
		}
	}
	return axis{zone, start, end, spans[len(spans)-1], []int64{start, end}}
}

// bounds returns moments that are a span apart, from start or the last before it to
// end or the first after it; nil for more than most.
func (s span) bounds(zone *time.Location, start, end, phase int64, most int) (bounds []int64) {
	if (end-start)/s.seconds() > int64(most) {
		return nil
	}
	add := func(at int64) bool { // reports whether more are needed
		switch {
		case at <= start:
			bounds = append(bounds[:0], at)
		case at > bounds[len(bounds)-1]: // not where the clock is set back
			bounds = append(bounds, at)
		}
		return at < end
	}
	if s.minutes > 0 || s.hours == 1 {
		length := s.seconds()
		for at := (start+phase)/length*length - phase; add(at); at += length {
		}
	} else {
		s.calendar(zone, start, add)
	}
	if len(bounds) > most {
		return nil
	}
	return bounds
}

// calendar calls add with moments that a clock on the wall says, days or parts of days
// apart, from the day before start on, until add returns false.
func (s span) calendar(zone *time.Location, start int64, add func(int64) bool) {
	year, month, day := time.Unix(start, 0).In(zone).Date()
	if s.days > 1 { // weeks begin on Monday
		date := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400
		monday := int64(4) // January 5, 1970
		day -= int((date - monday) % int64(s.days))
		if date < monday {
			day -= s.days
		}
	}
	for day -= max(s.days, 1); ; day += max(s.days, 1) {
		for hour := 0; hour < 24; hour += s.hours {
			if !add(time.Date(year, month, day, hour, 0, 0, 0, zone).Unix()) {
				return
			}
			if s.hours == 0 {
				break
			}
		}
	}
}

// bars returns how many bars the axis has.
func (a axis) bars() int { return len(a.bounds) - 1 }

// at returns the bar of a moment that lies on the axis.
func (a axis) at(moment int64) int {
	n := sort.Search(len(a.bounds), func(i int) bool { return a.bounds[i] > moment }) - 1
	return min(max(n, 0), a.bars()-1)
}

// clip returns a bar's part of the axis: the first and last bars may reach beyond it.
func (a axis) clip(bar int) (from, until int64) {
	return max(a.bounds[bar], a.start), min(a.bounds[bar+1], a.end)
}

// A tick is a time written below the axis.
type tick struct {
	bar  int
	text string
}

// ticks returns the times below the axis, whose labels begin at their bars. columns says
// how many bars a label of so many characters takes, with the space after it, and room how
// many there are.
func (a axis) ticks(room int, columns func(characters int) int) (ticks []tick) {
	for _, s := range spans {
		if s.seconds()%a.each.seconds() != 0 {
			continue
		}
		ticks = a.ticksEach(s)
		apart := true
		for i := range ticks[:max(len(ticks)-1, 0)] {
			apart = apart && ticks[i+1].bar-ticks[i].bar >= columns(len(ticks[i].text))
		}
		if apart {
			break
		}
	}
	first := a.label(a.bounds[0])
	if len(ticks) == 0 || ticks[0].bar >= columns(len(first)) {
		ticks = append([]tick{{0, first}}, ticks...)
	}
	if last := ticks[len(ticks)-1]; len(ticks) > 1 && last.bar+columns(len(last.text)) > room {
		ticks = ticks[:len(ticks)-1]
	}
	return ticks
}

func (a axis) ticksEach(s span) (ticks []tick) {
	_, offset := time.Unix(a.start, 0).In(a.zone).Zone()
	phase := int64((offset%3600 + 3600) % 3600)
	for _, at := range s.bounds(a.zone, a.bounds[0], a.end, phase, 1000) {
		if at >= a.bounds[0] && at < a.end {
			ticks = append(ticks, tick{a.at(at), a.label(at)})
		}
	}
	return ticks
}

// label returns a moment as it stands below the axis: the date at midnight, else the
// time.
func (a axis) label(at int64) string {
	t := time.Unix(at, 0).In(a.zone)
	if hour, minute, _ := t.Clock(); hour != 0 || minute != 0 {
		return t.Format("15:04")
	}
	switch days := (a.end - a.start) / 86400; {
	case days < 1:
		return "00:00"
	case days < 300:
		return t.Format("Jan 2")
	}
	return t.Format("2006-01-02")
}

// moment returns when something happened, as short as the axis allows.
func (a axis) moment(at int64) string {
	t := time.Unix(at, 0).In(a.zone)
	switch days := (a.end - a.start) / 86400; {
	case days < 1:
		return t.Format("15:04")
	case days < 300:
		return t.Format("Jan _2 15:04")
	}
	return t.Format("2006-01-02 15:04")
}
