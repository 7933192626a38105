package alertmail

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// alertsOf returns what is posted of the topics: one alert each. An alert of lower
// severity that was posted before ends, because its labels make it another alert.
func (a *alerter) alertsOf(topics []topic, now time.Time) (all []alert) {
	for _, t := range topics {
		c, severity := t.went(), t.severity()
		firing := alert{
			Labels:      t.labels(severity),
			Annotations: a.annotations(t, now),
			StartsAt:    now.UTC(),
			EndsAt:      now.Add(alertLasts).UTC(),
		}
		if !c.since.IsZero() && c.since.Before(now) { // the clock may have been wrong
			firing.StartsAt = c.since.UTC()
		}
		// A storm that is over ends its alert, unless the alert never fired with all that
		// happened: then nobody would learn of it.
		if r := c.way(byAlert); r.sending == over && !r.at.IsZero() {
			firing.EndsAt = now.UTC()
		}
		all = append(all, firing)
		if c.graded != "" && c.graded != severity {
			ended := firing
			ended.Labels, ended.EndsAt = t.labels(c.graded), now.UTC()
			all = append(all, ended)
		}
	}
	return all
}

// maxAnnotation is a bound in bytes.
const maxAnnotation = 4096

func (a *alerter) annotations(t topic, now time.Time) map[string]string {
	all := map[string]string{}
	if s, isStorm := t.(*storm); isStorm {
		all["count"] = strconv.FormatInt(s.count, 10)
		if look := s.look(); look != "" {
			all["look"] = look
		}
		if !s.since.IsZero() {
			known := *s
			known.archived = s.copies // also those that an earlier message has reported
			t = &known
		}
	}
	_, _, host := t.named()
	all["summary"] = rows.Clip(t.summary(maxAnnotation, now), maxAnnotation)
	if lines := t.lines(newMessage(a.Options, digest{}, now).layout(), host); len(lines) > 1 {
		all["done"] = rows.Clip(strings.Join(lines[1:], "\n"), maxAnnotation)
	}
	return all
}

// postAlerts posts all storms of this run, because an alert that isn't posted again ends.
// It also posts what wasn't taken before. Without a state it posts what the run has found.
func (a *alerter) postAlerts(c *channel, f *findings) {
	d := &a.memory.deliveries[byAlert]
	if d.phase == handedOver {
		a.repost = true
		return
	}
	due := a.alertsDue(f)
	if len(due) == 0 {
		return
	}
	if !d.waited(retryPause, a.Now()) {
		a.failed = true
		return
	}
	for _, t := range due {
		r := t.went().way(byAlert)
		r.sending, r.news = r.news, 0
	}
	alerts := a.alertsOf(due, a.Now())
	if a.DryRun {
		text, _ := json.MarshalIndent(alerts, "", "  ") // of texts and times: nothing can fail
		_, _ = a.out.Write(append(text, '\n'))
		return
	}
	graded := make([]string, len(due))
	for i, t := range due {
		graded[i] = t.severity()
	}
	d.phase = handedOver
	taken := false
	a.fly(flight{
		func() (err error) {
			taken, err = a.Alertmanagers.post(alerts)
			return err
		},
		func(err error) {
			d.phase = idle
			a.posted(c, due, graded, taken, err)
			if a.repost {
				a.repost = false
				a.postAlerts(c, &findings{})
			}
		},
	})
}

// alertsDue returns the topics to post.
func (a *alerter) alertsDue(f *findings) (due []topic) {
	if !a.remembers() {
		for _, b := range f.broken {
			due = append(due, b)
		}
		for _, s := range f.sorted(a.Now()) {
			due = append(due, s)
		}
		return due
	}
	for _, t := range a.memory.topics() {
		if r := t.went().way(byAlert); r.news != 0 || t.went().here && r.begun() {
			due = append(due, t)
		}
	}
	return due
}

// posted notes what became of alerts. A member of the cluster that hasn't taken them is
// reported, as a mailer is.
func (a *alerter) posted(c *channel, due []topic, graded []string, taken bool, err error) {
	d := &a.memory.deliveries[byAlert]
	switch {
	case err == nil:
		*d = delivery{}
	case taken: // by another member
		a.failed = true
		*d = delivery{said: d.said}
		a.hourly(d, err)
	default:
		a.notTaken(byAlert, err)
		d.tried = a.Now()
	}
	for i, t := range due {
		r := t.went().way(byAlert)
		if !taken {
			r.turnBack()
			continue
		}
		r.sending, r.at, r.count = 0, a.Now(), t.size()
		t.went().graded = graded[i]
		if c.settles && r.news == 0 {
			t.settle()
		}
	}
	kept := a.save()
	if !a.remembers() {
		*d = delivery{}
	}
	if !taken && !kept && c.settles {
		a.print(due)
	}
}

// print writes topics to stderr that could neither be posted nor remembered: there
// cron or a console may show them.
func (a *alerter) print(topics []topic) {
	m := newMessage(a.Options, digest{}, a.Now())
	for _, t := range topics {
		m.add(t, isNew)
	}
	_, _ = io.WriteString(a.Stderr, m.text())
}
