package alertmail

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/state"
)

// A book is what is remembered between runs: all storms that last or haven't been
// told wholly, and how each way to tell them does.
type book struct {
	storms             []*storm
	mail, page, alerts way
	unsaved            bool // it couldn't be written, which has been said
}

// mostStorms is how many storms a book holds; of more, the worst.
const mostStorms = 20000

// A told is how far a storm has been told, in one way.
type told struct {
	news    string    // why it is to be told, in words: "new killed"
	sending string    // likewise, of the message that is on its way
	at      time.Time // of the last message that was taken
	count   int64     // in the last that was made
}

func (t *told) add(news ...string) {
	for _, word := range news {
		t.news = withWord(t.news, word)
	}
}

// moreSince is the news that a message on its way no longer says all: the next says
// it, but it is no reason for one.
const moreSince = "more"

// urges reports whether there is news that is told at once.
func (t *told) urges() bool { return t.news != "" && t.news != moreSince }

// begun reports whether the storm has been told, or is to be.
func (t *told) begun() bool { return t.news != "" || t.sending != "" || !t.at.IsZero() }

// A way is what is remembered of one way to tell. A message that nobody is known to
// have taken stays there: the mailer may have delivered it and then failed, or this
// process died before it knew. So it goes again as it was, under its id, which who has
// it already may drop; never does another message go under that id.
type way struct {
	id      string
	message string
	text    string    // what people read of the message, if this run has made it
	made    time.Time // when
	tries   int64     // in vain
	failing time.Time // since then nothing was taken
	tried   time.Time // last, in vain; zero during a try, so of one that the process died over
	said    time.Time // when that was last said
}

// A field is a cell of the book with its column.
type field struct {
	column string
	value  cell
}

// A cell is a value that knows how to be text.
type cell interface {
	String() string
	Set(string) error
}

type text string

func (t *text) String() string { return string(*t) }

func (t *text) Set(s string) error {
	*t = text(rows.Printable(s)) // who knows who has edited it
	return nil
}

// A quoted is a text of many lines in one.
type quoted string

func (q *quoted) String() string {
	if *q == "" {
		return ""
	}
	return strconv.Quote(string(*q))
}

func (q *quoted) Set(s string) (err error) {
	*q = ""
	if s == "" {
		return nil
	}
	text, err := strconv.Unquote(s)
	unfit := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if err != nil || !utf8.ValidString(text) || strings.ContainsFunc(text, unfit) {
		return fmt.Errorf("%q is no message", clip(s, 80))
	}
	*q = quoted(text)
	return nil
}

type number int64

func (n *number) String() string { return strconv.FormatInt(int64(*n), 10) }

func (n *number) Set(s string) (err error) {
	var v int64
	if s != "" {
		v, err = strconv.ParseInt(s, 10, 64)
	}
	if v < 0 {
		err = fmt.Errorf("%q is negative", s)
	}
	*n = number(v)
	return err
}

type perhaps rows.Number

func (n *perhaps) String() string     { return rows.Number(*n).String() }
func (n *perhaps) Set(s string) error { return (*rows.Number)(n).UnmarshalCSV(s) }

type moment time.Time

func (m *moment) String() string {
	s, _ := rows.Timestamp{Time: time.Time(*m)}.MarshalCSV()
	return s
}

func (m *moment) Set(s string) error {
	var t rows.Timestamp
	err := t.UnmarshalCSV(s)
	*m = moment(t.Time)
	return err
}

type yes bool

func (y *yes) String() string {
	if *y {
		return "yes"
	}
	return ""
}

func (y *yes) Set(s string) error {
	*y = s == "yes"
	return nil
}

