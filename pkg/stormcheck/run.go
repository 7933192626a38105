//go:build linux

package stormcheck

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/syslog"
	"stormcheck/pkg/thaw"
	"stormcheck/pkg/trusted"
)

// A runner is one run of the pipe.
type runner struct {
	mode
	*reporter
	config
	counts  counts
	unnoted bool   // an entry of runs.csv could not be written, which has been reported
	before  string // what the last run has left unreported, which is not reported yet; or ""
	lost    bool   // alertmail may not have reported this run
	signals chan os.Signal
	stopped string // why the stages were ended, or ""
}

// Statuses of a run, as filter has them.
const (
	fine        = 0
	failed      = 1
	unfitConfig = 2
)

// runPipe runs the pipe once, or until it is ended.
func runPipe(m mode, stderr io.Writer) error {
	if !m.dry {
		proc.RaisePriority() // before anything else: in a storm each step is slow at normal priority
	}
	proc.MakeThreads()
	if m.delay > 0 {
		time.Sleep(left(m.delay))
	}
	r := &runner{mode: m, signals: make(chan os.Signal, 8)}
	filter.OutliveReader() // what reads standard error may end
	signal.Notify(r.signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	var l last
	if !m.dry {
		held, err := lock()
		if errors.Is(err, errHeld) {
			return another(stderr)
		}
		if err != nil {
			return err
		}
		defer held.Close()
		if before, known := readLast(); known { // this run has the lock, so that one is gone
			r.before = before.unreported()
		}
		l = last{begun: time.Now(), pid: os.Getpid(), how: "once"}
		if m.every != "" {
			l.how = m.every
		}
		l.begin()
		mark(lockPath())
	}
	r.reporter = newReporter(stderr, r.heldPath(), syslogFor(m))
	status := r.run()
	if !m.dry {
		l.end = time.Now()
		if m.every == "" {
			if status == fine {
				mark(heartbeatPath())
			}
			before := readRuns(l.begun)
			r.note(r.counts.entry(l.begun, periodSince(before, l.begun), l.end.Sub(l.begun), status))
		}
		if r.unnoted {
			status = max(status, failed)
		}
		l.status, l.lost = status, r.lost
		l.finish()
	}
	r.reporter.close(time.Now())
	switch status {
	case fine:
		return nil
	case unfitConfig:
		return filter.ErrUnfit
	}
	return filter.ErrFailed
}

// left returns how much of a delay is left. It counts from the start of the process, which
// may have been cron's shell before: in a storm a start alone takes seconds.
func left(delay time.Duration) time.Duration {
	_, start, err := proc.StartOf(os.Getpid())
	if err != nil {
		return delay
	}
	return min(delay, delay-time.Since(start))
}

// heldPath returns where the text of a run from cron is kept, "" for one that prints
// at once.
func (r *runner) heldPath() string {
	if r.dry || r.every != "" || isJournal(os.Stderr) || isTerminal(os.Stderr) {
		return ""
	}
	return said()
}

// another returns what is wrong with the run that holds the lock. On a terminal it
// says which it is.
func another(stderr io.Writer) error {
	l, known := readLast()
	holder := "another run"
	if known {
		holder = fmt.Sprintf("process %d since %s", l.pid, l.begun.UTC().Format(time.RFC3339))
	}
	if isStuck() {
		err := fmt.Errorf("%s: held by %s, and no snapshot has passed for over ten minutes", lockPath(), holder)
		report := newReporter(stderr, stuckPath(), syslogFor(mode{}))
		report.say("%s", err)
		report.close(time.Now())
		return filter.ErrFailed
	}
	if isTerminal(os.Stderr) {
		fmt.Fprintf(stderr, "stormcheck: %s: held by %s\n", lockPath(), holder)
	}
	return nil
}

// stuckPath keeps what is said about a run that makes no progress, apart from what
// that run says itself.
func stuckPath() string {
	if isJournal(os.Stderr) || isTerminal(os.Stderr) {
		return ""
	}
	return said()
}

// run runs the pipe as the mode has it, and returns the status.
func (r *runner) run() int {
	r.config = readConfig(r.mode)
	for _, fault := range r.settings.Faults {
		r.say("%v", fault)
	}
	if r.every != "" {
		return r.stand()
	}
	return r.once()
}

// readSettings returns the settings of a file, the defaults if there is none. A file
// that can't be trusted is a fault.
func readSettings(path string) Settings {
	text, err := trusted.Read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return defaultSettings()
	case err != nil:
		settings := defaultSettings()
		settings.Faults = []Fault{{Path: path, What: err.Error()}}
		return settings
	}
	return parseSettings(path, string(text))
}

