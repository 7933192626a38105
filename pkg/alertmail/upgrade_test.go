package alertmail_test

import (
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/alertmail"
)

// TestTestIsMarkedAndSaysWhichWayAccepted, and that a way fails.
func TestTestIsMarkedAndSaysWhichWayAccepted(t *testing.T) {
	o, dir := mailing(t, `cat >>mail; for to; do :; done; test "$to" != pager`)
	m := newMember(t)
	o.PageTo, o.Alertmanagers = []string{"pager"}, posting(m).Alertmanagers
	var said, problems []string
	o.Report = func(err error) { problems = append(problems, err.Error()) }
	if alertmail.Test(o, func(line string) { said = append(said, line) }) {
		t.Error("all taken")
	}
	same(t, strings.Join(said, "\n"), "mail to root: accepted\nalertmanager: accepted")
	same(t, strings.Join(problems, "\n"), "page to pager: "+o.Sendmail+": exit status 1")
	text := contents(t, dir, "mail")
	if strings.Count(text, "\nSubject: [TEST] stormcheck on moscow can reach you\n") != 2 || strings.Count(text, "\n[TEST] ") != 2 {
		t.Error(text)
	}
	posts := m.take()
	if len(posts) != 1 || posts[0][0].Labels["alertname"] != "StormcheckTest" || posts[0][0].Labels["severity"] != "info" ||
		posts[0][0].EndsAt.Sub(posts[0][0].StartsAt) != 5*time.Minute {
		t.Errorf("%v", posts)
	}
}

// TestStateOfVersion1IsRead: an upgrade forgets nothing, and doesn't report again what
// was reported.
func TestStateOfVersion1IsRead(t *testing.T) {
	s := newStory(t)
	writeLog(t, s.o.State, `what,host,user,uid,account,proc,first_seen,last_seen,over,in_a_row,missed,count,peak,recent,actions,killed_in_all,kill_runs,first_kill,killed,remaining,unsure,untold_kill,archived,notes,errors,known_copies,known_errors,severity,mail_news,mail_sending,mail_taken,mail_count,page_news,page_sending,page_taken,page_count,alert_news,alert_sending,alert_taken,alert_count,id,message,made,tries,failing_since,tried,said
storm,moscow,groucho,1001,,imapd,2000-04-25T04:47:02Z,2000-04-25T05:16:02Z,,30,0,404,911,,log alert,5312,4,2000-04-25T04:48:02Z,,,,,,,,/a/groucho.1,,,,,2000-04-25T04:47:02Z,404,,,,0,new more,,,0,,,,,,,
`)
	s.silent(1, lasting)
	s.silent(4)
	same(t, s.reports("groucho imapd on moscow: over, 5312 killed"), `
        over groucho imapd
        lasted 31 minutes, from Apr 24 23:47 -0500 to 00:18; peak 911
        5312 killed in 4 runs since Apr 24 23:48
`)
}
