package alertmail

import (
	"path"
	"slices"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// mostStorms is how many storms a memory holds. If there are more, it holds the worst.
// They take about 10 MB while the state is written.
const mostStorms = 2000

// findings are what one run has read: the whole input, or with --each a snapshot.
type findings struct {
	storms     map[identity]*sighting // all of them, if there is a state or an Alertmanager
	found      digest                 // without a state
	paged      digest                 // without a state, those with the action page
	hosts      map[string]bool        // of which there was a row
	faults     faultList              // of the input
	gaps       map[string]string      // hosts whose rows are missing, and the first cause
	broken     []*breakdown
	rows       int64
	inSnapshot int64 // rows in the present snapshot
	snapshots  int64
	starters   starters // with --metrics
}

// mostHosts is how many hosts one run keeps count of.
const mostHosts = 1 << 15

// mostGaps is how many hosts one run can miss.
const mostGaps = 1000

// findUnfit notes on each storm that isn't ended because a file has changed which line
// of it is unfit, if that is why rows of its host are missing. Somebody is paged: nothing
// is ended until the file is mended.
func (f *findings) findUnfit() {
	for _, s := range f.storms {
		all := rows.ParseMessages(s.notes)
		for i, m := range all {
			file, isChanged := rows.ParsePathChanged(m.Text)
			_, place, isIt := strings.Cut(f.gaps[s.host], file)
			place, _, ends := strings.Cut(place, ": ")
			if isChanged && isIt && ends && m.Tool == killstorm {
				place = strings.ReplaceAll(rows.Printable(path.Base(file+place)), ";", ",") // which separates notes
				all[i].Text = rows.FormatUnfit(rows.Clip(place, maxName))
				s.notes, s.due = rows.JoinMessages(all), withWord(s.due, rows.ActionPage)
			}
		}
	}
}

// isWhole reports whether all of the input could be read.
func (f *findings) isWhole() bool { return f.faults.count() == 0 }

// speaksOf reports whether the run had rows of the host, so that a storm missing from them
// is absent.
func (f *findings) speaksOf(host string) bool {
	_, isMissing := f.gaps[host]
	return f.isWhole() && f.hosts[host] && !isMissing
}

// gap notes that rows of the host are missing. If there are several causes the first
// counts, because the others follow from it.
func (f *findings) gap(host, reason string) {
	if f.gaps == nil {
		f.gaps = map[string]string{}
	}
	if _, known := f.gaps[host]; !known && len(f.gaps) < mostGaps {
		f.gaps[host] = reason
	}
}

func (f *findings) noteHost(host string) {
	if f.hosts == nil {
		f.hosts = map[string]bool{}
	}
	if len(f.hosts) < mostHosts {
		f.hosts[host] = true
	}
}

// add adds a row to those of the run. If there are more than a memory holds, the worst
// stay.
func (f *findings) add(s sighting) {
	if f.storms == nil {
		f.storms = map[identity]*sighting{}
	}
	if known := f.storms[s.key()]; known != nil {
		known.merge(s)
		return
	}
	if f.storms[s.key()] = &s; len(f.storms) < mostStorms+mostStorms/2 {
		return
	}
	all := make([]*storm, 0, len(f.storms))
	for _, s := range f.storms {
		all = append(all, &storm{identity: s.identity, latest: s.latest, pending: s.pending, history: history{total: s.total}})
	}
	slices.SortFunc(all, compare[*storm])
	for _, s := range all[mostStorms:] {
		delete(f.storms, s.key())
	}
}

// sorted returns the storms of this run alone, the worst first.
func (f *findings) sorted(now time.Time) []*storm {
	all := make([]*storm, 0, len(f.storms))
	for _, s := range f.storms {
		all = append(all, newStorm(*s, now))
	}
	slices.SortFunc(all, compare[*storm])
	return all
}