// fields are what the book keeps of a storm.
func (s *storm) fields() []field {
	all := []field{
		{"host", (*text)(&s.host)}, {"user", (*text)(&s.user)}, {"uid", (*text)(&s.uid)},
		{"account", (*text)(&s.account)}, {"proc", (*text)(&s.proc)},
		{"first_seen", (*moment)(&s.since)}, {"last_seen", (*moment)(&s.seen)}, {"over", (*moment)(&s.over)},
		{"in_a_row", (*number)(&s.inARow)}, {"missed", (*number)(&s.missed)},
		{"count", (*number)(&s.count)}, {"peak", (*number)(&s.peak)}, {"recent", (*perhaps)(&s.recent)},
		{"actions", (*text)(&s.actions)},
		{"killed_in_all", (*number)(&s.total)}, {"kill_runs", (*number)(&s.kills)}, {"first_kill", (*moment)(&s.firstKill)},
		{"killed", (*perhaps)(&s.killed)}, {"remaining", (*perhaps)(&s.remaining)},
		{"unsure", (*yes)(&s.unsure)}, {"untold_kill", (*yes)(&s.acted)},
		{"archived", (*text)(&s.archived)}, {"notes", (*text)(&s.notes)}, {"errors", (*text)(&s.errors)},
		{"known_copies", (*text)(&s.copies)}, {"known_errors", (*text)(&s.failures)},
		{"severity", (*text)(&s.graded)},
	}
	return slices.Concat(all, s.mail.fields("mail"), s.page.fields("page"), s.alert.fields("alert"))
}

func (t *told) fields(way string) []field {
	return []field{
		{way + "_news", (*text)(&t.news)}, {way + "_sending", (*text)(&t.sending)},
		{way + "_taken", (*moment)(&t.at)}, {way + "_count", (*number)(&t.count)},
	}
}

func (w *way) fields() []field {
	return []field{
		{"id", (*text)(&w.id)}, {"message", (*quoted)(&w.message)}, {"made", (*moment)(&w.made)}, {"tries", (*number)(&w.tries)},
		{"failing_since", (*moment)(&w.failing)},
		{"tried", (*moment)(&w.tried)}, {"said", (*moment)(&w.said)},
	}
}

// columns are those of the book's table: what a line is about, then all fields.
var columns = func() (names []string) {
	names = []string{"what"}
	for _, f := range append(new(storm).fields(), new(way).fields()...) {
		names = append(names, f.column)
	}
	return names
}()

// What a line of the table is about.
const (
	aStorm  = "storm"
	aFault  = "input" // which couldn't be read
	aMail   = "mail"  // how the way to tell by mail does
	aPage   = "page"
	anAlert = "alertmanager"
)

// encode returns the table.
func (b *book) encode() (table [][]string) {
	line := func(what string, fields []field) {
		cells := make([]string, len(columns))
		cells[0] = what
		for _, f := range fields {
			cells[slices.Index(columns, f.column)] = f.value.String()
		}
		table = append(table, cells)
	}
	if b.mail != (way{}) {
		line(aMail, b.mail.fields())
	}
	if b.page != (way{}) {
		line(aPage, b.page.fields())
	}
	if b.alerts != (way{}) {
		line(anAlert, b.alerts.fields())
	}
	for _, s := range b.storms {
		what := aStorm
		if s.input {
			what = aFault
		}
		line(what, s.fields())
	}
	return table
}

// decode reads a table. A line that can't be read is left out, and an error.
func decode(table [][]string) (b book, err error) {
	for _, cells := range table {
		var s storm
		var w way
		fields := s.fields()
		if cells[0] == aMail || cells[0] == aPage || cells[0] == anAlert {
			fields = w.fields()
		}
		fault := error(nil)
		for _, f := range fields {
			if wrong := f.value.Set(cells[slices.Index(columns, f.column)]); wrong != nil {
				fault = fmt.Errorf("%s: %w", f.column, wrong)
			}
		}
		if w.id != "" && !messageID.MatchString(w.id) {
			fault = fmt.Errorf("%q is no id", clip(w.id, 80))
		}
		if w.message == "" {
			w.id = "" // it can't go again as it was
		}
		switch {
		case fault != nil:
			err = fault
		case cells[0] == aMail:
			b.mail = w
		case cells[0] == aPage:
			b.page = w
		case cells[0] == anAlert:
			b.alerts = w
		case cells[0] == aStorm, cells[0] == aFault:
			s.input = cells[0] == aFault
			b.storms = append(b.storms, &s)
		default:
			err = fmt.Errorf("%q is nothing that is kept", cells[0])
		}
	}
	for _, s := range b.storms { // what no message is about isn't on its way
		if b.mail.id == "" {
			s.mail.turnBack()
		}
		if b.page.id == "" {
			s.page.turnBack()
		}
	}
	return b, err
}