// once runs the pipe from the start to its end.
func (r *runner) once() int {
	var tap io.Writer
	seen := new(tally)
	if r.dry {
		tap = seen
	}
	c := startChain(r.filters, tap, r.line)
	defer c.close()
	m := r.startMail()
	relay := &relay{out: m.in, beat: func() {}}
	if !r.dry {
		counted := newLedger(r.counts.row)
		defer counted.Close()
		relay.tap = counted
	}
	passed := relay.start(c)
	w := r.watch(c, m)
	w.until(passed.done)
	w.until(c.settled())
	r.addGaps(relay, c, passed.result())
	m.in.Close()
	w.until(m.ended())
	w.until(c.ended())
	r.thaw()
	if c.tapped != nil {
		<-c.tapped
		seen.print(os.Stdout, relay.rows)
	}
	return max(r.status(c, m), w.status())
}

// thaw resumes what a killstorm has left stopped that was killed itself. It comes after
// this run's killstorm, which may still end some of it.
func (r *runner) thaw() {
	if r.dry {
		return
	}
	if n := thaw.Resume(); n > 0 {
		r.say("killstorm was killed and left processes stopped: resumed %d", n)
	}
}

// A mail is alertmail with its input.
type mail struct {
	stage   stage
	process *process // nil if it was not started
	in      io.WriteCloser
}

// startMail starts alertmail.
func (r *runner) startMail() *mail {
	p, in, err := startMail(r.mail, int(os.Stdout.Fd()), r.line)
	if err != nil {
		r.say("%s: not started: %v", r.mail.name, err)
		return &mail{r.mail, nil, noMail{}}
	}
	return &mail{r.mail, p, in}
}

// ended returns a channel that is closed when alertmail has ended.
func (m *mail) ended() <-chan struct{} {
	if m.process != nil {
		return m.process.ended
	}
	ended := make(chan struct{})
	close(ended)
	return ended
}

// addGaps adds to the snapshot that is open why rows are missing. fault is what the
// relay found wrong with the output.
func (r *runner) addGaps(relay *relay, c *chain, fault error) {
	reason := ""
	if len(r.settings.Faults) > 0 {
		reason = "stormcheck: " + r.settings.Faults[0].Error()
		r.addGap(relay, reason)
	}
	if failure := c.gapReason(c.failures(r.stopped), relay.begun(), fault); failure != "" || reason == "" {
		r.addGap(relay, failure)
	}
}

// addGap adds to the snapshot that is open why rows are missing, and nothing if there is
// no reason. What the last run has left unreported is said first, because of the rows and
// the words that say why, alertmail keeps the first.
func (r *runner) addGap(relay *relay, reason string) {
	if r.before != "" && reason != "" {
		reason = r.before + ", and " + reason
	} else {
		reason += r.before
	}
	r.before = ""
	if reason != "" {
		relay.gap(gapHost(r.filters[0]), reason, time.Now())
	}
}

// status names each stage that failed, notes whether the run is lost, and returns its
// status.
func (r *runner) status(c *chain, m *mail) int {
	all := c.failures(r.stopped)
	if p := m.process; p != nil && p.failure() != "" {
		all = append(all, failure{process: p, name: p.name, status: p.failure(), unfit: p.status.ExitStatus() == 2})
	}
	r.lost = m.lost()
	cause, any := first(all)
	for _, f := range all {
		switch {
		case f.status == "":
			r.say("%s", f.cause)
		case !f.effect || cause.effect:
			r.say("%s: %s", f.name, f.status)
		}
	}
	for _, p := range c.processes {
		i := slices.IndexFunc(all, func(f failure) bool { return f.process == p })
		if i < 0 || !all[i].effect || cause.process == p {
			p.errors.reportEffects()
		}
	}
	if p := m.process; p != nil && p.errors.summary().noReader {
		p.errors.reportEffects()
	}
	switch {
	case len(r.settings.Faults) > 0 || cause.unfit:
		return unfitConfig
	case any || m.process == nil:
		return failed
	}
	return fine
}

