package stormplot

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// A pair is whose processes a line of the drawing shows; cells, escaped.
type pair struct {
	host, user, proc string
	starts           bool // its numbers are processes started in a minute, not those there
}

// program returns the name of the line: NAME/m for processes started in a minute.
func (p pair) program() string {
	if p.starts {
		return p.proc + "/m"
	}
	return p.proc
}

// marks are what happened in a piece of time, one bit each, the gravest last.
type marks uint8

const (
	alert marks = 1 << iota
	archive
	trim
	kill   // these four: the limit was reached
	killed // processes were killed
	gap    // rows are missing
)

// allMarks names the marks of a drawing, each with its letter in a line of text.
var allMarks = []struct {
	marks
	letter byte
	action string // in the actions column, for those that are limits
	word   string
}{
	{alert, 'a', rows.ActionAlert, "alert"},
	{archive, 's', rows.ActionArchive, "archive"},
	{trim, 't', rows.ActionTrim, "trim"},
	{kill, 'k', rows.ActionKill, "kill"},
	{killed, 'X', "", "killed"},
}

// limits are the counts from which alert, archive, trim and kill are due; 0 for none.
type limits [4]uint32

// An observation is what one row says of its pair.
type observation struct {
	at            int64 // seconds since 1970
	count, killed uint32
	marks         marks
	limits        limits
}

// A sample is what is known of a pair in one step of time: its maximum.
type sample struct {
	at     uint32 // number of the step
	max    uint32
	killed uint32
	marks  marks
}

func (s *sample) merge(o sample) {
	s.max = max(s.max, o.max)
	s.killed = uint32(min(uint64(s.killed)+uint64(o.killed), math.MaxUint32))
	s.marks |= o.marks
}

// A series is the history of one pair.
type series struct {
	pair
	samples []sample
	sorted  int // so many samples are in order, one for a step
	peak    uint32
	peakAt  int64
	rows    int64
	killed  int64
	limits  limits  // as they were last
	next    *series // the series of the row that followed once
}

// A history is all series, in bounded memory: if there is too much, time is kept in
// longer steps; then the series with the lowest peaks are forgotten. The highest
// peaks stay exact.
type history struct {
	step        int64 // seconds
	phase       int64 // what aligns steps of an hour with the hours of the zone
	zone        *time.Location
	first, last int64 // seconds since 1970, of all rows
	series      map[pair]*series
	gaps        map[string]*series // by host
	before      *series            // of the row before
	cost        int                // bytes, roughly
	least       int                // so many series, the worst, are never forgotten
	known       map[string]action  // cells of the actions column that were read before
}

// An action is what a cell of the actions column says.
type action struct {
	marks
	limits        // of the count
	starts limits // of the processes started in a minute
}

const (
	maxCost    = 6 << 20
	maxHosts   = 1000 // whose gaps are kept
	maxKnown   = 1000
	seriesCost = 250
	sampleCost = 16
)

// steps are how long a sample may be, in seconds; each divides the next.
var steps = []int64{60, 300, 900, 3600}

func newHistory(zone *time.Location, least int) *history {
	return &history{step: steps[0], zone: zone, least: least, series: map[pair]*series{}, gaps: map[string]*series{}, known: map[string]action{}}
}

// seen extends the time that the history spans.
func (h *history) seen(at int64) {
	if len(h.series) == 0 && len(h.gaps) == 0 {
		_, offset := time.Unix(at, 0).In(h.zone).Zone()
		h.phase = int64((offset%3600 + 3600) % 3600)
		h.first, h.last = at, at
	}
	h.first, h.last = min(h.first, at), max(h.last, at)
}

// add takes an observation of a pair.
func (h *history) add(k pair, o observation) {
	h.seen(o.at)
	s := h.find(k)
	if s.rows++; o.count > s.peak || s.rows == 1 || o.count == s.peak && o.at < s.peakAt {
		s.peak, s.peakAt = o.count, o.at
	}
	s.killed += int64(o.killed)
	if o.limits != (limits{}) {
		s.limits = o.limits
	}
	if o.killed > 0 {
		o.marks |= killed
	}
	h.put(s, sample{max: o.count, killed: o.killed, marks: o.marks}, o.at)
}

// gap notes that a host's rows are missing.
func (h *history) gap(host string, at int64) {
	h.seen(at)
	s := h.gaps[host]
	if s == nil {
		if len(h.gaps) == maxHosts {
			return
		}
		s = &series{pair: pair{host: strings.Clone(host)}}
		h.gaps[s.host] = s
	}
	h.put(s, sample{marks: gap}, at)
}