// messageID is what an id may be: RFC 5322, 3.6.4, by and large.
var messageID = regexp.MustCompile(`^<[!-;=?-~]{1,250}>$`)

// save writes the book. Where it is too large, what is least bad goes.
func (b *book) save(table *state.Table) error {
	if len(b.storms) > mostStorms {
		b.keepWorst(mostStorms)
	}
	lines := b.encode()
	for size(lines) > state.MaxSize {
		b.keepWorst(len(b.storms) / 2)
		lines = b.encode()
	}
	return table.Write(lines)
}

func (b *book) keepWorst(n int) {
	slices.SortStableFunc(b.storms, compare)
	b.storms = b.storms[:n]
}

// size returns what a table takes at most, in bytes: quotes are doubled.
func size(lines [][]string) (size int) {
	for _, cells := range lines {
		for _, cell := range cells {
			size += len(cell) + strings.Count(cell, `"`) + len(`"",`)
		}
	}
	return size
}

// rules are when a storm of a book is told.
type rules struct {
	repeat    time.Duration // how often at most, when nothing is new; 0 is in every run
	after     int64         // runs in a row that it must have been there
	overAfter int64         // whole runs without it, and it is over
}

// silence is how long nothing may be heard of a host before its storms are taken
// off the book.
const silence = 24 * time.Hour

// learn adds what a run has found.
func (b *book) learn(r *batch, o rules, now time.Time) {
	lasting := map[key]*storm{}
	for _, s := range b.storms {
		if s.over.IsZero() {
			lasting[s.key()] = s
		}
	}
	for k, found := range r.storms {
		s := lasting[k]
		if s == nil && found.quiet {
			continue
		}
		if s == nil {
			s = &storm{input: found.input, since: now}
			b.storms = append(b.storms, s)
		}
		s.see(found, o, now)
	}
	b.storms = slices.DeleteFunc(b.storms, func(s *storm) bool {
		return s.over.IsZero() && !s.here && s.missedBy(r, o, now)
	})
}

// see adds what a run has found of the storm.
func (s *storm) see(found *storm, o rules, now time.Time) {
	was := *s
	s.due = ""
	news := s.absorb(found, now)
	s.here, s.quiet, s.seen, s.missed = true, found.quiet, now, 0
	s.inARow++
	if s.quiet { // it lasts, but this row alone would be worth no message
		s.inARow, news = 0, nil
	}
	if found.acted || s.killed != was.killed || s.remaining != was.remaining || s.peak > was.peak || s.archived != was.archived || s.errors != was.errors {
		news = append(news, moreSince)
	}
	for _, t := range s.ways() {
		switch {
		case t == &s.page && !s.isDue("page"):
		case t.begun():
			t.add(news...)
			if t.news == moreSince && t.sending == "" {
				t.news = "" // there is no message that it could be missing from
			}
			if t.count > 0 && !s.quiet && s.count >= 2*t.count {
				t.add("doubled")
			}
		case s.quiet:
		case s.inARow >= o.after || slices.Contains(news, "killed") || slices.Contains(news, "failed"):
			t.add("new")
		}
	}
}