// A watch ends the stages when their time is up, or on a signal.
type watch struct {
	say     func(format string, args ...any)
	signals <-chan os.Signal
	stopped *string // set to why the stages were ended
	chain   *chain
	mail    *mail
	timer   *time.Timer // of the phase
	phase   phase
}

// A phase is what was done to end the stages.
type phase int

const (
	waiting    phase = iota
	terminated       // TERM was sent
	killed           // KILL was sent
	abandoned        // a stage that didn't end isn't waited for any more
)

func (r *runner) watch(c *chain, m *mail) *watch {
	w := &watch{say: r.say, signals: r.signals, stopped: &r.stopped, chain: c, mail: m, timer: time.NewTimer(RunDeadline)}
	if r.dry {
		w.timer.Stop()
	}
	return w
}

// until waits for done. Meanwhile it ends the stages if it has to. It doesn't wait for a
// stage that KILL doesn't end because a system call doesn't return.
func (w *watch) until(done <-chan struct{}) {
	for w.phase != abandoned {
		select {
		case <-done:
			return
		case s := <-w.signals:
			w.end("terminated by " + unix.SignalName(s.(unix.Signal)))
		case <-w.timer.C:
			switch w.phase {
			case waiting:
				w.say("not done after %d s: TERM", int(RunDeadline.Seconds()))
				w.end(fmt.Sprintf("terminated after %d s", int(RunDeadline.Seconds())))
			case terminated:
				w.say("not done %d s after TERM: KILL", int(KillAfter.Seconds()))
				w.kill()
			case killed:
				w.say("not done %d s after KILL: left behind", int(LeaveAfter.Seconds()))
				w.phase = abandoned
			}
		}
	}
}

// end sends TERM to all stages but alertmail, which reports what has passed and then ends
// by itself. It sends TERM only once, because a second one makes killstorm give up its
// work.
func (w *watch) end(reason string) {
	if w.phase != waiting {
		return
	}
	w.phase, *w.stopped = terminated, reason
	w.chain.signal(unix.SIGTERM)
	w.timer.Reset(KillAfter)
}

// kill sends KILL to all stages.
func (w *watch) kill() {
	w.phase = killed
	w.chain.kill()
	w.mail.kill()
	w.timer.Reset(LeaveAfter)
}

// status returns failed if a stage was abandoned.
func (w *watch) status() int {
	if w.phase == abandoned {
		return failed
	}
	return fine
}

// hasEnded reports whether alertmail has ended.
func (m *mail) hasEnded() bool { return m.process == nil || m.process.hasEnded() }

// lost reports whether alertmail did not start, was killed or refused its flags, so that
// nothing of what it was given may be reported. With status 1 it keeps, or has printed,
// what it could not mail.
func (m *mail) lost() bool {
	p := m.process
	return p == nil || !p.hasEnded() || p.status.Signaled() || p.status.ExitStatus() == 2
}

// kill ends alertmail.
func (m *mail) kill() {
	if m.process != nil {
		m.process.signal(unix.SIGKILL)
	}
}

// syslogFor returns what gives lines to syslog, nil if it has no use for it: a dry
// run touches nothing, and the journal needs no copy of what is printed into it.
func syslogFor(m mode) func([]string) {
	if m.dry || isJournal(os.Stderr) {
		return nil
	}
	return func(lines []string) {
		log := syslog.Open(syslog.Socket, "stormcheck") // anew each time: the daemon may have been started since
		defer log.Close()
		for _, line := range lines {
			log.Send(syslog.Error, line)
		}
	}
}
