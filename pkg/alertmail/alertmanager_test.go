package alertmail_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/rows"
)

// An alert is one as the API takes it.
type alert struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
}

func (a alert) String() string {
	return fmt.Sprintf("%s %s %s until %s", a.Labels["severity"], a.Labels["user"], a.Labels["proc"], a.EndsAt.Format(time.TimeOnly))
}

// A cluster member takes alerts, unless it is set to answer otherwise.
type member struct {
	*httptest.Server
	mutex  sync.Mutex
	posts  [][]alert
	answer http.HandlerFunc // nil takes
}

func (m *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.answer != nil {
		m.answer(w, r)
		return
	}
	var post []alert
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &post)
	}
	if err != nil || r.Method != "POST" || r.URL.Path != "/api/v2/alerts" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "unfit", http.StatusBadRequest)
		return
	}
	m.posts = append(m.posts, post)
}

// take returns what has come since the last call.
func (m *member) take() [][]alert {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	posts := m.posts
	m.posts = nil
	return posts
}

func newMember(t *testing.T) *member {
	m := &member{}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

// posting returns Options that post to the members alone.
func posting(members ...*member) alertmail.Options {
	o := printed()
	o.Alertmanagers.Deadline = 20 * time.Second
	for _, m := range members {
		o.Alertmanagers.URLs = append(o.Alertmanagers.URLs, m.URL)
	}
	return o
}

func TestOneAlertForEachStorm(t *testing.T) {
	m := newMember(t)
	row := maps.Clone(incident)
	row[rows.UID] = "1004"
	row[rows.Notes], row[rows.Errors] = "mailarchive: unlocked", "mine: broken"
	if out := quiet(t, posting(m), stream(row, cells{rows.User: "harpo"})); out != "" {
		t.Errorf("printed %q", out)
	}
	now := dry().Now()
	want := alert{
		Labels: map[string]string{"alertname": "ProcessStorm", "host": "moscow", "user": "groucho", "proc": "imapd", "severity": "critical"},
		Annotations: map[string]string{
			"summary": "404 groucho imapd on moscow: killed, mail saved",
			"count":   "404",
			"done":    "saved user mail file as /var/mail/arc/groucho.956639822\nkilled all groucho imapd processes\nunlocked\nFAILED mine: broken",
			"look":    "ps -u 1004 -o pid,ppid,stat,lstart,wchan:20,args\npgrep -c -u 1004 -x imapd",
		},
		StartsAt: now.UTC(), EndsAt: now.Add(5 * time.Minute).UTC(),
	}
	posts := m.take()
	if len(posts) != 1 || len(posts[0]) != 1 {
		t.Fatalf("posted %v", posts)
	}
	if got := posts[0][0]; fmt.Sprintf("%+v", map[string]any{"": got.Annotations}) != fmt.Sprintf("%+v", map[string]any{"": want.Annotations}) ||
		!maps.Equal(got.Labels, want.Labels) || !got.StartsAt.Equal(want.StartsAt) || !got.EndsAt.Equal(want.EndsAt) {
		t.Errorf("got:\n%#v\nwant:\n%#v", got, want)
	}
}

func TestSeverityIsOfTheHighestAction(t *testing.T) {
	m := newMember(t)
	for _, c := range []struct {
		row  cells
		want string
	}{
		{cells{rows.Actions: "log=20 alert=60"}, "warning"},
		{cells{rows.Actions: "log=20 page=60"}, "critical"},
		{cells{rows.Actions: "alert=60 kill=100"}, "critical"},
		{cells{rows.Actions: "archive=60", rows.Archived: "/a"}, "info"},
		{cells{rows.Actions: "log=20", rows.Errors: "mine: broken"}, "info"},
	} {
		quiet(t, posting(m), stream(c.row))
		if posts := m.take(); len(posts) != 1 || posts[0][0].Labels["severity"] != c.want {
			t.Errorf("%v: %v; want %s", c.row, posts, c.want)
		}
	}
}

// No name gets into a command that somebody may paste, and labels are the stream's.
func TestHostileAlert(t *testing.T) {
	m := newMember(t)
	for _, name := range append(slices.Clone(hostile), "$(reboot)", "-u", "a;b", "`x`", "a.b", "a b", "!1") {
		quiet(t, posting(m), stream(cells{rows.User: name, rows.Proc: name, rows.Host: "moscow", rows.Actions: "alert=1"}))
		posts := m.take()
		if len(posts) != 1 || len(posts[0]) != 1 {
			t.Fatalf("%q: posted %v", name, posts)
		}
		a := posts[0][0]
		if a.Annotations["look"] != "" && !(name != "" && !strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.@+", r)
		}) && name[0] != '-' && name[0] != '.') {
			t.Errorf("%q gets into %q", name, a.Annotations["look"])
		}
		for _, text := range slices.Concat(slices.Collect(maps.Values(a.Labels)), slices.Collect(maps.Values(a.Annotations))) {
			if strings.ReplaceAll(text, "\n", "") != strings.ReplaceAll(rows.Printable(strings.ReplaceAll(text, "\n", "")), "\n", "") || len(text) > 4096 {
				t.Errorf("%q gets through as %q", name, text)
			}
		}
		quiet(t, posting(m), stream(cells{rows.User: name, rows.UID: "7", rows.Proc: "a b", rows.Actions: "alert=1"}))
		if look := m.take()[0][0].Annotations["look"]; look != "ps -u 7 -o pid,ppid,stat,lstart,wchan:20,args" {
			t.Errorf("%q", look)
		}
	}
}

