package alertmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// Bounds of what is looked for in logs.
const (
	mostExcerpt  = 20       // lines below a row
	mostLeft     = 3        // that say that lines were left out: anybody can write such
	maxExcerpt   = 200      // bytes of a line
	mostSearched = 64 << 20 // bytes of a log with its neighbour
	searchTime   = 2 * time.Second
	searchBlock  = 256 << 10 // bytes read at once
	longestLine  = 1 << 20
)

// siblings are the programs that log for another: the servers behind a process
// name, which isn't always theirs.
var siblings = map[string][]string{
	"imapd":        {"dovecot", "imap", "imap-login"},
	"imap":         {"dovecot", "imapd", "imap-login"},
	"imap-login":   {"dovecot", "imap"},
	"pop3d":        {"dovecot", "pop3", "pop3-login"},
	"pop3":         {"dovecot", "pop3d", "pop3-login"},
	"pop3-login":   {"dovecot", "pop3"},
	"lmtp":         {"dovecot"},
	"lda":          {"dovecot"},
	"sendmail":     {"postfix", "sm-mta", "exim", "exim4"},
	"exim":         {"exim4"},
	"postdrop":     {"postfix"},
	"httpsd":       {"httpd", "apache2"},
	"httpd":        {"apache2"},
	"sshd":         {"sshd-session", "sshd-auth"},
	"sshd-session": {"sshd", "sshd-auth"},
	"sshd-auth":    {"sshd", "sshd-session"},
	"cron":         {"CRON"},
	"crond":        {"CROND", "CRON"},
}

// A wanted is what a log is searched for: lines about a user and a program.
type wanted struct {
	user     []byte
	programs [][]byte // none is any
	found    []string // the newest last
	left     []string // lines about lines that were left out, the newest last
}

// want returns what to look for about a storm, nil where there is nothing.
func want(t topic) *wanted {
	s, isStorm := t.(*storm)
	if !isStorm || !s.lasts() {
		return nil
	}
	user, err := rows.Unescape(s.user)
	proc, err2 := rows.Unescape(s.proc)
	if err != nil || err2 != nil || user == "" || proc == "" {
		return nil
	}
	w := &wanted{user: []byte(user)}
	if s.proc == "*" { // a row of all processes
		return w
	}
	proc = path.Base(proc)
	for _, name := range append([]string{proc}, siblings[proc]...) {
		w.programs = append(w.programs, []byte(name))
	}
	return w
}

// full reports whether no more is wanted.
func (w *wanted) full() bool { return len(w.found) >= mostExcerpt }

// matches reports whether the line names the user and the program, or is in the
// program's own form; by is "" if it is in nobody's.
func (w *wanted) matches(line []byte, by string) bool {
	if !hasWhole(line, w.user) {
		return false
	}
	named := func(program []byte) bool { return string(program) == by || hasWhole(line, program) }
	return len(w.programs) == 0 || slices.ContainsFunc(w.programs, named)
}

// isAbout reports whether it does, and isn't about lines that were left out.
func (w *wanted) isAbout(line []byte, by string) bool {
	return w.matches(line, by) && !isSuppressed(line)
}

// hasWord reports whether the line has the word with no letter or digit beside it. A
// dot, hyphen or underscore only ends a word if none follows it: groucho isn't
// meant by groucho.marx.
func hasWhole(line, word []byte) bool {
	for start := 0; ; {
		at := bytes.Index(line[start:], word)
		if at < 0 {
			return false
		}
		at += start
		end := at + len(word)
		before, after := slices.Clone(line[max(0, at-2):at]), line[end:min(len(line), end+2)]
		slices.Reverse(before)
		if !goesOn(before) && !goesOn(after) {
			return true
		}
		start = at + 1
	}
}

// goesOn reports whether a word goes on with these bytes.
func goesOn(next []byte) bool {
	if len(next) == 0 {
		return false
	}
	letter := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80
	}
	return letter(next[0]) || (next[0] == '.' || next[0] == '-') && len(next) > 1 && letter(next[1])
}

