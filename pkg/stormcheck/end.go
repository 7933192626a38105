//go:build linux

package stormcheck

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// A storm is what --end names: one account's processes of one name.
type storm struct{ user, proc string } // as the stream has them

func (s storm) String() string { return s.user + " " + s.proc }

// parseStorm reads USER/PROC. The first slash divides.
func parseStorm(text string) (storm, error) {
	user, name, divided := strings.Cut(text, "/")
	if !divided || user == "" {
		return storm{}, fmt.Errorf("%q is not USER/PROC", text)
	}
	for _, cell := range []string{user, name} {
		if _, err := rows.Unescape(cell); err != nil {
			return storm{}, fmt.Errorf("%w: write it as procstat does", err)
		}
	}
	if user == "*" || name == "*" {
		return storm{}, fmt.Errorf("%q: USER and PROC are exact names, no patterns", text)
	}
	return storm{user, name}, nil
}

// An ending is one --end.
type ending struct {
	storm
	settings Settings
	dry      bool
	out      io.Writer // for the result, and on a terminal the question
	report   func(string)
}

// runEnd ends a storm now, whatever the limits and KILL say. yes answers the question
// beforehand. What a stage writes to standard error is passed on unchanged.
func runEnd(name storm, dry, yes bool, out, stderr io.Writer, report func(error)) error {
	if !yes && !dry && !isTerminal(os.Stdin) {
		return filter.Usagef("--end: standard input is no terminal, so nobody can be asked: add --yes")
	}
	if !dry {
		proc.RaisePriority()
		held, err := lockFor(endLockPath())
		if errors.Is(err, errHeld) {
			return errors.New("another --end is under way")
		}
		if err != nil {
			return err
		}
		defer held.Close()
	}
	proc.MakeThreads()
	e := ending{storm: name, settings: readSettings(Conf), dry: dry, out: out}
	e.report = func(line string) {
		if !strings.Contains(line, ": <stdin>:") { // what a row says, outcome says
			fmt.Fprintln(stderr, line)
		}
	}
	if len(e.settings.Faults) > 0 {
		// One of them may be the line that protects this account.
		for _, fault := range e.settings.Faults {
			report(fault)
		}
		return filter.ErrUnfit
	}
	found, err := e.find()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("%s has no process named %q", name.user, name.proc)
	}
	if !dry && !yes && !e.confirm(found) {
		return errors.New("nothing is ended")
	}
	return e.end(found)
}

// find looks for the storm in a snapshot of this machine.
func (e *ending) find() (found []rows.Row, err error) {
	s := e.settings.stage("procstat", nil, mode{})
	s.args = without(s.args, "--min", "--every", "--metrics", "--input", "--host") // all its processes here, now
	s.args = slices.DeleteFunc(s.args, func(arg string) bool { return arg == "--total" })
	l := newLedger(func(r *rows.Record) {
		row, rowErr := r.Row()
		if rowErr == nil && row.User == e.user && row.Proc == e.proc {
			found = append(found, row)
		}
	})
	c := startChain([]stage{s}, nil, e.report)
	defer c.close()
	if c.out == nil {
		return nil, errors.New(c.unstarted)
	}
	w := e.watch(&mail{})
	w.chain = c
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(l, c.reader())
		l.Close()
	}()
	w.until(copied)
	w.until(c.ended())
	if w.phase == abandoned {
		return nil, filter.ErrFailed
	}
	if failure := c.processes[0].failure(); failure != "" && len(found) == 0 {
		return nil, fmt.Errorf("procstat: %s", failure) // it has said why
	}
	return found, nil
}

// without returns arguments without these flags and their values.
func without(args []string, flags ...string) (kept []string) {
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		switch {
		case !slices.Contains(flags, name):
			kept = append(kept, args[i])
		case !joined:
			i++
		}
	}
	return kept
}

