package alertmail

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

const (
	alertPath  = "/api/v2/alerts"
	alertBatch = 500 // alerts in one request
	// alertLasts is how long an alert fires behind the last row about it: five runs
	// of a minute. A resolved alert comes back in the next run that has a row.
	alertLasts = 5 * time.Minute
)

// An alert is what Alertmanager's API v2 takes; see api/v2/openapi.yaml in its
// source. The labels are what makes two of them the same.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Alertmanagers are the members of one cluster. Each must get all alerts, for they
// don't pass them on to each other.
type Alertmanagers struct {
	URLs      []string      // with the path of --web.route-prefix, without a slash at the end
	TokenFile string        // holds what the header Authorization says behind "Bearer"; "" is none
	CAFile    string        // certificates in PEM, in place of the system's; "" is none
	Deadline  time.Duration // how long they may take; they are asked at once
}

// parseAlertmanager returns a URL as Alertmanagers has it. A password in it would be
// in everybody's ps.
func parseAlertmanager(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", fmt.Errorf("%q is not a URL such as http://alert:9093", text)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q: only a host, a port and a path", u.Redacted())
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// isPrivate reports whether what is sent to the URL can't be read on the way.
func isPrivate(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// client returns what talks to the cluster. The files are read each time, for a
// certificate or a token changes while a standing pipe runs. No proxy is taken from
// the environment: root runs this.
func (a Alertmanagers) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		text, err := trusted.Read(a.CAFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate", a.CAFile)
		}
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, MaxResponseHeaderBytes: 1 << 16},
		// A POST that is sent on becomes a GET, which takes nothing.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// bearer returns the token, "" if there is none.
func (a Alertmanagers) bearer() (string, error) {
	if a.TokenFile == "" {
		return "", nil
	}
	text, err := trusted.Read(a.TokenFile)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("%s: not a token, one line of plain characters", a.TokenFile) // which isn't shown
	}
	return token, nil
}

// post sends the alerts to all members. They are taken if one of them took all; the
// error names those that didn't.
func (a Alertmanagers) post(alerts []alert) (taken bool, err error) {
	client, err := a.client()
	if err != nil {
		return false, err
	}
	defer client.CloseIdleConnections()
	token, err := a.bearer()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.Deadline)
	defer cancel()
	faults := make([]string, len(a.URLs)) // in their order
	done := make(chan error)
	for i, address := range a.URLs {
		go func() {
			err := postAll(ctx, client, address, token, alerts)
			if ctx.Err() != nil && err != nil {
				err = fmt.Errorf("no answer within %s", a.Deadline)
			}
			if err != nil {
				faults[i] = fmt.Sprintf("%s: %s", address, err)
			}
			done <- err
		}()
	}
	for range a.URLs {
		taken = <-done == nil || taken
	}
	if faults = slices.DeleteFunc(faults, func(s string) bool { return s == "" }); len(faults) > 0 {
		err = errors.New(strings.Join(faults, "; "))
	}
	return taken, err
}

// postAll sends the alerts to one member, in requests of a size that a front end
// lets through.
func postAll(ctx context.Context, client *http.Client, address, token string, alerts []alert) error {
	for len(alerts) > 0 {
		n := min(len(alerts), alertBatch)
		if err := postSome(ctx, client, address, token, alerts[:n]); err != nil {
			return err
		}
		alerts = alerts[n:]
	}
	return nil
}

func postSome(ctx context.Context, client *http.Client, address, token string, alerts []alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+alertPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "alertmail/"+filter.Version)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	var failure *url.Error
	if errors.As(err, &failure) {
		err = failure.Err // without the URL
	}
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	if response.StatusCode == http.StatusOK {
		return nil
	}
	if said = bytes.TrimSpace(said); len(said) > 0 {
		return fmt.Errorf("%s: %q", response.Status, said)
	}
	return errors.New(response.Status)
}

// alertsOf returns what is posted of the topics: one alert each. One of a lower
// severity that was posted before ends, for by its labels it is another.
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
		// A storm that is over ends its alert, unless that never fired with all that
		// happened: then nobody would hear of it.
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
	if lines := t.lines(newMessage(a.Options, digest{}, now), host); len(lines) > 1 {
		all["done"] = rows.Clip(strings.Join(lines[1:], "\n"), maxAnnotation)
	}
	return all
}

// postAlerts posts all storms of this run, for an alert that isn't posted again ends,
// and what wasn't taken before. Without a state it posts what the run has found.
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
	a.fly(
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
