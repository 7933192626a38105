package logs

import (
	"bytes"
	"fmt"
	"regexp"
	"sync"
	"time"
)

// Forms of a line that no syslog wrote. They are compiled when one is first met, for that
// takes longer than all else of a run that finds nothing.
var (
	// https://www.exim.org/exim-html-current/doc/html/spec_html/ch-log_files.html, with the
	// selectors millisec and pid, log_timezone, and an id of 16 or 23 characters or none.
	eximLine = compiled(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?)( [-+]\d{4})?(?: \[\d+\])?( [0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4} )?`)
	// https://httpd.apache.org/docs/2.4/logs.html: the common format, and that of errors.
	apacheAccess = compiled(`^[^\[]{1,200} \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4})\] "`)
	apacheError  = compiled(`^\[[A-Z][a-z]{2} ([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] `)
)

func compiled(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// stamp returns when a line was written, and by which program if its form says so: RFC
// 3339, also with a zone like +0000, the local time without a year of RFC 3164, or the
// form of Exim's main log or of Apache's logs.
func stamp(line []byte, now time.Time) (at time.Time, by string, ok bool) {
	line = line[:min(len(line), 300)]
	word, _, _ := bytes.Cut(line[:min(len(line), 40)], []byte{' '})
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if len(word) < len("2006-01-02T15:04:05Z") {
			break
		}
		if at, err := time.Parse(layout, string(word)); err == nil {
			return at, "", true
		}
	}
	if len(line) < len(time.Stamp) {
		return time.Time{}, "", false
	}
	local := func(layout, text string) (time.Time, error) {
		return time.ParseInLocation(layout, text, now.Location())
	}
	at, err := local("2006 "+time.Stamp, fmt.Sprintf("%d %s", now.Year(), line[:len(time.Stamp)]))
	if err == nil {
		if at.After(now.Add(24 * time.Hour)) {
			at = at.AddDate(-1, 0, 0)
		}
		return at, "", true
	}
	if found := eximLine().FindSubmatch(line); found != nil {
		if len(found[3]) > 0 {
			by = "exim4"
		}
		if at, err = local(time.DateTime, string(found[1])); len(found[2]) > 0 {
			at, err = time.Parse(time.DateTime+" -0700", string(found[1])+string(found[2]))
		}
		return at, by, err == nil
	}
	if found := apacheAccess().FindSubmatch(line); found != nil {
		at, err = time.Parse("02/Jan/2006:15:04:05 -0700", string(found[1]))
		return at, "apache2", err == nil
	}
	if found := apacheError().FindSubmatch(line); found != nil {
		at, err = local("Jan _2 15:04:05 2006", string(found[1]))
		return at, "apache2", err == nil
	}
	return time.Time{}, "", false
}
