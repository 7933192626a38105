package alertmail

import (
	"fmt"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// mostFaults is how many faults of one input are shown.
const mostFaults = 5

// A breakdown is a host whose rows are missing, or can't be read.
type breakdown struct {
	host string
	course
	known
	faults  int64  // in the last input
	reasons string // that haven't been reported
	paged   bool   // there is nobody but the recipients of pages
}

// A faultList is what is wrong with one input.
type faultList struct {
	first []error
	more  int64 // that aren't kept
	last  error
}

func (f *faultList) add(err error) {
	f.last = err
	if len(f.first) < mostFaults {
		f.first = append(f.first, err)
	} else {
		f.more++
	}
}

// takeBack undoes the last add.
func (f *faultList) takeBack() {
	if f.more > 0 {
		f.more--
	} else {
		f.first = f.first[:len(f.first)-1]
	}
}

func (f *faultList) count() int64 { return int64(len(f.first)) + f.more }

// newBreakdown returns what the faults say of the host.
func newBreakdown(host string, faults faultList) *breakdown {
	b := &breakdown{host: host, faults: faults.count()}
	for _, err := range faults.first {
		fault := strings.ReplaceAll(rows.Printable(err.Error()), ";", ",") // which separates them
		b.reasons = withPart(b.reasons, rows.Clip(fault, maxLine), "; ", mostFaults)
	}
	return b
}

// see adds what a run has found of the breakdown.
func (b *breakdown) see(found *breakdown, o schedule, now time.Time) {
	reasons := b.reasons
	p := pending{errors: b.reasons}
	seen := p.add(pending{errors: found.reasons}, &b.known)
	b.reasons, b.faults, b.paged = p.errors, found.faults, found.paged
	b.course.see(now)
	if b.reasons != reasons {
		seen |= more
	}
	for w := range numWays {
		if w != byPage || b.paged {
			b.way(w).learn(seen, b.faults, b.inARow >= o.after || seen.has(failure))
		}
	}
}

func (b *breakdown) went() *course                    { return &b.course }
func (b *breakdown) size() int64                      { return b.faults }
func (b *breakdown) named() (user, proc, host string) { return "", "", b.host }
func (b *breakdown) urgent(news) bool                 { return false }
func (b *breakdown) severity() string                 { return "warning" }
func (b *breakdown) settle()                          { b.reasons = "" }

// rank puts it first while it lasts, because the missing rows may be worse than any seen.
func (b *breakdown) rank() int {
	if b.lasts() {
		return 0
	}
	return 6
}

func (b *breakdown) unreported(w way) bool {
	if w == byPage {
		return b.here && b.paged
	}
	return b.here || b.reasons != ""
}

func (b *breakdown) labels(severity string) map[string]string {
	return map[string]string{"alertname": "StormcheckNotWorking", "host": b.host, "severity": severity}
}

func (b *breakdown) lines(l *layout, _ string) []string {
	if !b.lasts() {
		row := b.summary(maxSummary, l.now)
		return append([]string{row}, b.course.lines(l, b.host)...)
	}
	row := "stormcheck on " + b.host + " is not working"
	reasons := parts(b.reasons, "; ")
	if len(reasons) > 0 {
		row, reasons = row+": "+reasons[0], reasons[1:]
	}
	lines := append([]string{row}, reasons...)
	if b.faults > 1 {
		lines = append(lines, fmt.Sprintf("%d faults in the last input", b.faults))
	}
	return append(lines, b.course.lines(l, b.host)...)
}

// summary says whether the host's rows can be read, and what is wrong.
func (b *breakdown) summary(_ int, _ time.Time) string {
	if !b.lasts() {
		return "stormcheck on " + b.host + " works again"
	}
	text := "stormcheck on " + b.host + " is not working"
	if reasons := parts(b.reasons, "; "); len(reasons) > 0 {
		text += ": " + reasons[0]
	}
	return text
}

// steps say how to find out why.
func (b *breakdown) steps() []string { return []string{"run:    stormcheck --check"} }
