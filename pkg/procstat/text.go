package procstat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"stormcheck/pkg/rows"
)

// maxLine is the longest line of text, in bytes.
const maxLine = 64 << 10

// maxBanner is how many lines, such as a banner of ssh, may stand before the header.
const maxBanner = 100

// A textReader counts the processes in text of ps: "ps -eo user,comm" and
// "ps -eo pid,user,comm", either with stat before comm, with its header, or the first
// through "sort | uniq -c". A header that comes again begins a new snapshot.
type textReader struct {
	Options
	in     *bufio.Reader
	number int // of the line that was read last
}

func newTextReader(o Options) *textReader {
	return &textReader{Options: o, in: bufio.NewReaderSize(o.Text, maxLine)}
}

// each passes every snapshot to take.
func (r *textReader) each(take func(scan) error) error {
	form, counted, err := r.readHead()
	switch {
	case err != nil:
		return err
	case form == nil:
		return r.takeCounted(counted, take)
	}
	for more := true; more; {
		if more, err = r.takeSnapshot(form, take); err != nil {
			return err
		}
	}
	return nil
}

// takeSnapshot counts the lines up to the next header. more says that there is one.
func (r *textReader) takeSnapshot(form *form, take func(scan) error) (more bool, err error) {
	start, counts := r.Now(), map[key]*tally{}
	for !more {
		line, err := r.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
		if more = line == form.header; more {
			break
		}
		k, t, err := form.process(line)
		if err != nil {
			r.Report(r.where(r.number, err))
			continue
		}
		if counts[k] == nil {
			counts[k] = &tally{}
		}
		counts[k].add(&t)
	}
	return more, take(r.scan(start, counts, form.stated))
}

func (r *textReader) scan(start time.Time, counts map[key]*tally, stated bool) scan {
	var byName map[key]int64
	if r.Metrics != "" {
		byName = largest((&census{counts: counts}).byComm())
	}
	all := r.cut(counts)
	var found []rows.Row
	for k, t := range counts {
		row := rows.Row{User: rows.EscapeName(k.user), Proc: k.proc(), Count: rows.Known(t.count)}
		if stated {
			row.Zombies = rows.Known(t.zombies)
		}
		found = append(found, row)
	}
	finished := r.finish(start, all, found)
	finished.series = seriesOf(byName, func(k key) string { return k.user })
	return finished
}

// A countedLine is a line of uniq -c.
type countedLine struct {
	number int
	count  int64
	text   string
}

// readHead reads up to ps's header. If there is none it returns all lines, each of which
// uniq -c can have printed.
func (r *textReader) readHead() (*form, []countedLine, error) {
	var (
		counted []countedLine
		unfit   error // the first line that uniq -c can't have printed
		banner  int
		seen    = map[string]bool{}
	)
	for {
		line, err := r.line()
		switch {
		case err == io.EOF && r.number == 0:
			return nil, nil, fmt.Errorf("%s: %w", r.TextName, rows.ErrEmpty)
		case err == io.EOF:
			return nil, counted, unfit
		case err != nil:
			return nil, nil, err
		}
		if form := formOf(line); form != nil {
			return form, nil, nil
		}
		count, text, err := splitCount(line)
		if err == nil && !seen[text] {
			counted = append(counted, countedLine{r.number, count, text})
			seen[text] = true
			continue
		}
		if err == nil {
			err = errTwice(text)
		}
		if unfit == nil {
			unfit = r.where(r.number, err)
		}
		if banner++; banner > maxBanner {
			return nil, nil, unfit
		}
	}
}

func errTwice(text string) error {
	return fmt.Errorf("%q a second time: this is no output of sort | uniq -c, and ps's header is missing", text)
}

// takeCounted counts lines of uniq -c. Anything that uniq -c can't have printed spoils
// all: the first number may be a PID then.
func (r *textReader) takeCounted(lines []countedLine, take func(scan) error) error {
	start := r.Now()
	form, err := r.countedForm(lines)
	if err != nil {
		return err
	}
	counts := map[key]*tally{}
	for _, line := range lines {
		if line.text == form.header {
			continue
		}
		k, t, err := form.process(line.text)
		if err != nil {
			r.Report(r.where(line.number, err))
			continue
		}
		if counts[k] != nil {
			return r.where(line.number, errTwice(line.text))
		}
		t.count = line.count
		counts[k] = &t
	}
	return take(r.scan(start, counts, false))
}

// countedForm returns the form of lines of uniq -c: sort leaves ps's header anywhere
// among them, or it has been cut off.
func (r *textReader) countedForm(lines []countedLine) (*form, error) {
	for _, line := range lines {
		if form := formOf(line.text); form != nil {
			if form.stated || form.numbered {
				return nil, r.where(line.number, fmt.Errorf("%q: only ps -eo user,comm is read through uniq -c", line.text))
			}
			return form, nil
		}
	}
	return &form{}, nil
}

// splitCount reads a line as uniq -c prints it: blanks, a number, one blank, the line.
func splitCount(line string) (count int64, text string, err error) {
	number, text, found := strings.Cut(strings.TrimLeft(line, " "), " ")
	if found {
		count, err = rows.ParseNumber(number)
	}
	if !found || err != nil || count == 0 || strings.TrimSpace(text) == "" {
		return 0, "", fmt.Errorf("%q is neither a header of ps -eo user:64,stat,comm nor a line of uniq -c", line)
	}
	return count, text, nil
}

