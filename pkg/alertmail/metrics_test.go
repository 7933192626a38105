package alertmail_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/rows"
)

// samples returns what is in a file of metrics that isn't 0, as Prometheus reads it:
// "name value" of a label, and the number.
func samples(t *testing.T, path string) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil || len(families) < 7 {
		t.Fatalf("%v in\n%s", err, text)
	}
	found := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			series := strings.TrimPrefix(name, "stormcheck_")
			for _, l := range m.GetLabel() {
				series += " " + l.GetValue()
			}
			if n := m.GetGauge().GetValue() + m.GetCounter().GetValue(); n != 0 {
				found[series] = n
			}
		}
	}
	return found
}

// counting returns Options with a file of metrics.
func counting(t *testing.T) alertmail.Options {
	o := printed()
	o.Metrics = t.TempDir() + "/alertmail.prom"
	return o
}

func TestMetricsFile(t *testing.T) {
	o := counting(t)
	quiet(t, o, stream())
	text, err := os.ReadFile(o.Metrics)
	want := `# HELP stormcheck_limits_reached_total Rows that reached a limit, by its action.
# TYPE stormcheck_limits_reached_total counter
stormcheck_limits_reached_total{action="alert"} 0
stormcheck_limits_reached_total{action="archive"} 0
stormcheck_limits_reached_total{action="kill"} 0
stormcheck_limits_reached_total{action="log"} 0
stormcheck_limits_reached_total{action="page"} 0
# HELP stormcheck_killed_processes_total Processes that were killed.
# TYPE stormcheck_killed_processes_total counter
stormcheck_killed_processes_total 0
# HELP stormcheck_remaining_processes_total Processes that remained after a kill, summed over the kills.
# TYPE stormcheck_remaining_processes_total counter
stormcheck_remaining_processes_total 0
# HELP stormcheck_archived_mailboxes_total Copies of mail files that were made.
# TYPE stormcheck_archived_mailboxes_total counter
stormcheck_archived_mailboxes_total 0
# HELP stormcheck_errors_total What went wrong with rows, by the tool that said so.
# TYPE stormcheck_errors_total counter
stormcheck_errors_total{tool="killstorm"} 0
stormcheck_errors_total{tool="mailarchive"} 0
# HELP stormcheck_untaken_messages_total Times that a message wasn't taken.
# TYPE stormcheck_untaken_messages_total counter
stormcheck_untaken_messages_total{way="alertmanager"} 0
stormcheck_untaken_messages_total{way="mail"} 0
stormcheck_untaken_messages_total{way="owner"} 0
stormcheck_untaken_messages_total{way="page"} 0
# HELP stormcheck_last_run_timestamp_seconds When the last run ended that could read all its input, since 1970.
# TYPE stormcheck_last_run_timestamp_seconds gauge
stormcheck_last_run_timestamp_seconds 956639822
`
	if err != nil {
		t.Fatal(err)
	}
	same(t, string(text), want)
}

func TestCountersAddUp(t *testing.T) {
	o := counting(t)
	in := stream(incident,
		cells{rows.Actions: "log=20 mine=3", rows.Errors: "mailarchive: no space; mine: broken; killstorm: refused: a; no tool at all"},
		cells{rows.Killed: "398", rows.Remaining: "6", rows.Archived: "/a/x.1:/a/x.1.pop",
			rows.Notes: "mailarchive: /var/mail/x: unchanged since 2000-04-25T05:15:02Z; killstorm: frozen"},
		cells{rows.Archived: "/a/y.1", rows.Notes: "mailarchive: unlocked but unchanged while copied"})
	want := map[string]float64{
		"limits_reached_total alert": 1, "limits_reached_total archive": 1, "limits_reached_total kill": 1,
		"limits_reached_total log": 4, "limits_reached_total mine": 1,
		"killed_processes_total": 802, "remaining_processes_total": 6, "archived_mailboxes_total": 3,
		"errors_total mailarchive": 1, "errors_total mine": 1, "errors_total killstorm": 1, "errors_total other": 1,
	}
	for runs := 1.0; runs <= 3; runs++ {
		quiet(t, o, in)
		sums := map[string]float64{"last_run_timestamp_seconds": 956639822}
		for series, n := range want {
			sums[series] = n * runs
		}
		if got := samples(t, o.Metrics); !maps.Equal(got, sums) {
			t.Errorf("after %v runs:\n%v; want\n%v", runs, got, sums)
		}
	}
}

