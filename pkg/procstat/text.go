package procstat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"stormcheck/pkg/rows"
)

// maxLine is the longest line of text, in bytes.
const maxLine = 64 << 10

// A form is what stands before the process name in each line of a text.
type form struct {
	words   []string // as ps calls them in its header, without the name's
	counted bool     // lines of uniq -c: the first word is a count
}

// fromText counts the processes in text of ps: "ps -eo user,comm" and
// "ps -eo pid,user,comm", either with stat before comm, with its header, or the
// first through "sort | uniq -c".
func fromText(o Options) (scan, error) {
	start := o.Now()
	counts := map[key]*tally{}
	in := bufio.NewReaderSize(o.Text, maxLine)
	f := &form{}
	for number := 1; ; number++ {
		where := func(err error) error { return fmt.Errorf("%s:%d: %w", o.TextName, number, err) }
		text, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF && number == 1 && len(text) == 0:
			return scan{}, fmt.Errorf("%s: %w", o.TextName, rows.ErrEmpty)
		case err == io.EOF && len(text) > 0:
			o.Report(where(errors.New("the last line is cut")))
			fallthrough
		case err == io.EOF:
			all := o.cut(counts)
			return o.finish(start, all, f.rows(counts)), nil
		case err == bufio.ErrBufferFull:
			return scan{}, where(fmt.Errorf("line over %d bytes", maxLine))
		case err != nil:
			return scan{}, where(err)
		}
		line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		words := strings.Fields(line)
		if f.words == nil {
			if f = formOf(words); f.words == nil {
				return scan{}, where(fmt.Errorf("%q is neither a header of ps nor a line of uniq -c", line))
			}
			if !f.counted {
				continue
			}
		}
		if f.counted && len(words) == 3 && words[1] == "USER" && formOf(words[1:]).words != nil {
			continue // ps's header, somewhere in the sorted lines
		}
		if err := f.count(counts, line); err != nil {
			o.Report(where(err))
		}
	}
}

// formOf tells the form by the first line's words: the zero form where it is none.
func formOf(words []string) *form {
	switch strings.Join(words, " ") {
	case "USER COMMAND", "PID USER COMMAND", "USER STAT COMMAND", "PID USER STAT COMMAND",
		"USER COMM", "PID USER COMM", "USER STAT COMM", "PID USER STAT COMM",
		"USER S COMMAND", "PID USER S COMMAND":
		return &form{words: words[:len(words)-1]}
	}
	if len(words) >= 2 {
		if _, err := rows.ParseNumber(words[0]); err == nil {
			return &form{words: []string{"COUNT", "USER"}, counted: true}
		}
	}
	return &form{}
}

// count adds a line to the counts.
func (f *form) count(counts map[key]*tally, line string) error {
	k, t, rest := key{}, tally{count: 1}, line
	for _, word := range f.words {
		rest = strings.TrimLeft(rest, " \t")
		n := strings.IndexAny(rest, " \t")
		if n <= 0 {
			return fmt.Errorf("%q has no process name", line)
		}
		text := rest[:n]
		rest = rest[n:]
		var err error
		switch word {
		case "COUNT":
			t.count, err = rows.ParseNumber(text)
		case "PID":
			_, err = rows.ParseNumber(text)
		case "USER":
			k.user = text
			if strings.HasSuffix(text, "+") {
				err = fmt.Errorf("user %q is cut: use ps -eo user:64", text)
			}
		default: // STAT, S
			if text[0] == 'Z' {
				t.zombies = 1
			}
			if c := text[0] | 0x20; c < 'a' || c > 'z' {
				err = fmt.Errorf("%q is no state", text)
			}
		}
		if err != nil {
			return err
		}
	}
	k.comm = strings.TrimLeft(rest, " \t")
	if t.zombies > 0 {
		// What ps adds to a zombie's name. Where no state says so it stays: anybody
		// can name a process like that.
		k.comm = strings.TrimSuffix(k.comm, " <defunct>")
	}
	sum := counts[k]
	if sum == nil {
		sum = &tally{}
		counts[k] = sum
	}
	sum.add(t)
	return nil
}

// rows returns the rows of what was counted.
func (f *form) rows(counts map[key]*tally) (found []rows.Row) {
	stated := slices.Contains(f.words, "STAT") || slices.Contains(f.words, "S")
	for k, t := range counts {
		row := rows.Row{User: rows.Escape(k.user), Proc: k.proc(), Count: rows.Known(t.count)}
		if stated {
			row.Zombies = rows.Known(t.zombies)
		}
		found = append(found, row)
	}
	return found
}