// Requests have a bound, and all rows get through, not only those of a mail.
func TestManyAlertsGoInBoundedRequests(t *testing.T) {
	m := newMember(t)
	var many []cells
	for i := range 1200 {
		many = append(many, cells{rows.User: fmt.Sprint("user", i), rows.Actions: "alert=1"})
	}
	quiet(t, posting(m), stream(many...))
	var sizes []int
	seen := map[string]bool{}
	for _, post := range m.take() {
		sizes = append(sizes, len(post))
		for _, a := range post {
			seen[a.Labels["user"]] = true
		}
	}
	if !slices.Equal(sizes, []int{500, 500, 200}) || len(seen) != 1200 {
		t.Errorf("%v, of %d users", sizes, len(seen))
	}
}

// What a member may answer, and what is said of it. Nothing is taken, and the rows
// go to stderr, for nobody else has them.
func TestAlertThatIsNotTakenGoesToStderr(t *testing.T) {
	m := newMember(t)
	hang := make(chan bool)
	defer close(hang)
	for want, answer := range map[string]http.HandlerFunc{
		"400 Bad Request: \"\\x1b[2J no\"": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "\x1b[2J no", 400) },
		"503 Service Unavailable":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"202 Accepted":                     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) },
		"307 Temporary Redirect":           func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/x"); w.WriteHeader(307) },
		"EOF":                              func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"500 Internal Server Error: \"" + strings.Repeat("x", 500) + `"`: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("x", 1<<20), 500) },
		"no answer within 300ms": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		m.mutex.Lock()
		m.answer = answer
		m.mutex.Unlock()
		o := posting(m)
		if strings.HasPrefix(want, "no answer") {
			o.Alertmanagers.Deadline = 300 * time.Millisecond
		}
		var stderr strings.Builder
		o.Stderr = &stderr
		_, problems := run(t, o, stream(incident))
		if len(problems) != 1 || problems[0] != m.URL+": "+want {
			t.Errorf("said %q; want %q", problems, m.URL+": "+want)
		}
		if !strings.Contains(stderr.String(), "killed all groucho imapd processes") {
			t.Errorf("%s: stderr %q", want, stderr.String())
		}
	}
	m.Close()
	if _, problems := run(t, posting(m), stream(incident)); len(problems) != 1 || !strings.HasSuffix(problems[0], "connection refused") {
		t.Errorf("nobody there: %q", problems)
	}
}

// One member of a cluster is enough, but the other is named.
func TestOneMemberOfAClusterIsEnough(t *testing.T) {
	up, down := newMember(t), newMember(t)
	down.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	o := posting(down, up)
	var stderr strings.Builder
	o.Stderr = &stderr
	_, problems := run(t, o, stream(incident))
	if want := []string{down.URL + ": 503 Service Unavailable"}; !slices.Equal(problems, want) || stderr.Len() > 0 || len(up.take()) != 1 {
		t.Errorf("%q, stderr %q; want %q", problems, stderr.String(), want)
	}
}