// confirm shows what would be ended, and asks.
func (e *ending) confirm(found []rows.Row) bool {
	for _, row := range found {
		oldest := ""
		if !row.Oldest.IsZero() {
			oldest = ", the oldest since " + row.Oldest.Local().Format("Jan _2 15:04:05")
		}
		fmt.Fprintf(e.out, "%s %s: %d processes%s\n", row.User, row.Proc, row.Count.N, oldest)
	}
	fmt.Fprint(e.out, "archive the mail and end them? [y/N] ")
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// end takes the rows through mailarchive, killstorm and alertmail, and says what came
// of it. It returns nil only if none is left.
func (e *ending) end(found []rows.Row) error {
	stages := []stage{e.forced("mailarchive"), e.forced("killstorm")}
	alertmail, in, err := startMail(e.settings.stage("alertmail", nil, mode{dry: e.dry}), int(os.Stdout.Fd()), e.report)
	if err != nil { // the storm ends all the same
		e.say("alertmail: not started: %v", err)
	}
	m := &mail{process: alertmail}
	var left []string
	l := newLedger(func(r *rows.Record) {
		if what := e.outcome(r); what != "" {
			left = append(left, what)
		}
	})
	relay := &relay{out: l, beat: func() {}}
	if in != nil {
		relay.out = io.MultiWriter(l, in)
	}
	w := e.watch(m)
	passed := e.pass(stages, found, relay, w)
	l.Close()
	if in != nil {
		in.Close()
		w.until(m.ended())
	}
	switch {
	case w.phase == abandoned:
		return filter.ErrFailed
	case passed != nil:
		return passed
	case len(left) > 0:
		return errors.New(strings.Join(left, "; "))
	case alertmail == nil:
		return filter.ErrFailed
	}
	if failure := alertmail.failure(); failure != "" {
		return fmt.Errorf("alertmail: %s", failure)
	}
	return nil
}

// forced returns a stage that acts, unless this is a dry run.
func (e *ending) forced(tool string) stage {
	s := e.settings.stage(tool, nil, mode{})
	s.args = slices.DeleteFunc(s.args, func(arg string) bool { return arg == "-n" || arg == "--dry-run" })
	if e.dry {
		s.args = append(s.args, "-n")
	}
	return s
}

// pass takes the rows through the stages.
func (e *ending) pass(stages []stage, found []rows.Row, relay *relay, watch *watch) error {
	var text bytes.Buffer
	w := rows.NewWriter(&text)
	_ = w.Write(rows.Header(rows.AllColumns)) // a Buffer takes all
	for _, row := range found {
		row.Rule = row.User + "/" + row.Proc
		row.Actions = fmt.Sprintf("%s=1 %s=1 %s=1", rows.ActionAlert, rows.ActionArchive, rows.ActionKill)
		_ = rows.Encode(w, rows.AllColumns, row)
	}
	w.Flush()
	in, err := pipeOf(text.Bytes())
	if err != nil {
		return err
	}
	c := startChainFrom(in, stages, nil, e.report)
	defer c.close()
	if c.out == nil {
		return errors.New(c.unstarted)
	}
	watch.chain = c
	passed := relay.start(c)
	watch.until(passed.done)
	watch.until(c.ended())
	for _, p := range c.processes {
		if p.failure() != "" && p.failure() != "status 1" { // then its rows say why
			return fmt.Errorf("%s: %s", p.name, p.failure())
		}
	}
	return passed.result()
}

// say reports a line of stormcheck's own.
func (e *ending) say(format string, args ...any) {
	e.report("stormcheck: " + rows.Printable(fmt.Sprintf(format, args...)))
}

// watch returns what ends the stages, which are still to be set, at the deadline of a run.
func (e *ending) watch(m *mail) *watch {
	return &watch{say: e.say, stopped: new(string), chain: &chain{}, mail: m, timer: time.NewTimer(RunDeadline)}
}

// outcome prints what became of a row, and returns why some processes are left, or "".
func (e *ending) outcome(r *rows.Record) string {
	row, err := r.Row()
	if err != nil {
		return err.Error()
	}
	name := row.User + " " + row.Proc
	var reasons []string
	for _, m := range append(r.Messages(rows.Notes), r.Messages(rows.Errors)...) {
		if m.Tool == "killstorm" {
			reasons = append(reasons, rows.Prose(m.Text))
		}
	}
	if row.Archived != "" {
		fmt.Fprintf(e.out, "saved %s\n", strings.ReplaceAll(row.Archived, ":", " and "))
	}
	for _, m := range r.Messages(rows.Errors) {
		if m.Tool == "mailarchive" {
			fmt.Fprintf(e.out, "mail not saved: %s\n", rows.Prose(m.Text))
		}
	}
	why := strings.Join(reasons, "; ")
	switch {
	case e.dry:
		fmt.Fprintf(e.out, "%s: %s\n", name, why)
		return ""
	case row.Remaining.Known && row.Remaining.N == 0:
		fmt.Fprintf(e.out, "killed %d %s, none is left\n", row.Killed.N, name)
		return ""
	case row.Killed.Known && row.Killed.N > 0:
		return fmt.Sprintf("killed %d %s, %d are left: %s", row.Killed.N, name, row.Remaining.N, why)
	}
	for _, m := range r.Messages(rows.Notes) {
		if n, _, subsided := rows.ParseSubsided(m.Text); subsided && n == 0 {
			fmt.Fprintf(e.out, "%s: all have ended by themselves\n", name)
			return ""
		}
	}
	return fmt.Sprintf("%s: not ended: %s", name, why)
}

// pipeOf returns the reading end of a pipe that holds a text, which must not be longer
// than a pipe holds.
func pipeOf(text []byte) (int, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return -1, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(ends[1])
	if err := unix.SetNonblock(ends[1], true); err == nil {
		if n, err := unix.Write(ends[1], text); err != nil || n < len(text) {
			unix.Close(ends[0])
			return -1, errors.New("more rows than a pipe holds")
		}
	}
	return ends[0], nil
}
