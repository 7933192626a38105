package procstat

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// exported runs procstat over text with a file of metrics, and returns that file,
// and its counts by user and proc as Prometheus reads them.
func exported(t *testing.T, o Options, text string) (file string, counts map[string]float64) {
	t.Helper()
	o.Metrics = t.TempDir() + "/x.prom"
	o.Text, o.TextName = strings.NewReader(text), "ps.txt"
	if err := Run(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(o.Metrics)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(written))
	if err != nil || len(families) != 3 {
		t.Fatalf("%v in\n%s", err, written)
	}
	counts = map[string]float64{}
	for _, m := range families["stormcheck_processes"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		series := labels["user"] + "|" + labels["proc"]
		if _, twice := counts[series]; twice || labels["host"] != "moscow" {
			t.Errorf("%s: twice, or of host %q", series, labels["host"])
		}
		counts[series] = m.GetGauge().GetValue()
	}
	return string(written), counts
}

// clock is one that is a second later each time.
func clock() func() time.Time {
	now := time.Unix(956639821, 5e8)
	return func() time.Time { now = now.Add(time.Second); return now }
}

func TestMetrics(t *testing.T) {
	report := func(err error) { t.Error(err) }
	text := "    404 groucho imapd\n      3 other *\n      2 other other\n      1 gro\"ucho a\\b \"} 7\n"
	for _, least := range []int64{1, 100} { // what isn't printed counts all the same
		file, _ := exported(t, Options{Min: least, Total: true, Host: "moscow", Now: clock(), Report: report}, text)
		if want := `# HELP stormcheck_processes Processes by account and name: the 50 largest counts, the rest summed as user other, proc *.
# TYPE stormcheck_processes gauge
stormcheck_processes{host="moscow",user="groucho",proc="imapd"} 404
stormcheck_processes{host="moscow",user="other",proc="\\x2a"} 3
stormcheck_processes{host="moscow",user="other",proc="other"} 2
stormcheck_processes{host="moscow",user="gro\\x22ucho",proc="a\\\\b \\x22} 7"} 1
stormcheck_processes{host="moscow",user="other",proc="*"} 0
# HELP stormcheck_scan_duration_seconds How long the last scan of the process table took.
# TYPE stormcheck_scan_duration_seconds gauge
stormcheck_scan_duration_seconds{host="moscow"} 1
# HELP stormcheck_scan_timestamp_seconds When the last scan began, since 1970.
# TYPE stormcheck_scan_timestamp_seconds gauge
stormcheck_scan_timestamp_seconds{host="moscow"} 956639822.5
`; file != want {
			t.Errorf("least %d:\n%s\nwant\n%s", least, file, want)
		}
	}
}

// Whoever thinks of a thousand names makes no thousand series.
func TestMetricsOfManyNames(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "%d groucho name%d\n", i+1, i)
	}
	_, counts := exported(t, Options{Min: 1, Host: "moscow", Now: time.Now, Report: func(err error) { t.Error(err) }}, text.String())
	if len(counts) != mostSeries+1 || counts["groucho|name999"] != 1000 || counts["groucho|name950"] != 951 || counts["other|*"] != 950*951/2 {
		t.Errorf("%d series: %v", len(counts), counts)
	}
}

// Two uids of one name are one series, for the collector refuses a file with the same
// labels twice.
func TestMetricsOfOneName(t *testing.T) {
	got := seriesOf(map[key]int64{{uid: 1, name: "imapd"}: 5, {uid: 2, name: "imapd"}: 3, {uid: 3, name: "*"}: 7},
		func(key) string { return "groucho" })
	if want := []series{{"groucho", "imapd", 8}, {"groucho", `\x2a`, 7}}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
}

// No snapshot, no file: the numbers of the last stay, and say when they are of.
func TestMetricsOfNothing(t *testing.T) {
	o := Options{Metrics: t.TempDir() + "/x.prom", Host: "moscow", Now: time.Now, Text: strings.NewReader(""), TextName: "ps.txt"}
	if err := Run(o, io.Discard); err == nil {
		t.Error("no text is no error")
	}
	if _, err := os.Stat(o.Metrics); err == nil {
		t.Error("a file of what wasn't seen")
	}
	o.Metrics, o.Text = "/nowhere/x.prom", strings.NewReader("1 a b\n")
	var out bytes.Buffer
	if err := Run(o, &out); err == nil || !strings.Contains(out.String(), ",a,,b,1,") {
		t.Errorf("%v; rows %q", err, out.String())
	}
}
