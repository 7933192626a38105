package alertmail_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

// TestOneWeekOfRuns is a week of runs, one each minute: a storm every night; one on Tuesday
// that respawns for hours; a pair that flaps on Wednesday; on Friday nobody takes
// mail from nine to eleven, when a storm comes and goes. It says which mails go out.
func TestOneWeekOfRuns(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("ten thousand runs")
	}
	s := newStory(t)
	s.now = time.Date(2000, 4, 23, 23, 59, 2, 0, s.now.Location()) // the Sunday before
	night := with(incident, rows.UID, 1001)
	respawning := with(incident, rows.UID, 1002, rows.User, "harpo", rows.Count, 150, rows.Killed, 150, rows.Archived, "/a/harpo.1")
	flapping := cells{rows.User: "chico", rows.UID: "1003", rows.Proc: "vi", rows.Count: "30", rows.Actions: "alert=20"}
	unseen := with(incident, rows.UID, 1004, rows.User, "zeppo", rows.Killed, 400, rows.Remaining, 4, rows.Errors, "killstorm: 4 remaining: 4 uninterruptible (D)")
	var sent []string
	for s.now.Before(time.Date(2000, 4, 30, 23, 59, 0, 0, s.now.Location())) {
		next := s.now.Add(time.Minute)
		day, minute := next.Weekday(), next.Hour()*60+next.Minute()
		var found []cells
		if minute == 17 || minute == 18 {
			found = append(found, night)
		}
		if day == time.Tuesday && 10*60 <= minute && minute < 13*60+30 {
			found = append(found, respawning)
		}
		if day == time.Wednesday && 8*60 <= minute && minute < 10*60+30 && minute/2%2 == 0 {
			found = append(found, flapping)
		}
		if day == time.Friday && 9*60+30 <= minute && minute < 9*60+40 {
			found = append(found, unseen)
		}
		s.mailer(day == time.Friday && 9*60 <= minute && minute < 11*60)
		mails, problems := s.input(stream(found...))
		for _, p := range mails {
			sent = append(sent, s.now.Format("Mon 15:04 ")+p.subject)
		}
		for _, problem := range problems {
			sent = append(sent, s.now.Format("Mon 15:04 ")+strings.TrimPrefix(problem, s.o.Sendmail+": "))
		}
	}
	same(t, strings.Join(sent, "\n")+"\n", `Mon 00:17 404 groucho imapd on moscow: killed, mail saved
Mon 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Tue 00:17 404 groucho imapd on moscow: killed, mail saved
Tue 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Tue 10:00 150 harpo imapd on moscow: killed, mail saved
Tue 10:57 150 harpo imapd on moscow: killed, mail saved
Tue 11:54 150 harpo imapd on moscow: killed, mail saved
Tue 12:51 150 harpo imapd on moscow: killed, mail saved
Tue 13:34 harpo imapd on moscow: over, 31500 killed, mail saved
Wed 00:17 404 groucho imapd on moscow: killed, mail saved
Wed 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Wed 08:00 30 chico vi on moscow
Wed 08:57 30 chico vi on moscow
Wed 09:56 30 chico vi on moscow
Wed 10:34 chico vi on moscow: over
Thu 00:17 404 groucho imapd on moscow: killed, mail saved
Thu 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Fri 00:17 404 groucho imapd on moscow: killed, mail saved
Fri 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Fri 09:30 exit status 75
Fri 10:38 exit status 75 (nothing taken since 09:30)
Fri 11:08 zeppo imapd on moscow: over, 4000 killed, mail saved
Sat 00:17 404 groucho imapd on moscow: killed, mail saved
Sat 00:23 groucho imapd on moscow: over, 808 killed, mail saved
Sun 00:17 404 groucho imapd on moscow: killed, mail saved
Sun 00:23 groucho imapd on moscow: over, 808 killed, mail saved
`)
	same(t, contents(t, s.o.State), strings.SplitAfter(contents(t, s.o.State), "\n")[0])
	_ = os.Remove(s.o.State)
}