// missedBy takes note of a run without the storm, and reports whether there is
// nothing to remember of it any more. A run counts that was whole and in which
// something was heard of the storm's host.
func (s *storm) missedBy(r *batch, o rules, now time.Time) (forget bool) {
	counts := r.whole && (r.hosts[s.host] || s.input)
	if counts {
		s.missed++
		s.inARow = 0
	}
	// A run that counts breaks the silence, however far the clock has jumped.
	if s.missed < o.overAfter && (counts || now.Sub(s.seen) < silence) {
		return false
	}
	s.over = now
	forget = true
	for _, t := range s.ways() {
		if t.begun() {
			t.add("over")
			forget = false
		}
	}
	return forget
}

// ways returns how far the storm has been told in each.
func (s *storm) ways() []*told { return []*told{&s.mail, &s.page, &s.alert} }

// repeatable reports whether the time has come to tell a storm again of which
// nothing is new. A twentieth of it may be missing, for cron isn't punctual; a time
// in the future is one of a clock that was wrong.
func (o rules) repeatable(t *told, now time.Time) bool {
	since := now.Sub(t.at)
	return !t.at.IsZero() && (since < 0 || since >= o.repeat-o.repeat/20)
}

// isUntold reports whether there is anything to tell of a storm that lasts, with
// nothing new.
func (c *channel) isUntold(s *storm) bool {
	here := s.here && !s.quiet
	if c.page {
		return here && s.isDue("page")
	}
	return here || s.acted || s.archived != "" || s.errors != ""
}

// due returns the storms of the message that is to be made now, and marks them as on
// their way. There is none while another is on its way that is to go again, or to be
// waited for; where there is news it gives way to one that tells all.
func (b *book) due(c *channel, o rules, now time.Time) (due []*storm) {
	urges, more := false, false
	for _, s := range b.storms {
		t := c.of(s)
		if t.news == "" && t.sending == "" && s.over.IsZero() && c.isUntold(s) && o.repeatable(t, now) {
			t.add("again")
		}
		urges = urges || t.urges()
		more = more || t.sending != "" && t.news != ""
	}
	w := c.way
	if w.id != "" {
		more = more || now.Sub(w.made) >= o.repeat // what lasts is told as it is now
		if !w.waited(retryPause, now) || !urges && (!more || !w.waited(w.pause(o), now)) {
			return nil
		}
		if urges {
			w.tries = 0
		}
		for _, s := range b.storms {
			c.of(s).turnBack()
		}
	}
	for _, s := range b.storms {
		if t := c.of(s); t.urges() {
			t.sending, t.news, t.count = t.news, "", s.count
			s.telling = t.sending
			due = append(due, s)
		}
	}
	return due
}

// waited reports whether the last try is so long ago. One in the future is of a
// clock that was wrong.
func (w *way) waited(pause time.Duration, now time.Time) bool {
	since := now.Sub(w.tried)
	return since < 0 || since >= pause
}

// pause returns how long a message that wasn't taken isn't tried again, while nothing
// is new: a mailer that delivers and then fails would deliver each time.
func (w *way) pause(o rules) time.Duration {
	pause := retryPause
	for n := int64(1); n < w.tries && pause < longestPause; n++ {
		pause *= 2
	}
	return min(pause, max(retryPause, min(o.repeat, longestPause)))
}

// taken takes note that the message has arrived. What has come up since it was made is
// still to be told, with all that belongs to it.
func (b *book) taken(c *channel, now time.Time) {
	for _, s := range b.storms {
		t := c.of(s)
		if t.sending == "" {
			continue
		}
		t.sending, t.at = "", now
		if c.settles && t.news == "" {
			s.settle()
		}
		if t.news == moreSince {
			t.news = "" // it has its time, as all that lasts
		}
	}
	*c.way = way{}
}

// turnBack makes news again of what was on its way.
func (t *told) turnBack() {
	news := t.news
	t.news, t.sending = t.sending, ""
	t.add(strings.Fields(news)...)
}

// forget drops the storms that are over and told.
func (b *book) forget(channels []*channel) {
	b.storms = slices.DeleteFunc(b.storms, func(s *storm) bool {
		for _, c := range channels {
			if t := c.of(s); t.news != "" || t.sending != "" {
				return false
			}
		}
		return !s.over.IsZero()
	})
}
