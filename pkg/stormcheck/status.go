//go:build linux

package stormcheck

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/pause"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// A summary of the state, as --status shows it.
type overview struct {
	out      io.Writer
	now      time.Time
	settings Settings
	last     last // run, if it is known
	known    bool
	runs     []entry // of the last 24 h
	bad      bool    // something needs a person
}

func (o *overview) say(format string, args ...any) {
	fmt.Fprintln(o.out, rows.Printable(fmt.Sprintf(format, args...)))
}

// status writes what stormcheck is doing. It returns nil if the last run was fine, a
// snapshot has passed in the last ten minutes, and no message waits.
func status(out io.Writer, _ func(error)) error {
	o := &overview{out: out, now: time.Now(), settings: readSettings(Conf)}
	o.last, o.known = readLast()
	o.runs = readRuns(o.now)
	o.armed()
	o.storms()
	o.lastRun()
	o.lastActs()
	o.waiting()
	o.reloaded()
	o.say("runs of the last 24 h: %s", lastDay(o.runs))
	if isTerminal(os.Stdout) {
		o.plot()
	}
	if o.bad {
		return filter.ErrFailed
	}
	return nil
}

// armed says whether the next storm would be ended, and if not, why and since when.
func (o *overview) armed() {
	why, since := o.settings.disarmed(), time.Time{}
	_, stands := standingPipe()
	trouble, troubled := o.lastReload()
	switch {
	case why != "":
		since = changedAt(Conf)
		if strings.HasPrefix(why, "paused") || strings.HasPrefix(why, pausePath()) {
			since = changedAt(pausePath())
		}
	case !o.known:
		why = "nothing has run since the machine was started"
	case !stands && isStuck():
		why, since = "no run for ten minutes", o.last.begun
	case stands && trouble != inForce && troubled.After(o.last.begun):
		why, since = trouble, troubled
	case o.last.ended && o.last.status != 0:
		why, since = fmt.Sprintf("the last run ended with status %d", o.last.status), o.failingSince()
	default:
		why = (&checkup{settings: o.settings}).toothless()
	}
	if why == "" {
		o.say("ARMED")
		for _, e := range o.pauses() {
			o.say("paused until %s: %s %s", o.clock(e.Until), e.User, e.Proc)
		}
		return
	}
	if o.bad = o.bad || len(o.settings.Faults) > 0; since.IsZero() {
		o.say("NOT ARMED: %s", why)
	} else {
		o.say("NOT ARMED: %s since %s", why, o.clock(since))
	}
}

// pauses returns the pauses of single storms that hold.
func (o *overview) pauses() pause.List {
	list, _ := pause.Read(pausePath()) // a fault is the reason why nothing is armed
	return slices.DeleteFunc(list, func(e pause.Entry) bool { return !o.now.Before(e.Until) })
}

// changedAt returns when a file was last changed, zero if that is unknown.
func changedAt(path string) time.Time {
	info, err := os.Lstat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// failingSince returns when the first of the latest failed runs began: no good run has
// followed it.
func (o *overview) failingSince() time.Time {
	since := o.last.begun
	for _, e := range slices.Backward(o.runs) {
		if e.status == 0 {
			break
		}
		since = e.at
	}
	return since
}

// clock returns a local time, with its date if that isn't today's.
func (o *overview) clock(t time.Time) string {
	t = t.Local()
	if t.Year() != o.now.Year() || t.YearDay() != o.now.YearDay() {
		return t.Format("Jan _2 15:04:05")
	}
	return t.Format("15:04:05")
}

// ago returns how long ago something was, in words.
func ago(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	}
	return fmt.Sprintf("%d h ago", d/time.Hour)
}

// storms shows what reaches a limit now.
func (o *overview) storms() {
	stages := o.settings.stages(mode{dry: true})[:2]
	n := 0
	l := newLedger(func(r *rows.Record) {
		row, err := r.Row()
		if _, isGap := r.Gap(); err != nil || isGap || row.Actions == "" {
			return
		}
		if n++; n > mostShown {
			return
		}
		if n == 1 {
			o.say("now:")
		}
		o.say("%8d %s %s: %s", row.Count.N, row.User, row.Proc, row.Actions)
	})
	c := startChain(stages, nil, func(string) {})
	defer c.close()
	if c.out == nil {
		o.say("now: unknown: %s", c.unstarted)
		return
	}
	late := time.AfterFunc(tryFor, c.kill)
	defer late.Stop()
	_, _ = io.Copy(l, c.reader())
	l.Close()
	<-c.ended()
	switch cause, failed := first(c.failures("")); {
	case failed:
		o.say("now: unknown: %s", cause.cause)
	case n == 0:
		o.say("now: no limit is reached")
	case n > mostShown:
		o.say("         and %d more", n-mostShown)
	}
}

// mostShown is how many rows --status shows of a snapshot.
const mostShown = 20

// lastRun says how the last run went, and when a snapshot has passed as a whole.
func (o *overview) lastRun() {
	if !o.known {
		o.say("no run since the machine was started, or none that you may see")
		o.bad = true
		return
	}
	l, begun := o.last, o.clock(o.last.begun)
	_, stands := standingPipe()
	switch {
	case l.ended:
		o.say("last run %s: took %.0f s, status %d", begun, l.end.Sub(l.begun).Seconds(), l.status)
		o.bad = o.bad || l.status != 0
	case stands:
		o.say("stands since %s, process %d, a snapshot each %s", begun, l.pid, l.how)
	case unix.Kill(l.pid, 0) != unix.ESRCH && l.how == "once":
		o.say("a run is under way since %s, process %d", begun, l.pid)
	default:
		o.say("last run %s: died", begun)
		o.bad = true
	}
	since, known := age(heartbeatPath())
	if known {
		o.say("last whole snapshot: %s", ago(since))
	} else {
		o.say("no whole snapshot has passed yet")
	}
	o.bad = o.bad || !known || since >= stuckAfter
	if text, err := trusted.Read(said()); err == nil {
		for line := range strings.Lines(string(text)) {
			o.say("reported: %s", strings.TrimSuffix(line, "\n"))
		}
	}
}

