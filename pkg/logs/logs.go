// Package logs finds lines about a user and a program in log files and in the journal of
// systemd.
//
// Each file uses only those after it: logs, file, journal, search, wanted, stamp.
package logs

import (
	"errors"
	"fmt"
	"time"
)

// Excerpts returns for each subject the last lines about it that are no older than the
// window, below the name of their source: a log file's path, or "journal". What goes
// wrong with a source stands in the place of its lines, and is reported.
func Excerpts(sources []string, subjects []Subject, now time.Time, window time.Duration, report func(error)) [][]string {
	all := make([][]string, len(subjects))
	for _, source := range sources {
		s := newSearch(subjects, all, now, window)
		if len(s.open()) == 0 {
			continue
		}
		ended, err := within(searchTime+2*time.Second, func() error { return s.in(source) })
		found := s.wanted
		if !ended { // it may still be at work on those
			err = fmt.Errorf("%s: doesn't answer", source)
			found = newSearch(subjects, all, now, window).wanted
		}
		if err != nil && !errors.Is(err, errBound) && !errors.Is(err, errUntimed) {
			report(err)
		}
		for i, w := range found {
			all[i] = append(all[i], w.excerpt(source, err)...)
			if w != nil && errors.Is(err, errUntimed) {
				break // once is enough
			}
		}
	}
	return all
}

// within runs f and reports whether it ended in time. One that didn't is left alone:
// no signal ends a process, or wakes a read, that waits for a sick disk.
func within(limit time.Duration, f func() error) (ended bool, err error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-done:
		return true, err
	case <-late.C:
		return false, nil
	}
}

// in searches a source: a file by its path, or the journal.
func (s *search) in(source string) error {
	if source == "journal" {
		return s.journal()
	}
	return s.file(source)
}
