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
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/trusted"
)

const (
	alertPath  = "/api/v2/alerts"
	alertBatch = 500 // alerts in one request
	// alertLasts is how long an alert fires after the last row about it: five runs of a
	// minute. A resolved alert comes back in the next run that has a row.
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

// Alertmanagers are the members of one cluster. Each must get all alerts, because they
// don't pass them on to each other.
type Alertmanagers struct {
	URLs      []string      // with the path of --web.route-prefix, without a slash at the end
	TokenFile string        // holds what the header Authorization has after "Bearer"; "" is none
	CAFile    string        // certificates in PEM, in place of the system's; "" is none
	Deadline  time.Duration // how long they may take; they are asked at once
}

// parseAlertmanager returns a URL as Alertmanagers has it. A password in it would be shown
// to everybody by ps.
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

// isPrivate reports whether nobody on the way can read what is sent to the URL.
func isPrivate(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// client returns what talks to the cluster. It reads the files each time, because a
// certificate or a token may change while a standing pipe runs. It takes no proxy from the
// environment, because root runs this.
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
		// A redirected POST becomes a GET, which delivers nothing.
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