// -n prints what would be posted.
func TestDryRunPrintsAlerts(t *testing.T) {
	m := newMember(t)
	o := posting(m)
	o.DryRun, o.State = true, t.TempDir()+"/state.csv"
	var all []alert
	if err := json.Unmarshal([]byte(quiet(t, o, stream(incident))), &all); err != nil || len(all) != 1 || all[0].Labels["user"] != "groucho" {
		t.Errorf("%v: %v", err, all)
	}
	if _, err := os.Stat(o.State); err == nil || len(m.take()) > 0 {
		t.Error("posted, or remembered")
	}
}

func TestAlertsOfBrokenInput(t *testing.T) {
	m := newMember(t)
	_, problems := run(t, posting(m), "")
	posts := m.take()
	if len(problems) != 1 || len(posts) != 1 || posts[0][0].Labels["alertname"] != "StormcheckNotWorking" || posts[0][0].Labels["host"] != "moscow" ||
		!strings.HasPrefix(posts[0][0].Annotations["summary"], "stormcheck on moscow is not working: <stdin>: ") {
		t.Errorf("%q, %v", problems, posts)
	}
}

// posted returns what each run has posted, the alerts in short.
func (s *story) posted(m *member, all ...cells) (short []string) {
	s.t.Helper()
	s.run(all...)
	for _, post := range m.take() {
		for _, a := range post {
			short = append(short, a.String())
		}
	}
	return short
}

func (s *story) wants(got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("at %s:\n%q; want\n%q", s.now.Format(time.TimeOnly), got, want)
	}
}

// newAlertStory is one that sends alerts alone.
func newAlertStory(t *testing.T, members ...*member) *story {
	s := newStory(t)
	s.o.To = nil
	s.o.Alertmanagers = posting(members...).Alertmanagers
	return s
}

// An alert is posted in each run while it lasts, whatever --repeat says, from one
// start; with a higher severity it is another; and it ends when the storm is over.
func TestAlertLastsAsLongAsTheStorm(t *testing.T) {
	m := newMember(t)
	s := newAlertStory(t, m)
	s.now = time.Date(2000, 4, 25, 5, 0, 0, 0, time.UTC)
	groucho, more := cells{rows.Actions: "alert=60"}, cells{rows.Actions: "alert=60 kill=100", rows.Killed: "404", rows.Remaining: "0"}
	s.wants(s.posted(m, groucho), "warning groucho imapd until 05:06:00")
	s.run(groucho)
	if a := m.take()[0][0]; !a.StartsAt.Equal(time.Date(2000, 4, 25, 5, 1, 0, 0, time.UTC)) {
		t.Errorf("starts at %s", a.StartsAt)
	}
	s.wants(s.posted(m, more), "critical groucho imapd until 05:08:00", "warning groucho imapd until 05:03:00")
	s.run(groucho)
	if a := m.take()[0][0]; a.Annotations["done"] != "first seen 05:01 +0000, 3 minutes ago\n05:01 ████ 05:04, peak 404\n404 killed in 1 run since 05:03" || a.Labels["severity"] != "critical" {
		t.Errorf("%q", a)
	}
	for range 4 {
		s.wants(s.posted(m))
	}
	s.wants(s.posted(m), "critical groucho imapd until 05:09:00")
	for range 4 {
		s.wants(s.posted(m))
	}
	if _, state := s.input(stream()); len(state) > 0 || strings.Contains(contents(t, s.o.State), "groucho") {
		t.Errorf("the state still has %s", contents(t, s.o.State))
	}
}

// An alert doesn't start behind its end, which Alertmanager would refuse, when the
// clock goes back.
func TestAlertDoesNotStartAfterItsEnd(t *testing.T) {
	m := newMember(t)
	s := newAlertStory(t, m)
	s.run(incident)
	s.now = s.now.Add(-time.Hour)
	s.run(incident)
	if posts := m.take(); len(posts) != 2 || !posts[1][0].StartsAt.Equal(s.now) || !posts[1][0].EndsAt.After(s.now) {
		t.Errorf("%v", posts)
	}
}

