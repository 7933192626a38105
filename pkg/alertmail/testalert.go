package alertmail

import (
	"fmt"
	"strings"
	"time"
)

// Test sends a test in each way that the flags ask for, and prints which of them took
// it. It reads no rows, and neither remembers nor counts anything.
func Test(o Options, out func(string)) (taken bool) {
	node := o.Node()
	summary := "[TEST] stormcheck on " + node + " can reach you"
	now := o.Now()
	text := summary + "\n\nThis is a test: there is no storm. Nothing has to be done.\n"
	taken = true
	note := func(what string, err error) {
		if err != nil {
			o.Report(fmt.Errorf("%s: %w", what, err))
			taken = false
			return
		}
		out(what + ": accepted")
	}
	for _, way := range []struct {
		name, text string
		to         []string
	}{{"mail", text, o.To}, {"page", summary + "\n", o.PageTo}} {
		if len(way.to) == 0 {
			continue
		}
		id := fmt.Sprintf("<stormcheck.test.%s.%d.%d@%s>", way.name, now.UnixNano(), o.PID, o.Host)
		mail := envelope(o.From, "", way.to, summary, now, id, "", way.text)
		note(way.name+" to "+strings.Join(way.to, " "), o.mailer(way.to, mail))
	}
	if len(o.Alertmanagers.URLs) > 0 {
		_, err := o.Alertmanagers.post([]alert{{
			Labels:      map[string]string{"alertname": "StormcheckTest", "host": node, "severity": "info"},
			Annotations: map[string]string{"summary": summary},
			StartsAt:    now.UTC(), EndsAt: now.Add(5 * time.Minute).UTC(),
		}})
		note("alertmanager", err)
	}
	return taken
}