// line returns the next line. What stands behind the last newline is reported, for it
// may have been cut.
func (r *textReader) line() (string, error) {
	text, err := r.in.ReadSlice('\n')
	switch {
	case err == io.EOF && len(text) == 0:
		return "", io.EOF
	case err == io.EOF:
		r.number++
		r.Report(r.where(r.number, errors.New("the last line is cut")))
		return "", io.EOF
	case err == bufio.ErrBufferFull:
		return "", r.where(r.number+1, fmt.Errorf("line over %d bytes", maxLine))
	case err != nil:
		return "", r.where(r.number+1, err)
	}
	r.number++
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

func (r *textReader) where(number int, err error) error {
	return fmt.Errorf("%s:%d: %w", r.TextName, number, err)
}

// A form is what a header of ps says of the lines below it. The zero form is that of
// lines whose header is missing: the user is the first word.
type form struct {
	header   string
	numbered bool // with a PID
	stated   bool // with a state
	// Where columns begin, in characters.
	user, state, command int
}

// formOf returns the form of a header, or nil if the line is none.
func formOf(line string) *form {
	words := strings.Fields(line)
	switch strings.Join(words, " ") {
	case "USER COMMAND", "PID USER COMMAND", "USER STAT COMMAND", "PID USER STAT COMMAND",
		"USER COMM", "PID USER COMM", "USER STAT COMM", "PID USER STAT COMM",
		"USER S COMMAND", "PID USER S COMMAND":
	default:
		return nil
	}
	f := &form{header: line, numbered: words[0] == "PID", user: offset(line, "USER")}
	f.command = offset(line, words[len(words)-1])
	if state := words[len(words)-2]; state != "USER" {
		f.stated = true
		f.state = offset(strings.Replace(line, "USER", "    ", 1), state)
	}
	return f
}

// offset returns where a word begins, in characters.
func offset(line, word string) int { return utf8.RuneCountInString(line[:strings.Index(line, word)]) }

// process reads the line of one process.
func (f *form) process(line string) (k key, t tally, err error) {
	user, name, err := f.split(line)
	if err != nil {
		return k, t, err
	}
	t.count = 1
	if f.numbered {
		var pid string
		if pid, user, err = firstWord(user); err == nil {
			_, err = rows.ParseNumber(pid)
		}
		if err != nil {
			return k, t, err
		}
	}
	state := ""
	if f.stated {
		if user, state, err = lastWord(user); err != nil {
			return k, t, err
		}
		if !isState(state) {
			return k, t, fmt.Errorf("%q is no state", state)
		}
	}
	switch user = strings.TrimSpace(user); {
	case user == "":
		return k, t, fmt.Errorf("%q has no user", line)
	case strings.HasSuffix(user, "+"):
		return k, t, fmt.Errorf("user %q is cut: use ps -eo user:64", user)
	case strings.Contains(user, "  ") || strings.Contains(user, "\t"):
		return k, t, fmt.Errorf("%q doesn't fit the header's columns", line)
	}
	// A zombie is one whose other threads have ended too, as in the table. ps adds a
	// word to the name of either; a name that holds the word itself is 15 bytes at
	// most, and its process is of the same user.
	if state != "" && (state[0] == 'Z' || state[0] == 'X') && !strings.Contains(state, "l") {
		t.zombies = 1
	}
	if state == "" || state[0] == 'Z' {
		name = strings.TrimSuffix(name, " <defunct>")
	}
	return key{user: user, name: name}, t, nil
}

// split divides a line where the name begins: below its header, with a blank before it.
// A PID and a state that are too long for their columns move what follows, as in ps of
// busybox and procps; nothing else does.
func (f *form) split(line string) (before, name string, err error) {
	if f.header == "" {
		return firstWord(line)
	}
	moved := 0
	if f.numbered {
		digits := strings.TrimLeft(strings.TrimLeft(line, " "), "0123456789")
		moved = max(0, utf8.RuneCountInString(line)-utf8.RuneCountInString(digits)+1-f.user)
	}
	at, ok := byteOffset(line, f.command+moved)
	if !ok {
		return "", "", fmt.Errorf("%q has no process name", line)
	}
	fits := isBlank(line[at-1])
	if f.stated {
		from, _ := byteOffset(line, f.state+moved)
		state, _, found := strings.Cut(line[from:], " ")
		if end := from + len(state); found && end >= at && isState(state) {
			at, fits = end+1, true
		}
		fits = fits && isBlank(line[from-1])
	}
	if !fits {
		return "", "", fmt.Errorf("%q doesn't fit the header's columns", line)
	}
	return line[:at], line[at:], nil
}

// byteOffset returns the offset in bytes of one in characters.
func byteOffset(line string, characters int) (at int, ok bool) {
	for ; characters > 0; characters-- {
		if at == len(line) {
			return 0, false
		}
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	return at, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isState reports whether a word may be a process state with its flags: S, Ssl+, R<N.
func isState(word string) bool {
	return word != "" && 'A' <= word[0] && word[0] <= 'Z' && len(word) <= 10 &&
		strings.IndexFunc(word, func(r rune) bool { return !('a' <= r|0x20 && r|0x20 <= 'z' || r == '<' || r == '>' || r == '+') }) < 0
}

// firstWord divides text behind its first word.
func firstWord(text string) (word, rest string, err error) {
	text = strings.TrimLeft(text, " \t")
	end := strings.IndexAny(text, " \t")
	if end <= 0 {
		return "", "", fmt.Errorf("%q has no process name", text)
	}
	return text[:end], strings.TrimLeft(text[end:], " \t"), nil
}

// lastWord divides text before its last word.
func lastWord(text string) (rest, word string, err error) {
	text = strings.TrimRight(text, " \t")
	start := strings.LastIndexAny(text, " \t") + 1
	if start == 0 {
		return "", "", fmt.Errorf("%q has no user", text)
	}
	return text[:start], text[start:], nil
}