// suppressed is how a log says that it has left out lines, of a storm's most likely.
var suppressed = []byte("Suppressed ")

func isSuppressed(line []byte) bool {
	at := bytes.Index(line, suppressed)
	if at < 0 {
		return false
	}
	rest := bytes.TrimLeft(line[at+len(suppressed):], "0123456789")
	return bytes.HasPrefix(rest, []byte(" messages")) && len(rest) < len(line)-at-len(suppressed)
}

// excerpts returns for each row that the message shows the last lines of the logs
// about it. What goes wrong with a log keeps no message back: it is said in its place.
func (a *alerter) excerpts(m message) [][]string {
	if len(a.Context) == 0 || m.page {
		return nil
	}
	all := make([][]string, len(m.worst))
	for _, source := range a.Context {
		search := newSearch(m.worst, all, m.now, a.Window)
		if len(search.open()) == 0 {
			continue
		}
		ended, err := within(searchTime+2*time.Second, func() error { return search.in(source) })
		found := search.rows
		if !ended { // it may still be at work on those
			err = fmt.Errorf("%s: doesn't answer", source)
			found = newSearch(m.worst, all, m.now, a.Window).rows
		}
		if err != nil && !errors.Is(err, errBound) && !errors.Is(err, errUntimed) {
			a.Report(err)
		}
		for i, w := range found {
			if w == nil || len(w.found)+len(w.left) == 0 && err == nil {
				continue
			}
			all[i] = append(all[i], source+":")
			if err != nil && !w.full() {
				all[i] = append(all[i], fmt.Sprintf("(%s)", rows.Printable(err.Error())))
			}
			all[i] = append(append(all[i], w.left...), w.found...)
			if errors.Is(err, errUntimed) {
				break // once is enough
			}
		}
	}
	return all
}

// A search is one through one log.
type search struct {
	rows  []*wanted // as many as rows; nil for one of which nothing is wanted
	from  time.Time // older lines are of no interest
	now   time.Time
	until time.Time // when it must be over
	left  int64     // bytes that may still be read
	timed bool      // a line has a known time
}

func newSearch(items []item, have [][]string, now time.Time, window time.Duration) *search {
	s := &search{from: now.Add(-window).Truncate(time.Second), now: now, until: time.Now().Add(searchTime), left: mostSearched}
	for i, item := range items {
		w := want(item.topic)
		if len(have[i]) > mostExcerpt {
			w = nil // another log has given enough
		}
		s.rows = append(s.rows, w)
	}
	return s
}

// open returns those of which more is wanted.
func (s *search) open() (open []*wanted) {
	for _, w := range s.rows {
		if w != nil && !w.full() {
			open = append(open, w)
		}
	}
	return open
}

var (
	// errBound is the error of a search that a bound has ended.
	errBound = errors.New("not searched to its end")
	// errUntimed is that of a log in which no line has a time that stamp knows.
	errUntimed = errors.New("no line has a known time")
)

// in searches a source: a file by its path, or the journal.
func (s *search) in(source string) error {
	if source == "journal" {
		return s.journal()
	}
	return s.file(source)
}

// file searches a log file, and if that begins within the window what it was
// rotated to.
func (s *search) file(path string) error {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer f.Close()
	unread := s.left
	again, err := s.backwards(f)
	if !s.timed && s.left < unread && (err == nil || errors.Is(err, errBound)) {
		return errUntimed
	}
	if err != nil || !again {
		return err
	}
	rotated, err := openLog(neighbour(path))
	if err != nil {
		return nil // there need be none
	}
	defer rotated.Close()
	_, err = s.backwards(rotated)
	return err
}

// openLog opens a regular file. It never waits, as for the writer of a FIFO.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, trusted.Cause(err))
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return f, nil
}

// neighbour returns the name of the log before this one: by number, or with
// logrotate's dateext the newest date.
func neighbour(path string) string {
	if _, err := os.Stat(path + ".1"); err == nil {
		return path + ".1"
	}
	dated, _ := filepath.Glob(strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path) + "-[0-9]*[0-9]")
	if len(dated) > 0 {
		return dated[len(dated)-1]
	}
	return path + ".1"
}