// What a run has found is on the disk before anything is asked that may take long.
func TestRememberedBeforePosted(t *testing.T) {
	m := newMember(t)
	s := newAlertStory(t, m)
	known := false
	m.answer = func(http.ResponseWriter, *http.Request) {
		text, err := os.ReadFile(s.o.State)
		known = err == nil && strings.Contains(string(text), "groucho.956639822")
	}
	if s.run(incident); !known {
		t.Error("the state didn't know of the storm")
	}
}

// What wasn't taken is reported later: a storm that no member took fires when it is over.
func TestAlertsReportedLater(t *testing.T) {
	m := newMember(t)
	s := newAlertStory(t, m)
	s.now = time.Date(2000, 4, 25, 5, 0, 0, 0, time.UTC)
	m.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	if _, problems := s.input(stream(incident)); len(problems) != 1 || !strings.HasSuffix(problems[0], "503 Service Unavailable") {
		t.Errorf("%q", problems)
	}
	for range 9 { // in silence, for an hour
		s.run()
	}
	m.answer = nil
	s.run()
	posts := m.take()
	if len(posts) != 1 || len(posts[0]) != 1 {
		t.Fatalf("posted %v", posts)
	}
	a := posts[0][0]
	if a.String() != "critical groucho imapd until 05:16:00" || !a.StartsAt.Equal(s.now.Add(-10*time.Minute)) {
		t.Errorf("%s from %s", a, a.StartsAt)
	}
	for _, want := range []string{"seen once, at 05:01 +0000; peak 404", "saved user mail file as /var/mail/arc/groucho.956639822", "killed all groucho imapd processes"} {
		if !slices.Contains(strings.Split(a.Annotations["done"], "\n"), want) {
			t.Errorf("%q lacks %q", a.Annotations["done"], want)
		}
	}
	s.wants(s.posted(m)) // once
}

// So is a kill that no member took, of a storm that was reported before.
func TestKillReportedLater(t *testing.T) {
	m := newMember(t)
	s := newAlertStory(t, m)
	s.now = time.Date(2000, 4, 25, 5, 0, 0, 0, time.UTC)
	s.wants(s.posted(m, cells{rows.Actions: "alert=60 kill=100"}), "critical groucho imapd until 05:06:00")
	m.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	s.input(stream(incident))
	for range 9 {
		s.run()
	}
	m.answer = nil
	s.wants(s.posted(m), "critical groucho imapd until 05:17:00")
	s.wants(s.posted(m))
}

