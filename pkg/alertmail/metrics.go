package alertmail

import (
	"cmp"
	"strings"

	"stormcheck/pkg/rows"
)

// The counters of --metrics.
const (
	limitsReached = "stormcheck_limits_reached_total"
	killedTotal   = "stormcheck_killed_processes_total"
	remainTotal   = "stormcheck_remaining_processes_total"
	archivedTotal = "stormcheck_archived_mailboxes_total"
	errorsTotal   = "stormcheck_errors_total"
	untakenTotal  = "stormcheck_untaken_messages_total"
	lastRun       = "stormcheck_last_run_timestamp_seconds"
)

// counters are what is counted across runs. The label values in always are written from
// the first run on, because Prometheus misses the first increment of a counter that did
// not exist.
var counters = []struct {
	name, label, help string
	always            []string
}{
	{limitsReached, "action", "Rows that reached a limit, by its action.", []string{"log", "alert", "archive", "page", "kill"}},
	{killedTotal, "", "Processes that were killed.", nil},
	{remainTotal, "", "Processes that remained after a kill, summed over the kills.", nil},
	{archivedTotal, "", "Copies of mail files that were made.", nil},
	{errorsTotal, "tool", "What went wrong with rows, by the tool that said so.", []string{"mailarchive", "killstorm"}},
	{untakenTotal, "way", "Times that a message wasn't taken.", wayNames[:]},
}

// counts are what has been counted and isn't in the file yet: by metric and the
// value of its label. A nil one counts nothing.
type counts map[string]map[string]int64

// mostLabels is how many values of a label are written, so that rows can't create any
// number of series.
const mostLabels = 30

var labelValue = pattern(`^[a-z][a-z0-9-]{0,31}$`)

func (c counts) add(metric, value string, n int64) {
	if c == nil {
		return
	}
	if c[metric] == nil {
		c[metric] = map[string]int64{}
	}
	if value != "" && !labelValue().MatchString(value) {
		value = "other"
	}
	c[metric][value] += n
}

func (c counts) refuse(way string) { c.add(untakenTotal, way, 1) }

// row counts what a row says.
func (c counts) row(record *rows.Record) {
	number := func(column rows.Column) int64 {
		var n rows.Number
		_ = n.UnmarshalCSV(record.Get(column)) // the Reader has refused what is none
		return n.N
	}
	for _, word := range strings.Fields(record.Get(rows.Actions)) {
		action, _, _ := strings.Cut(word, "=")
		c.add(limitsReached, action, 1)
	}
	c.add(killedTotal, "", number(rows.Killed))
	c.add(remainTotal, "", number(rows.Remaining))
	copies := len(parts(record.Get(rows.Archived), ":"))
	for _, note := range record.Messages(rows.Notes) {
		_, unchanged := rows.ParseUnchanged(note.Text)
		_, changed := rows.ParseChanged(note.Text)
		if note.Tool == mailarchive && (unchanged || changed) {
			copies-- // it stood already
		}
	}
	c.add(archivedTotal, "", int64(max(0, copies)))
	for _, fault := range record.Messages(rows.Errors) {
		c.add(errorsTotal, cmp.Or(fault.Tool, "other"), 1)
	}
}
