package alertmail

import (
	"time"
)

// Bounds of a message, in bytes. RFC 5322, 2.1.1, allows lines of 998.
const (
	width   = 74       // what the heading is centred in
	maxLine = 880      // a line without its indent
	maxText = 62 << 10 // all but what stands at the end
)

// maxSummary is how long a summary is, in columns of a terminal.
const maxSummary = 78

// indent is the indent of all lines about a row.
const indent = "        "

// A layout is how text about topics looks. It shows times in the zone of now, the first
// with that zone.
type layout struct {
	now       time.Time
	ascii     bool  // the text goes where nothing else can be shown
	overAfter int64 // whole runs without a topic, and it is over
	zoned     bool  // a time with the zone has been shown
}

// show returns the time, with the date if it is of another day.
func (l *layout) show(t time.Time) string {
	text := shortTime(t, l.now)
	if !l.zoned {
		l.zoned = true
		text += t.In(l.now.Location()).Format(" -0700")
	}
	return text
}

// shortTime returns when t was, without the zone of now.
func shortTime(t, now time.Time) string {
	t = t.In(now.Location())
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("Jan _2 15:04")
	}
	return t.Format("15:04")
}
