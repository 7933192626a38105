package rows

import (
	"fmt"
	"strings"
)

// The actions that filters of the suite perform. A limits table may name others.
const (
	ActionLog     = "log"
	ActionAlert   = "alert"
	ActionArchive = "archive"
	ActionPage    = "page"
	ActionTrim    = "trim"
	ActionKill    = "kill"
)

// A Limit says when an action is due. A part that is zero doesn't count: the zero
// Limit is never reached.
type Limit struct {
	Count  int64 // due at this many processes
	Growth int64 // due at this many processes started in the last 60 s that still exist
	Churn  int64 // due at this many processes started in the last 60 s, dead or alive
}

// ParseLimit reads a limit as the limits table and the actions column have it:
// "100", "+30" (growth), "3000/m" (churn), several of them in this order with "|"
// between them, and "0" or "" (never).
func ParseLimit(s string) (Limit, error) {
	if s == "" || s == "0" {
		return Limit{}, nil
	}
	var l Limit
	parts := []*int64{&l.Count, &l.Growth, &l.Churn}
	for cell := range strings.SplitSeq(s, "|") {
		digits, kind := cell, 0
		if rest, growth := strings.CutPrefix(cell, "+"); growth {
			digits, kind = rest, 1
		} else if rest, churn := strings.CutSuffix(cell, "/m"); churn {
			digits, kind = rest, 2
		}
		at := kind - (3 - len(parts))
		if at < 0 { // not in order, or twice
			return Limit{}, fmt.Errorf("%q is not a limit", s)
		}
		n, err := ParseNumber(digits)
		if err != nil {
			return Limit{}, err
		}
		if n == 0 {
			return Limit{}, fmt.Errorf("%q is not a limit", s)
		}
		*parts[at] = n
		parts = parts[at+1:]
	}
	return l, nil
}

// String returns the limit as ParseLimit reads it.
func (l Limit) String() string {
	var parts []string
	if l.Count > 0 {
		parts = append(parts, fmt.Sprint(l.Count))
	}
	if l.Growth > 0 {
		parts = append(parts, fmt.Sprintf("+%d", l.Growth))
	}
	if l.Churn > 0 {
		parts = append(parts, fmt.Sprintf("%d/m", l.Churn))
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, "|")
}

// Numbers are what limits are compared with, 0 if unknown.
type Numbers struct {
	Count   int64 // processes
	Recent  int64 // those of them that started in the last 60 s
	Started int64 // started in the last 60 s, dead or alive
}

// Reached reports whether the numbers reach the limit.
func (l Limit) Reached(n Numbers) bool {
	return l.Count > 0 && n.Count >= l.Count || l.Growth > 0 && n.Recent >= l.Growth || l.Churn > 0 && n.Started >= l.Churn
}

// FindAction looks for the action name in an actions cell. An action without a
// limit, with an unreadable one, or named twice is an error: a filter that acts on a
// row must know from which count on.
func FindAction(actions, name string) (limit Limit, due bool, err error) {
	for _, word := range strings.Fields(actions) {
		action, cell, _ := strings.Cut(word, "=")
		if action != name {
			continue
		}
		if due {
			return Limit{}, true, fmt.Errorf("actions: %s twice", name)
		}
		due = true
		if limit, err = ParseLimit(cell); err != nil || limit == (Limit{}) {
			return Limit{}, true, fmt.Errorf("actions: %s has no limit", word)
		}
	}
	return limit, due, nil
}
