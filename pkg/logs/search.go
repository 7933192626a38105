package logs

import (
	"errors"
	"time"
)

// Bounds of a search.
const (
	mostSearched = 64 << 20 // bytes of a log with its neighbour
	searchTime   = 2 * time.Second
	searchBlock  = 256 << 10 // bytes read at once
	longestLine  = 1 << 20
)

// A search is one through one log.
type search struct {
	wanted []*wanted // as many as subjects; nil for one about which nothing is wanted
	from   time.Time // older lines are of no interest
	now    time.Time
	until  time.Time // when it must be over
	left   int64     // bytes that may still be read
	timed  bool      // a line has a known time
}

// newSearch returns a search for what is wanted about the subjects beyond what other
// logs have given.
func newSearch(subjects []Subject, have [][]string, now time.Time, window time.Duration) *search {
	s := &search{from: now.Add(-window).Truncate(time.Second), now: now, until: time.Now().Add(searchTime), left: mostSearched}
	for i, subject := range subjects {
		var w *wanted
		if subject.User != "" && len(have[i]) <= mostExcerpt {
			w = want(subject)
		}
		s.wanted = append(s.wanted, w)
	}
	return s
}

// open returns those of which more is wanted.
func (s *search) open() (open []*wanted) {
	for _, w := range s.wanted {
		if w != nil && !w.full() {
			open = append(open, w)
		}
	}
	return open
}

var (
	// errBound is the error of a search that a bound has ended.
	errBound = errors.New("not searched to its end")
	// errUntimed is that of a log in which no line has a time that stamp knows.
	errUntimed = errors.New("no line has a known time")
)