// find returns the series of a pair, new if need be. Snapshots resemble each other:
// what followed a row once mostly follows it again.
func (h *history) find(k pair) *series {
	if h.before != nil && h.before.next != nil && h.before.next.pair == k {
		h.before = h.before.next
		return h.before
	}
	s := h.series[k]
	if s == nil {
		k.host, k.user, k.proc = strings.Clone(k.host), strings.Clone(k.user), strings.Clone(k.proc) // not the whole record
		s = &series{pair: k}
		h.series[k] = s
		h.cost += seriesCost + len(k.host) + len(k.user) + len(k.proc)
	}
	if h.before != nil {
		h.before.next = s
	}
	h.before = s
	return s
}

// put adds a sample to a series.
func (h *history) put(s *series, p sample, at int64) {
	p.at = uint32((at + h.phase) / h.step)
	if last := len(s.samples) - 1; last >= 0 && s.samples[last].at == p.at {
		s.samples[last].merge(p)
		return
	}
	if len(s.samples) >= max(64, 2*s.sorted) {
		h.tidy(s)
	}
	before := cap(s.samples)
	s.samples = append(s.samples, p)
	h.cost += (cap(s.samples) - before) * sampleCost
	if h.cost > maxCost {
		h.shrink()
	}
}

// tidy sorts the samples of a series and leaves one for a step.
func (h *history) tidy(s *series) {
	if s.sorted == len(s.samples) {
		return
	}
	if !slices.IsSortedFunc(s.samples, byTime) {
		slices.SortFunc(s.samples, byTime)
	}
	kept := s.samples[:0]
	for _, p := range s.samples {
		if last := len(kept) - 1; last >= 0 && kept[last].at == p.at {
			kept[last].merge(p)
		} else {
			kept = append(kept, p)
		}
	}
	s.samples, s.sorted = kept, len(kept)
}

func byTime(a, b sample) int { return cmp.Compare(a.at, b.at) }

// shrink makes the history cost half of what it may: by longer steps if samples cost
// the most, then by forgetting.
func (h *history) shrink() {
	for h.weigh(); h.cost > maxCost/2; h.weigh() {
		samples := 0
		for _, s := range h.series {
			samples += cap(s.samples) * sampleCost
		}
		at := slices.Index(steps, h.step)
		if at+1 < len(steps) && samples > h.cost/2 {
			h.lengthen(steps[at+1])
		} else if !h.forget() {
			return
		}
	}
}

// weigh tidies all series, gives back what they don't need, and sums up the cost.
func (h *history) weigh() {
	h.cost = 0
	for _, s := range h.all() {
		h.tidy(s)
		if cap(s.samples) > len(s.samples)*5/4+1 {
			s.samples = slices.Clone(s.samples)
		}
		h.cost += seriesCost + len(s.host) + len(s.user) + len(s.proc) + cap(s.samples)*sampleCost
	}
}

func (h *history) all() []*series {
	all := make([]*series, 0, len(h.series)+len(h.gaps))
	for _, s := range h.series {
		all = append(all, s)
	}
	for _, s := range h.gaps {
		all = append(all, s)
	}
	return all
}

// lengthen makes the step longer.
func (h *history) lengthen(step int64) {
	for _, s := range h.all() {
		for i := range s.samples {
			s.samples[i].at = uint32(int64(s.samples[i].at) * h.step / step)
		}
		s.sorted = 0
	}
	h.step = step
}

// forget drops the half of the series that has the lowest peaks, and reports whether
// it could.
func (h *history) forget() bool {
	ranked := h.ranked()
	keep := max(len(ranked)/2, h.least)
	if keep >= len(ranked) {
		return false
	}
	for _, s := range ranked[keep:] {
		delete(h.series, s.pair)
	}
	h.before = nil
	for _, s := range ranked[:keep] {
		s.next = nil
	}
	return true
}

// ranked returns all series, the worst first.
func (h *history) ranked() []*series {
	all := make([]*series, 0, len(h.series))
	for _, s := range h.series {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *series) int {
		return cmp.Or(cmp.Compare(b.peak, a.peak), cmp.Compare(b.killed, a.killed), cmp.Compare(b.rows, a.rows),
			cmp.Compare(a.user, b.user), cmp.Compare(a.proc, b.proc), cmp.Compare(a.host, b.host))
	})
	return all
}

// start returns when a sample begins, in seconds since 1970.
func (h *history) start(p sample) int64 { return int64(p.at)*h.step - h.phase }

// actions returns what an actions cell says. Growth limits have a mark, but no line.
func (h *history) actions(cell string) action {
	if a, ok := h.known[cell]; ok {
		return a
	}
	var a action
	for i, m := range allMarks {
		if m.action == "" {
			continue
		}
		if limit, due, err := rows.FindAction(cell, m.action); due {
			a.marks |= m.marks
			if err == nil {
				a.limits[i], a.starts[i] = uint32(limit.Count), uint32(limit.Churn)
			}
		}
	}
	if len(h.known) == maxKnown {
		clear(h.known)
	}
	h.known[strings.Clone(cell)] = a
	return a
}
