package alertmail

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A memory is what is remembered between runs: all that lasts or hasn't been fully
// reported, and the delivery of each way.
type memory struct {
	storms     []*storm
	breakdowns []*breakdown
	owners     []*owner
	deliveries [numDeliveries]delivery
	withheld   int64 // mails to owners that were not sent, and that no taken message counts
}

// topics returns all that is remembered.
func (m *memory) topics() []topic {
	all := make([]topic, 0, len(m.storms)+len(m.breakdowns))
	for _, b := range m.breakdowns {
		all = append(all, b)
	}
	for _, s := range m.storms {
		all = append(all, s)
	}
	return all
}

// learn adds what a run has found.
func (m *memory) learn(f *findings, node string, o schedule, now time.Time) {
	m.learnStorms(f, o, now)
	m.learnBreakdowns(f, node, o, now)
	for _, t := range m.topics() {
		for w := range numWays {
			r := t.went().way(w)
			if w != byAlert && r.news == 0 && r.sending == 0 && t.went().lasts() && t.unreported(w) && o.repeatable(r, now) {
				r.news |= repeated
			}
		}
	}
}

func (m *memory) learnStorms(f *findings, o schedule, now time.Time) {
	lasting := map[identity]*storm{}
	for _, s := range m.storms {
		s.here, s.quiet, s.due = false, false, ""
		if s.lasts() {
			lasting[s.key()] = s
		}
	}
	for _, found := range gather(f.storms, lasting) {
		s := lasting[found.key()]
		if s == nil {
			s = &storm{}
			m.storms = append(m.storms, s)
		}
		s.see(found, o, now)
	}
	m.storms = slices.DeleteFunc(m.storms, func(s *storm) bool {
		if !s.lasts() || s.here {
			return false
		}
		s.samples.add(now, 0)
		return s.miss(f.speaksOf(s.host), o, now)
	})
	m.keepWorst(mostStorms)
}

// gather returns what a run has found. The new names of an account that has many count as
// one storm, so that an account that keeps changing names isn't a new storm each time.
func gather(found map[identity]*sighting, lasting map[identity]*storm) (all []sighting) {
	own, several := map[identity]int{}, map[identity]*sighting{}
	for key := range lasting {
		if key.proc != anyName {
			own[key.owner()]++
		}
	}
	keys := slices.SortedFunc(maps.Keys(found), func(a, b identity) int {
		return cmp.Or(-cmp.Compare(found[a].count, found[b].count), cmp.Compare(a.proc, b.proc), cmp.Compare(a.user, b.user))
	})
	for _, key := range keys {
		s, account := *found[key], key.owner()
		many := account
		many.proc = anyName
		switch {
		case lasting[key] != nil:
			all = append(all, s)
		case s.quiet:
		case lasting[many] == nil && own[account] < mostOwn:
			own[account]++
			all = append(all, s)
		case several[account] == nil:
			s = s.gathered()
			several[account] = &s
		default:
			several[account].gather(s.gathered())
		}
	}
	for _, s := range several {
		all = append(all, *s)
	}
	return all
}

func (m *memory) learnBreakdowns(f *findings, node string, o schedule, now time.Time) {
	lasting := map[string]*breakdown{}
	for _, b := range m.breakdowns {
		b.here = false
		if b.lasts() {
			lasting[b.host] = b
		}
	}
	for _, found := range f.broken {
		b := lasting[found.host]
		if b == nil {
			b = &breakdown{host: found.host}
			m.breakdowns = append(m.breakdowns, b)
		}
		b.see(found, o, now)
	}
	m.breakdowns = slices.DeleteFunc(m.breakdowns, func(b *breakdown) bool {
		return b.lasts() && !b.here && b.miss(f.speaksOf(b.host) || b.host == node && f.isWhole(), o, now)
	})
}

// due returns the topics of the message to compose now, and marks them as on their way. It
// returns nothing while another message is on its way or has to be resent. If there is
// news, a message that reports everything replaces the one to be resent.
func (m *memory) due(w way, o schedule, ending bool, now time.Time) (due []item) {
	d := &m.deliveries[w]
	if d.phase == composed || d.phase == handedOver {
		return nil
	}
	urges, isMore, isFirstPage := false, false, false
	topics := m.topics()
	for _, t := range topics {
		r := t.went().way(w)
		urges = urges || r.news.urges()
		isFirstPage = isFirstPage || w == byPage && r.news.urges() && r.at.IsZero()
		isMore = isMore || r.sending != 0 && r.news != 0
	}
	if d.phase == idle && urges && !ending && !isFirstPage && !d.pace.ready(now) {
		d.pace.waited = true
		return nil
	}
	if d.phase == failed {
		isMore = isMore || now.Sub(d.made) >= o.repeats[0] // what lasts is reported with its present state
		if !d.waited(retryPause, now) || !urges && (!isMore || !d.waited(d.pause(o), now)) {
			return nil
		}
		if urges {
			d.tries = 0
		}
		for _, t := range topics {
			t.went().way(w).turnBack()
		}
	}
	for _, t := range topics {
		if r := t.went().way(w); r.news.urges() {
			r.sending, r.news, r.count = r.news, 0, t.size()
			due = append(due, item{t, r.sending})
		}
	}
	return due
}

// taken notes that the message has arrived. What has come up since it was composed is
// reported by the next message, with all that belongs to it.
func (m *memory) taken(w way, settles bool, now time.Time) {
	for _, t := range m.topics() {
		r := t.went().way(w)
		if r.sending == 0 {
			continue
		}
		if r.repeats++; r.sending&^(repeated|more) != 0 {
			r.repeats = 0
		}
		r.sending, r.at = 0, now
		if settles && r.news == 0 {
			t.settle()
		}
		if r.news == more {
			r.news = 0 // it is repeated with all that lasts
		}
	}
	m.withheld = max(0, m.withheld-m.deliveries[w].withheld)
	pace := m.deliveries[w].pace
	pace.note(now)
	m.deliveries[w] = delivery{pace: pace}
}

// forget drops what is over and reported in all of the ways.
func (m *memory) forget(ways []way, now time.Time) {
	for w := range m.deliveries {
		if d := &m.deliveries[w]; d.pace.isOver(now) {
			d.pace = pace{}
		}
	}
	m.forgetOwners(now)
	isDone := func(c *course) bool {
		for _, w := range ways {
			if r := c.way(w); r.news != 0 || r.sending != 0 {
				return false
			}
		}
		return !c.lasts()
	}
	m.storms = slices.DeleteFunc(m.storms, func(s *storm) bool { return isDone(&s.course) })
	m.breakdowns = slices.DeleteFunc(m.breakdowns, func(b *breakdown) bool { return isDone(&b.course) })
}

func (m *memory) keepWorst(n int) {
	if len(m.storms) > n {
		slices.SortStableFunc(m.storms, compare[*storm])
		m.storms = slices.Clone(m.storms[:n])
	}
}

// forgetOwners drops the owners that may get another mail, and what could not be sent
// for a day.
func (m *memory) forgetOwners(now time.Time) {
	m.owners = slices.DeleteFunc(m.owners, func(o *owner) bool {
		isOver := !o.within(ownerPause, now)
		if isOver && o.waits() {
			m.withheld++
		}
		return isOver
	})
}

// mayMail reports whether the bounds allow another mail to the owner of the uid.
func (m *memory) mayMail(uid string, now time.Time) bool {
	inHour := 0
	for _, o := range m.owners {
		if o.uid == uid {
			return false
		}
		if o.within(time.Hour, now) {
			inHour++
		}
	}
	return inHour < ownersAHour
}
