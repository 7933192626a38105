//go:build linux

package stormcheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"stormcheck/pkg/rows"
)

// longestRecord is the longest record that a filter of the suite reads, in bytes.
const longestRecord = 1 << 20

// A relay passes the records of the last filter on to alertmail, whole ones only,
// so that it can add a row of its own between two.
type relay struct {
	out  io.Writer
	beat func()    // called when a snapshot has passed as a whole
	tap  io.Writer // gets what passes, or nil
	end  func()    // called before the header that ends a snapshot passes, or nil
	rows int       // that have passed

	mutex  sync.Mutex // of what follows
	header []string   // columns of the snapshot that is open; nil before the first
	err    error      // the first failure to write: alertmail has ended
}

// pass reads records to the end of input and passes them on. It returns an error if
// the input ends within a record, or in one that is too long; then the rest of the
// input is read, but not passed on.
func (r *relay) pass(in io.Reader) error {
	var (
		records splitter
		chunk   = make([]byte, 64<<10)
	)
	for {
		n, err := in.Read(chunk)
		whole, fault := records.add(chunk[:n])
		r.write(whole)
		switch {
		case fault != nil:
			_, _ = io.Copy(io.Discard, in)
			return fault
		case err != nil && len(records.open) > 0:
			return fmt.Errorf("the output ends within a record")
		case err != nil:
			return nil
		}
	}
}

// A passing is one chain's output on its way to alertmail.
type passing struct {
	done  chan struct{} // closed at the end of the output
	fault error         // what was wrong with it, after done
}

// result returns what was wrong with the output so far.
func (p *passing) result() error {
	select {
	case <-p.done:
		return p.fault
	default:
		return errors.New("it doesn't end")
	}
}

// start passes on what a chain writes, in a goroutine of its own.
func (r *relay) start(c *chain) *passing {
	p := &passing{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if c.out != nil {
			p.fault = r.pass(c.reader())
		}
	}()
	return p
}

// resume passes on what another chain writes; first has been read of it.
func (r *relay) resume(c *chain, first []byte) *passing {
	p := &passing{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.fault = r.pass(io.MultiReader(bytes.NewReader(first), c.reader()))
	}()
	return p
}

// to makes out the relay's output.
func (r *relay) to(out io.Writer) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.out, r.err = out, nil
}

// write passes on whole records, all of them at once if no snapshot ends among them.
func (r *relay) write(whole []byte) {
	for len(whole) > 0 {
		header, before, after := cutHeader(whole)
		r.rows += bytes.Count(before, []byte{'\n'})
		r.send(before)
		if header == nil {
			return
		}
		r.begin(header, whole[len(before):len(whole)-len(after)])
		whole = after
	}
}

// begin passes on a header, which ends the snapshot before it.
func (r *relay) begin(columns []string, header []byte) {
	r.mutex.Lock()
	first := r.header == nil
	r.mutex.Unlock()
	if !first && r.end != nil {
		r.end()
	}
	r.mutex.Lock()
	r.header = columns
	r.mutex.Unlock()
	r.send(header)
	if !first {
		r.beat()
	}
}

func (r *relay) send(text []byte) {
	if len(text) == 0 || r.failed() {
		return
	}
	if r.tap != nil {
		_, _ = r.tap.Write(text)
	}
	if _, err := r.out.Write(text); err != nil {
		r.mutex.Lock()
		r.err = err
		r.mutex.Unlock()
	}
}

// failed reports whether alertmail has stopped reading.
func (r *relay) failed() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.err != nil
}

// begun reports whether a header has passed.
func (r *relay) begun() bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.header != nil
}

// gap adds a row to the snapshot that is open: rows of this host are missing, and
// reason is why, with the stage's name first. Only the caller of pass may call it,
// between two calls or after them.
func (r *relay) gap(host, reason string, now time.Time) {
	var text bytes.Buffer
	w := rows.NewWriter(&text)
	r.mutex.Lock()
	if !slices.Contains(r.header, rows.Errors.String()) { // none has passed, or an own filter leaves columns out
		r.header = rows.Header(rows.AllColumns)
		_ = w.Write(r.header) // a Buffer takes all
	}
	columns := r.header
	r.mutex.Unlock()
	tool, what, _ := strings.Cut(reason, ": ")
	row := rows.NewGap(now, host, tool, what)
	cells := make([]string, len(columns))
	for column, cell := range map[rows.Column]string{
		rows.Time: now.UTC().Format(time.RFC3339), rows.Host: row.Host, rows.User: row.User, rows.Proc: row.Proc,
		rows.Count: row.Count.String(), rows.Errors: row.Errors,
	} {
		if i := slices.Index(columns, column.String()); i >= 0 {
			cells[i] = cell
		}
	}
	_ = w.Write(cells)
	w.Flush()
	r.send(text.Bytes())
}

// cutHeader finds the first header among whole records. Without one it returns nil
// and all of them.
func cutHeader(whole []byte) (columns []string, before, after []byte) {
	var records splitter
	for at := 0; at < len(whole); {
		end := at + records.end(whole[at:])
		if columns := rows.ParseHeader(whole[at:end]); columns != nil {
			return columns, whole[:at], whole[end:]
		}
		at = end
	}
	return nil, whole, nil
}

// A splitter finds the ends of records: a line end, unless it is within quotes.
type splitter struct {
	open []byte // the beginning of a record
	at   quotes
}

// quotes is where within a record's cells the next byte stands.
type quotes int

const (
	atStart  quotes = iota // of a cell
	unquoted               // within a cell without quotes: one in the middle is a character
	inQuotes               // within quotes
	closed                 // after a quote within quotes: the end, or half of a quote
)

// next takes a byte, and reports whether it ends a record.
func (q *quotes) next(c byte) bool {
	switch {
	case *q == inQuotes:
		if c == '"' {
			*q = closed
		}
		return false
	case c == '\n':
		*q = atStart
		return true
	case c == ',':
		*q = atStart
	case c == '"' && (*q == atStart || *q == closed):
		*q = inQuotes
	default:
		*q = unquoted
	}
	return false
}

// end returns the length of the first record of text, or that of text.
func (s *splitter) end(text []byte) int {
	for i, c := range text {
		if s.at.next(c) {
			return i + 1
		}
	}
	return len(text)
}

// add takes bytes, and returns the records that are whole with them. They are valid
// until the next call.
func (s *splitter) add(text []byte) (whole []byte, err error) {
	length := 0
	for i, c := range text {
		if s.at.next(c) {
			length = i + 1
		}
	}
	if length > 0 {
		whole = append(s.open, text[:length]...)
		s.open = nil
	}
	if s.open = append(s.open, text[length:]...); len(s.open) > longestRecord {
		return whole, fmt.Errorf("a record of over %d bytes", longestRecord)
	}
	return whole, nil
}

// gapHost returns the host of the rows that procstat writes now.
func gapHost(procstat stage) string {
	host := procstat.value("--host", "")
	if host == "" {
		host, _ = os.Hostname()
	}
	return rows.Escape(strings.TrimSpace(host))
}