// A run that couldn't read its input isn't the last, and a dry one is none.
func TestLastRunIsOfWholeInput(t *testing.T) {
	o := counting(t)
	now := dry().Now()
	o.Now = func() time.Time { return now }
	for _, step := range []struct {
		in    string
		dry   bool
		moves bool
	}{{stream(), false, true}, {"", false, false}, {stream() + "cut", false, false}, {stream(), true, false}, {stream(incident), false, true}} {
		var before float64
		if _, err := os.Stat(o.Metrics); err == nil {
			before = samples(t, o.Metrics)["last_run_timestamp_seconds"]
		}
		now = now.Add(time.Minute)
		o.DryRun = step.dry
		run(t, o, step.in)
		after := samples(t, o.Metrics)["last_run_timestamp_seconds"]
		if step.moves != (after == float64(now.Unix())) || !step.moves && after != before {
			t.Errorf("%q: from %v to %v", step.in, before, after)
		}
	}
}

// In a standing pipe each snapshot counts once, and what can't be written now is
// written with the next.
func TestCountersOfEach(t *testing.T) {
	o := counting(t)
	o.Each = true
	if err := os.Mkdir(o.Metrics, 0o755); err != nil {
		t.Fatal(err)
	}
	in := stream(incident) + stream(incident) + stream() + stream(incident)
	var problems []string
	o.Report = func(err error) {
		problems = append(problems, err.Error())
		_ = os.Remove(o.Metrics)
	}
	if err := alertmail.Run(o, strings.NewReader(in), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	if want := o.Metrics + ": not a regular file"; len(problems) != 1 || problems[0] != want {
		t.Errorf("%q; want %q", problems, want)
	}
	if got := samples(t, o.Metrics); got["killed_processes_total"] != 3*404 {
		t.Errorf("%v", got)
	}
}

// Rows of whoever make no series without end.
func TestLabelsHaveABound(t *testing.T) {
	o := counting(t)
	for range 2 {
		var many []cells
		for i := range 100 {
			many = append(many, cells{rows.Actions: fmt.Sprintf("a%d=1 %s=2", i, strings.Repeat("x", i)+`"`), rows.Errors: fmt.Sprintf("tool%d: x; \": y", i)})
		}
		quiet(t, o, stream(many...))
	}
	actions, tools, sum := 0, 0, 0.0
	for series, n := range samples(t, o.Metrics) {
		switch {
		case strings.HasPrefix(series, "limits_reached_total"):
			actions, sum = actions+1, sum+n
		case strings.HasPrefix(series, "errors_total"):
			tools++
		}
	}
	if actions > 31 || tools > 31 || sum != 400 {
		t.Errorf("%d actions, %d tools; sum %v", actions, tools, sum)
	}
}

func TestUntakenMessagesAreCounted(t *testing.T) {
	m := newMember(t)
	m.Close()
	s := newStory(t)
	s.o.PageTo = []string{"pager"}
	s.o.Alertmanagers = posting(m).Alertmanagers
	s.o.Metrics = s.dir + "/alertmail.prom"
	if err := os.WriteFile(s.dir+"/down", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.input(stream(cells{rows.Actions: "alert=1 page=1"}))
	}
	got := samples(t, s.o.Metrics)
	for _, way := range []string{"mail", "page", "alertmanager"} {
		if got["untaken_messages_total "+way] != 2 {
			t.Errorf("%s: %v", way, got)
		}
	}
}

// TestStartedPerMinute: by host and account, never by a name from a process title,
// the 20 largest, of the last run alone.
func TestStartedPerMinute(t *testing.T) {
	o := counting(t)
	all := []cells{
		{rows.User: "alice", rows.Account: "www", rows.Proc: "a", rows.Started: "9000"},
		{rows.User: "bob", rows.Account: "www", rows.Proc: "b", rows.Started: "1000"},
		{rows.User: "groucho", rows.Proc: "*", rows.Started: "8000"},
		{rows.User: "groucho", rows.Proc: "vi", rows.Started: "7000"},
		{rows.User: "chico", rows.Proc: "vi", rows.Started: ""},
	}
	for i := range 5000 {
		all = append(all, cells{rows.User: fmt.Sprintf("u%04d", i), rows.Started: fmt.Sprint(1 + i%1000), rows.Host: "paris"})
	}
	quiet(t, o, stream(all...))
	found := map[string]float64{}
	for series, n := range samples(t, o.Metrics) {
		if who, ours := strings.CutPrefix(series, "started_per_minute "); ours {
			found[who] = n
		}
	}
	if len(found) != 20 || found["moscow www"] != 10000 || found["moscow groucho"] != 8000 || found["paris u0999"] != 1000 {
		t.Errorf("%v", found)
	}
	quiet(t, o, stream(cells{rows.Started: "5"}))
	if got := samples(t, o.Metrics); got["started_per_minute moscow groucho"] != 5 || got["started_per_minute moscow www"] != 0 {
		t.Errorf("%v", got)
	}
}
