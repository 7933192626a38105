package alertmail

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// mostSamples is how many bars a storm has.
const mostSamples = 60

// samples are the counts of a storm in its last snapshots.
type samples []sample

type sample struct {
	at    uint32 // seconds since 1970
	count uint32
}

// add adds a snapshot. A count of 0 says that the storm wasn't there.
func (s *samples) add(at time.Time, count int64) {
	if len(*s) == mostSamples {
		copy(*s, (*s)[1:])
		*s = (*s)[:mostSamples-1]
	}
	*s = append(*s, sample{uint32(at.Unix()), uint32(count)})
}

// bars shows a bar for each snapshot, between the times of the first and the last,
// nothing for a storm that was seen less than three times.
func (s samples) bars(l *layout) string {
	heights := []rune("▁▂▃▄▅▆▇█")
	if l.ascii {
		heights = []rune("_.-=+*#@")
	}
	for len(s) > 0 && s[len(s)-1].count == 0 { // it is over
		s = s[:len(s)-1]
	}
	seen, most := 0, uint32(1)
	for _, one := range s {
		if most = max(most, one.count); one.count > 0 {
			seen++
		}
	}
	if seen < 3 {
		return ""
	}
	var bars strings.Builder
	for _, one := range s {
		bar := ' '
		if one.count > 0 {
			bar = heights[uint64(one.count)*uint64(len(heights)-1)/uint64(most)]
		}
		bars.WriteRune(bar)
	}
	at := func(one sample) string { return l.show(time.Unix(int64(one.at), 0)) }
	return fmt.Sprintf("%s %s %s", at(s[0]), &bars, at(s[len(s)-1]))
}

// String returns the samples as TIME:COUNT, separated by blanks.
func (s *samples) String() string {
	var b strings.Builder
	for i, one := range *s {
		fmt.Fprintf(&b, "%s%d:%d", " "[:min(i, 1)], one.at, one.count)
	}
	return b.String()
}

// Set reads what String returns.
func (s *samples) Set(text string) error {
	*s = nil
	for _, word := range strings.Fields(text) {
		at, count, _ := strings.Cut(word, ":")
		seconds, err := strconv.ParseUint(at, 10, 32)
		n, err2 := strconv.ParseUint(count, 10, 32)
		if err != nil || err2 != nil {
			return fmt.Errorf("%q is no count", rows.Clip(word, 80))
		}
		s.add(time.Unix(int64(seconds), 0), int64(n))
	}
	return nil
}