// backwards searches a file from its end, block by block, until a block is older
// than the window. It reports whether the file's beginning was reached first, and
// more is wanted. A last line without its newline is still being written.
func (s *search) backwards(f *os.File) (begun bool, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	var rest []byte // of a line that begins in the block before
	for last := true; end > 0; last = false {
		if s.left <= 0 || time.Now().After(s.until) {
			return false, errBound
		}
		size := min(end, searchBlock)
		block := make([]byte, size, int(size)+len(rest))
		if _, err := f.ReadAt(block, end-size); err != nil {
			return false, err // cut short meanwhile
		}
		end, s.left = end-size, s.left-size
		block = append(block, rest...)
		if last {
			block = block[:bytes.LastIndexByte(block, '\n')+1]
		}
		whole := block
		if end > 0 {
			first := bytes.IndexByte(block, '\n') + 1
			if rest = block[:first]; first == 0 {
				rest = block
			}
			if whole = block[len(rest):]; len(rest) > longestLine {
				rest = nil
			}
		}
		s.block(whole)
		if old := s.isOld(whole); old || len(s.open()) == 0 {
			return false, nil
		}
	}
	return true, nil
}

// isOld reports whether the first line with a time is older than the window.
func (s *search) isOld(block []byte) bool {
	for line := range bytes.Lines(block) {
		if at, _, ok := stamp(line, s.now); ok {
			s.timed = true
			return at.Before(s.from)
		}
	}
	return false
}

// block takes from whole lines what is wanted.
func (s *search) block(block []byte) {
	left := s.collect(block, suppressed, func(line []byte, _ string) bool { return isSuppressed(line) })
	for _, w := range s.open() {
		w.found = lastOf(append(s.collect(block, w.user, w.isAbout), w.found...), mostExcerpt)
		w.left = lastOf(append(left, w.left...), mostLeft)
	}
}

func lastOf(lines []string, most int) []string { return slices.Clone(lines[max(0, len(lines)-most):]) }

// collect returns the last lines within the window that have the pattern and match.
func (s *search) collect(block, pattern []byte, matches func(line []byte, by string) bool) (hits []string) {
	for start := 0; ; {
		at := bytes.Index(block[start:], pattern)
		if at < 0 {
			return lastOf(hits, mostExcerpt)
		}
		at += start
		begin := bytes.LastIndexByte(block[:at], '\n') + 1
		end := at + bytes.IndexByte(block[at:], '\n')
		if end < at {
			return hits
		}
		line := block[begin:end]
		if written, by, ok := stamp(line, s.now); ok && !written.Before(s.from) && matches(line, by) {
			hits = append(hits, excerptLine(line))
		}
		start = end + 1
	}
}

// excerptLine returns a line of a log as a message shows it.
func excerptLine(line []byte) string {
	if len(line) > 4*maxExcerpt { // escapes make it only longer
		line = line[:4*maxExcerpt]
	}
	return clip(rows.Printable(string(bytes.TrimRight(line, "\r\n"))), maxExcerpt)
}

// Forms of a line that no syslog wrote. To compile them takes longer than all else of
// a run that finds nothing.
var (
	// https://www.exim.org/exim-html-current/doc/html/spec_html/ch-log_files.html, with the
	// selectors millisec and pid, log_timezone, and an id of 16 or 23 characters or none.
	eximLine = pattern(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{3})?)( [-+]\d{4})?(?: \[\d+\])?( [0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4} )?`)
	// https://httpd.apache.org/docs/2.4/logs.html: the common format, and that of errors.
	apacheAccess = pattern(`^[^\[]{1,200} \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4})\] "`)
	apacheError  = pattern(`^\[[A-Z][a-z]{2} ([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] `)
)

// pattern returns what compiles a regular expression when it is first called.
func pattern(text string) func() *regexp.Regexp {
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