// lastActs shows the last snapshot in which something was done, or reached a limit, of
// alertmail's log and the files that it was rotated to.
func (o *overview) lastActs() {
	path := o.settings.stage("alertmail", nil, mode{}).value("--log", "")
	if path == "" {
		o.say("what was done last is unknown: ALERTMAIL has no --log")
		return
	}
	paths, _ := trusted.Rotated(path)
	for _, path := range paths { // the newest first
		if acts := lastSnapshot(path); len(acts) > 0 {
			o.say("last that reached a limit, %s:", o.clock(acts[0].Time.Time))
			for _, row := range acts[:min(len(acts), mostShown)] {
				o.say("%8d %s %s on %s: %s", row.Count.N, row.User, row.Proc, row.Host, done(row))
			}
			if more := len(acts) - mostShown; more > 0 {
				o.say("         and %d more", more)
			}
			return
		}
	}
	o.say("nothing has reached a limit yet")
}

// done says what was due for a row, and what was done.
func done(row rows.Row) string {
	parts := []string{row.Actions}
	if row.Archived != "" {
		parts = append(parts, "saved "+row.Archived)
	}
	if row.Killed.Known {
		parts = append(parts, fmt.Sprintf("killed %d, %d remaining", row.Killed.N, row.Remaining.N))
	}
	for _, cell := range []string{row.Notes, row.Errors} {
		if cell != "" {
			parts = append(parts, cell)
		}
	}
	return strings.Join(parts, "; ")
}

// lastSnapshot returns the rows of the last snapshot in a log.
func lastSnapshot(path string) (found []rows.Row) {
	in, err := trusted.OpenRotated(path)
	if err != nil {
		return nil
	}
	defer in.Close()
	l := newLedger(func(r *rows.Record) {
		row, err := r.Row()
		if err != nil {
			return
		}
		if len(found) > 0 && !row.Time.Equal(found[0].Time.Time) {
			found = found[:0]
		}
		if len(found) < 1000 {
			found = append(found, row)
		}
	})
	_, _ = io.Copy(l, in)
	l.Close()
	return found
}

// waiting shows the messages that nobody has taken yet, as alertmail remembers them.
func (o *overview) waiting() {
	path := o.settings.stage("alertmail", nil, mode{}).value("--state", "")
	text, err := trusted.Read(path)
	if path == "" || errors.Is(err, os.ErrNotExist) {
		return
	}
	var lines [][]string
	if err == nil {
		lines, err = csv.NewReader(strings.NewReader(string(text))).ReadAll()
	}
	if err != nil || len(lines) == 0 {
		o.say("waiting messages: unknown: %s can't be read", path)
		return
	}
	for _, line := range lines[1:] {
		cell := func(name string) string {
			if i := slices.Index(lines[0], name); i >= 0 && i < len(line) {
				return line[i]
			}
			return ""
		}
		if !slices.Contains([]string{"mail", "page", "alertmanager", "owner"}, cell("what")) || cell("failing_since") == "" {
			continue
		}
		since, _ := time.Parse(time.RFC3339, cell("failing_since"))
		why := "not taken"
		if cell("fault") != "" {
			why = cell("fault")
		}
		o.say("a message waits: %s: %s since %s, %s tries", cell("what"), why, o.clock(since), cell("tries"))
		o.bad = true
	}
}

// reloaded shows the last reload of a standing pipe.
func (o *overview) reloaded() {
	if reason, at := o.lastReload(); !at.IsZero() {
		o.say("last reload: %s %s", at.Format(time.RFC3339), reason)
	}
}

// lastReload returns what noteReload noted last, and when.
func (o *overview) lastReload() (reason string, at time.Time) {
	text, _ := trusted.Read(reloadPath())
	stamp, reason, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if at, err := time.Parse(time.RFC3339, stamp); err == nil {
		return reason, at
	}
	return inForce, time.Time{}
}

// plot draws the last day, a line for each storm.
func (o *overview) plot() {
	draw := stage{name: "stormplot", path: o.settings.values["PATH"]}
	path, err := draw.find()
	if err != nil {
		return
	}
	var logs []io.Reader
	for _, log := range []string{
		o.settings.stage("threshold", nil, mode{}).value("--log", ""),
		o.settings.stage("alertmail", nil, mode{}).value("--log", ""),
	} {
		paths, _ := trusted.Rotated(log)
		for _, path := range slices.Backward(paths) { // the oldest first
			if in, err := trusted.OpenRotated(path); err == nil {
				defer in.Close()
				logs = append(logs, in)
			}
		}
	}
	if len(logs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tryFor)
	defer cancel()
	args := []string{"--since", "24h", "--top", "5"}
	if _, err := trusted.Rotated(runsPath()); err == nil {
		args = append(args, "--runs", runsPath())
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin, cmd.Stdout = io.MultiReader(logs...), os.Stdout // a terminal, whose width it takes
	_ = cmd.Run()                                              // without it only the drawing is missing
}