// Mail and Alertmanager don't wait for each other, and neither takes from the other
// what it hasn't reported itself.
func TestMailAndAlertmanager(t *testing.T) {
	m := newMember(t)
	s := newStory(t)
	s.o.Alertmanagers = posting(m).Alertmanagers
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	if err := os.WriteFile(s.dir+"/down", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if mails, problems := s.input(stream(incident)); len(mails) != 0 || len(problems) != 1 || len(m.take()) != 1 {
		t.Errorf("%q", problems)
	}
	if err := os.Remove(s.dir + "/down"); err != nil {
		t.Fatal(err)
	}
	m.answer = down
	mails, problems := s.input(stream(cells{rows.Actions: "alert=60"}))
	if len(mails) != 1 || !strings.Contains(mails[0].body, "saved user mail file as") || !strings.Contains(mails[0].body, "404 killed in 1 run") || len(problems) != 1 {
		t.Errorf("%q, %v", problems, mails)
	}
	m.answer = nil
	s.run()
	posts := m.take()
	if len(posts) != 0 { // it has gone, and the one that was posted ends by itself
		t.Errorf("%v", posts)
	}
	s.run(cells{rows.Actions: "alert=60"})
	if posts := m.take(); len(posts) != 1 || !strings.Contains(posts[0][0].Annotations["done"], "saved user mail file as") {
		t.Errorf("%v", posts)
	}
}

// A member that fails is named once an hour, and when the last one fails too that is
// said at once.
func TestMemberThatFailsIsNamedHourly(t *testing.T) {
	up, down := newMember(t), newMember(t)
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	down.answer = answer
	s := newAlertStory(t, up, down)
	said := map[string]int{}
	round := func() {
		_, problems := s.input(stream(incident))
		for _, problem := range problems {
			said[problem]++
		}
	}
	for range 121 {
		round()
	}
	if posts := len(up.take()); posts != 121 {
		t.Errorf("%d posts; want 121", posts)
	}
	up.answer = answer
	for range 61 {
		round()
	}
	const fault = ": 503 Service Unavailable"
	both := up.URL + fault + "; " + down.URL + fault
	since := s.now.Add(-time.Hour).Format(" (nothing taken since 15:04)")
	if want := map[string]int{down.URL + fault: 3, both: 1, both + since: 1}; !maps.Equal(said, want) {
		t.Errorf("%v; want %v", said, want)
	}
}

func TestAlertsByTLS(t *testing.T) {
	m := &member{}
	m.Server = httptest.NewUnstartedServer(m)
	m.Config.ErrorLog = log.New(io.Discard, "", 0) // a handshake that fails is meant to
	m.StartTLS()
	defer m.Close()
	var bearer string
	m.answer = func(_ http.ResponseWriter, r *http.Request) { bearer = r.Header.Get("Authorization") }
	dir := t.TempDir()
	write := func(name, text string) string {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir + "/" + name
	}
	o := posting(m)
	if _, problems := run(t, o, stream(incident)); len(problems) != 1 || !strings.Contains(problems[0], "certificate") || bearer != "" {
		t.Errorf("an unknown certificate: %q", problems)
	}
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw})))
	o.Alertmanagers.CAFile = ca
	o.Alertmanagers.TokenFile = write("token", "sesame-42=\n")
	if quiet(t, o, stream(incident)); bearer != "Bearer sesame-42=" {
		t.Errorf("authorization %q", bearer)
	}
	// A file that is unfit isn't shown, and a mail goes all the same.
	for _, token := range []string{"", "two words", "a\nX-Evil: 1", "ä"} {
		o.Alertmanagers.TokenFile = write("token", token)
		bearer = ""
		_, problems := run(t, o, stream(incident))
		if want := []string{dir + "/token: not a token, one line of plain characters"}; !slices.Equal(problems, want) || bearer != "" {
			t.Errorf("token %q: %q, sent %q", token, problems, bearer)
		}
	}
	o.Alertmanagers.TokenFile, o.Alertmanagers.CAFile = "", write("none.pem", "x")
	if _, problems := run(t, o, stream(incident)); !slices.Equal(problems, []string{dir + "/none.pem: no certificate"}) {
		t.Errorf("%q", problems)
	}
}

func TestAlertmanagerFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--alertmanager alert:9093":                            `--alertmanager: "alert:9093" is not a URL such as http://alert:9093`,
		"--alertmanager ftp://a":                               `--alertmanager: "ftp://a" is not a URL such as http://alert:9093`,
		"--alertmanager http://":                               `--alertmanager: "http://" is not a URL such as http://alert:9093`,
		"--alertmanager http://u:secret@a":                     `--alertmanager: "http://u:xxxxx@a": only a host, a port and a path`,
		"--alertmanager http://a/?x=1":                         `--alertmanager: "http://a/?x=1": only a host, a port and a path`,
		"--alertmanager-token-file /t":                         `--alertmanager-token-file: needs --alertmanager`,
		"--alertmanager-ca-file /t":                            `--alertmanager-ca-file: needs --alertmanager`,
		"--alertmanager http://a --alertmanager-token-file /t": `--alertmanager-token-file: needs https, or anybody on the way to http://a could read the token`,
		"--metrics=": "--metrics: empty",
	} {
		if _, said, status := tool(stream(), strings.Fields(args)...); status != 2 || !strings.HasPrefix(said, "alertmail: "+want+"\n") {
			t.Errorf("%s: status %d, %q; want 2, %q", args, status, said, want)
		}
	}
	m := newMember(t)
	if _, _, status := tool(stream(incident), "--alertmanager", m.URL+"/"); status != 0 || len(m.take()) != 1 {
		t.Errorf("status %d", status)
	}
}
