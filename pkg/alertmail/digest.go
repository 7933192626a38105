package alertmail

import (
	"slices"
	"sort"
)

// mostRows is how many rows a message shows.
const mostRows = 50

// An item is a topic of a message, and why it is there.
type item struct {
	topic
	why news
}

// A digest keeps the topics that a message shows and counts the others, so that
// memory doesn't grow with the input.
type digest struct {
	worst  []item // the worst first
	total  int64
	urgent bool // any storm of the digest is, shown or not
	lasts  bool // any storm of the digest does, shown or not
	broken bool // rows of a host can't be read
}

// merge adds what another digest has.
func (d *digest) merge(other *digest) {
	for _, i := range other.worst {
		d.add(i.topic, i.why)
	}
	d.total += other.total - int64(len(other.worst))
	d.urgent, d.lasts, d.broken = d.urgent || other.urgent, d.lasts || other.lasts, d.broken || other.broken
}

func (d *digest) add(t topic, why news) {
	d.total++
	_, isBroken := t.(*breakdown)
	lasts := t.went().lasts()
	d.urgent = d.urgent || t.urgent(why)
	d.lasts = d.lasts || !isBroken && lasts
	d.broken = d.broken || isBroken && lasts
	at := sort.Search(len(d.worst), func(i int) bool { return compare(d.worst[i].topic, t) > 0 })
	if at == mostRows {
		return
	}
	if len(d.worst) == mostRows {
		d.worst = d.worst[:mostRows-1]
	}
	d.worst = slices.Insert(d.worst, at, item{t, why})
}
