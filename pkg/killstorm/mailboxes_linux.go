package killstorm

import (
	"fmt"
	"slices"
	"time"

	"stormcheck/pkg/filter"
)

// lock locks the mailboxes of all storms, and notes in their rows which it couldn't in
// time. It tries for all at once: none waits for another's.
func (f *fight) lock() {
	if len(f.Hold) == 0 {
		return
	}
	end := time.Now().Add(f.HoldTimeout)
	if f.deadline.Before(end) {
		end = f.deadline
	}
	if now := time.Now(); end.Before(now) {
		end = now
	}
	f.locked = f.storms
	for _, s := range f.locked {
		s.boxes = &boxes{}
	}
	f.forAll(end, "mailbox not locked (no answer)", func(s *storm) []error { return s.boxes.lock(f.Hold, s.user, end) })
}

// unlock unlocks the mailboxes of all storms, and notes which were unlocked early.
func (f *fight) unlock() {
	for _, s := range f.locked {
		if s.boxes == nil {
			continue
		}
		s.boxes.unlock()
		s.boxes.mutex.Lock()
		if s.boxes.early {
			s.boxes.early = false
			s.notes = append(s.notes, filter.Note(fmt.Sprintf("mailbox unlocked before the end (after %s)", holdMost)))
		}
		s.boxes.mutex.Unlock()
	}
}

// forAll calls do at once for all storms whose file systems have answered so far, and adds
// what do returns to their notes. Storms whose file systems don't answer by end get the
// note noAnswer.
func (f *fight) forAll(end time.Time, noAnswer filter.Note, do func(*storm) []error) {
	type done struct {
		by    *storm
		notes []error
	}
	results := make(chan done, len(f.storms))
	waiting := map[*storm]bool{}
	giveUp := func(s *storm) {
		s.silent = true
		s.notes = append(s.notes, noAnswer)
	}
	for _, s := range f.storms {
		switch {
		case s.silent:
		case f.answers.silent(s.user.Name):
			giveUp(s)
		default:
			waiting[s] = true
		}
	}
	for s := range waiting {
		r := done{by: s}
		f.answers.await(s.user.Name, func() { r.notes = do(s) }, func() { results <- r })
	}
	take := func(r done) {
		delete(waiting, r.by)
		for _, note := range r.notes {
			r.by.note(note)
		}
	}
	for late := time.After(time.Until(end) + answer); len(waiting) > 0; {
		select {
		case r := <-results:
			take(r)
		case <-late:
			for len(results) > 0 { // they came in time, and this thread is late
				take(<-results)
			}
			for s := range waiting {
				giveUp(s)
			}
			return
		}
	}
}

// note adds a note, unless it is there already: a polite trim locks twice.
func (s *storm) note(note error) {
	if !slices.ContainsFunc(s.notes, func(have error) bool { return have.Error() == note.Error() }) {
		s.notes = append(s.notes, note)
	}
}

// removeDotlocks removes the USER.lock files of killed processes, and notes other stale
// ones.
func (f *fight) removeDotlocks() {
	f.forAll(time.Now(), "lock files not looked for (no answer)", func(s *storm) (notes []error) {
		for _, template := range f.Hold {
			what, err := template.RemoveDotlock(s.user, s.hasKilled, f.began)
			switch {
			case err != nil:
				notes = append(notes, filter.Note(fmt.Sprintf("%s.lock: %s", template.Path(s.user), err)))
			case what != "":
				notes = append(notes, filter.Note(what))
			}
		}
		return notes
	})
}

func (s *storm) hasKilled(pid int) bool {
	return s.any(func(p *process) bool { return p.pid == pid && p.stage == gone && p.sent == killSignal })
}
