//go:build linux

package stormcheck

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// A standing is a pipe that stands. When the files that steer it have changed, it is
// replaced: a second chain is started, and when its first header has come out, so that all
// its stages have taken their flags and files, the first one is ended. No snapshot is
// missed in between, and killstorm's own brake keeps the first chain from beginning a
// kill.
type standing struct {
	*runner
	relay   *relay
	chain   *chain
	mail    *mail
	passing *passing
	retired []*mail // earlier alertmails that have not ended

	seen  brake     // the files at the last beat
	tried brake     // the files that were found unfit
	again time.Time // when they are tried again: it may have been for lack of a process or a descriptor

	preparing bool
	prepared  chan replacement
	next      *replacement // waits for the chain to end

	trouble atomic.Pointer[string] // why changed files are not in force, for the stream
	ending  bool
	kill    *time.Timer // when a chain that doesn't end is killed, and later abandoned
	killed  bool
}

// A replacement is a chain that is ready to take over, or why there is none.
type replacement struct {
	config
	chain  *chain
	first  []byte // what it has written
	reason string // why it isn't ready
}

// stand runs a standing pipe until a stage ends or a signal comes.
func (r *runner) stand() int {
	s := &standing{runner: r, prepared: make(chan replacement, 1), kill: time.NewTimer(KillAfter), seen: r.brake}
	s.kill.Stop()
	s.mail = r.startMail()
	s.relay = &relay{out: s.mail.in, beat: func() { mark(heartbeatPath()); r.thaw() }, end: s.addTrouble}
	counted := newLedger(r.counts.row)
	defer counted.Close()
	s.relay.tap = counted
	defer r.minutes()()
	s.chain = startChain(r.filters, nil, r.line)
	s.passing = s.relay.start(s.chain)
	if len(r.settings.Faults) > 0 { // they are reported
		reason := "stormcheck: " + r.settings.Faults[0].Error()
		s.trouble.Store(&reason)
		noteReload(reason, time.Now())
	}
	every, _ := time.ParseDuration(r.every)
	beat := time.NewTicker(every)
	defer beat.Stop()
	for {
		mailEnded := s.mail.ended()
		if s.ending {
			mailEnded = nil
		}
		select {
		case <-s.passing.done:
			if s.next != nil && !s.killed { // also in the end: its killstorm may have begun
				s.replace()
				continue
			}
			return s.finish()
		case <-mailEnded:
			s.end() // nothing is reported any more
		case sig := <-s.signals:
			s.stopped = "terminated by " + unix.SignalName(sig.(unix.Signal))
			s.end()
		case <-s.kill.C:
			if s.killed {
				s.kill.Reset(0)
				return s.finish()
			}
			s.say("not done %d s after TERM: KILL", int(KillAfter.Seconds()))
			s.killed = true
			s.chain.kill()
			s.kill.Reset(LeaveAfter)
		case <-beat.C:
			s.look()
		case next := <-s.prepared:
			s.take(next)
		}
	}
}

// look begins to replace the chain if the files that steer it have changed, and have
// stayed the same for one beat since.
func (s *standing) look() {
	now := s.brake.now()
	stands := slices.Equal(now, s.seen)
	s.seen = now
	switch {
	case s.preparing || s.next != nil || s.ending || !stands:
	case slices.Equal(now, s.brake):
		if len(s.settings.Faults) == 0 {
			s.troubled("") // a file that was made is gone again
		}
	case slices.Equal(now, s.tried) && time.Now().Before(s.again):
	default:
		s.preparing = true
		s.tried = now
		go func() { s.prepared <- s.prepare() }()
	}
}

// tryAgainAfter is how long files that were found unfit, and have not changed since,
// aren't tried again.
const tryAgainAfter = 10 * time.Second

// prepareDeadline is how long a chain may take to its first header.
const prepareDeadline = 20 * time.Second

// prepare starts a chain with the present files.
func (s *standing) prepare() replacement {
	next := replacement{config: readConfig(s.mode)}
	if len(next.settings.Faults) > 0 {
		next.reason = "stormcheck: " + next.settings.Faults[0].Error()
		return next
	}
	if !slices.Equal(next.mail.args, s.config.mail.args) {
		if err := tryStage(next.settings.stage("alertmail", nil, mode{dry: true})); err != nil {
			next.reason = err.Error()
			return next
		}
	}
	var lines heldLines // if the chain isn't fit its lines are the reason, which is reported
	next.chain = startChain(next.filters, nil, lines.line)
	if next.chain.out != nil {
		header := make(chan []byte, 1)
		go func() { header <- firstLine(next.chain.out) }()
		select {
		case next.first = <-header:
		case <-time.After(prepareDeadline):
		}
	}
	if len(next.first) > 0 {
		lines.release(s.line)
		return next
	}
	<-next.chain.settled()
	next.reason = next.chain.gapReason(next.chain.failures(""), false, nil)
	next.chain.kill()
	select {
	case <-next.chain.ended():
	case <-time.After(LeaveAfter):
	}
	next.chain.close()
	return next
}

// heldLines keeps lines until it is known where they go.
type heldLines struct {
	mutex  sync.Mutex
	lines  []string
	report func(string)
}

func (h *heldLines) line(text string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.report != nil {
		h.report(text)
		return
	}
	h.lines = append(h.lines, text)
}

// release reports the lines, and from now on each at once.
func (h *heldLines) release(report func(string)) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, line := range h.lines {
		report(line)
	}
	h.lines, h.report = nil, report
}

// firstLine reads up to the first line end, nil if the input ends before.
func firstLine(in io.Reader) []byte {
	var read []byte
	chunk := make([]byte, 4096)
	for bytes.IndexByte(read, '\n') < 0 {
		n, err := in.Read(chunk)
		read = append(read, chunk[:n]...)
		if err != nil {
			return nil
		}
	}
	return read
}

// take ends the chain if the next one is ready. If not, the old one goes on, and
// that is reported.
func (s *standing) take(next replacement) {
	s.preparing = false
	switch {
	case next.reason != "":
		s.again = time.Now().Add(tryAgainAfter)
		s.troubled(next.reason)
	case s.ending:
		s.next = &next
		next.chain.processes[0].signal(unix.SIGTERM)
	default:
		s.next = &next
		s.kill.Reset(KillAfter)
		s.chain.processes[0].signal(unix.SIGTERM) // it ends with a whole snapshot
	}
}

// replace goes on with the next chain after the output of the last one has ended.
func (s *standing) replace() {
	s.kill.Stop()
	if s.ending {
		s.kill.Reset(KillAfter)
	}
	ended := s.chain
	go func() { <-ended.ended(); ended.close() }()
	<-ended.settled()
	if reason := ended.gapReason(ended.failures(""), s.relay.begun(), s.passing.fault); reason != "" {
		s.addGap(s.relay, reason)
		s.say("%s", reason)
	}
	before := s.config.mail
	s.config, s.chain = s.next.config, s.next.chain
	if !slices.Equal(before.args, s.config.mail.args) || before.path != s.config.mail.path {
		s.retire()
	}
	s.troubled("")
	noteReload("", time.Now())
	s.passing = s.relay.resume(s.chain, s.next.first)
	s.next, s.seen, s.tried = nil, s.brake, nil
}

// retire starts another alertmail, and lets the last one end by itself.
func (s *standing) retire() {
	old := s.mail
	s.mail = s.startMail()
	s.relay.to(s.mail.in)
	old.in.Close()
	s.retired = append(slices.DeleteFunc(s.retired, (*mail).hasEnded), old)
}

// troubled notes why changed files are not in force; "" if all are.
func (s *standing) troubled(reason string) {
	before := s.trouble.Load()
	if before != nil && *before == reason || before == nil && reason == "" {
		return
	}
	s.trouble.Store(&reason)
	noteReload(reason, time.Now())
	if reason != "" {
		s.line(rows.Printable(reason + ": the previous settings and limits stay in force, and nothing is ended"))
	}
}

// addTrouble adds to the snapshot that ends why changed files are not in force, and that
// the last run did not finish.
func (s *standing) addTrouble() {
	reason := ""
	if trouble := s.trouble.Load(); trouble != nil {
		reason = *trouble
	}
	s.addGap(s.relay, reason)
}

// end ends the first stage: the others finish what they have begun.
func (s *standing) end() {
	if s.ending {
		return
	}
	s.ending = true
	if !s.killed {
		s.kill.Reset(KillAfter)
	}
	for _, c := range []*chain{s.chain, s.nextChain()} {
		if c != nil && len(c.processes) > 0 {
			c.processes[0].signal(unix.SIGTERM)
		}
	}
}

func (s *standing) nextChain() *chain {
	if s.next == nil {
		return nil
	}
	return s.next.chain
}

// finish ends all that is left, and returns the status.
func (s *standing) finish() int {
	s.end()
	w := s.watch(s.chain, s.mail)
	w.timer.Stop()
	w.timer, w.phase = s.kill, terminated
	if s.killed {
		w.phase = killed
	}
	w.until(s.chain.settled())
	s.addGap(s.relay, s.chain.gapReason(s.chain.failures(""), s.relay.begun(), s.passing.result()))
	s.mail.in.Close()
	w.until(s.mail.ended())
	w.until(s.chain.ended())
	if next := s.nextChain(); next != nil {
		next.kill()
		w.until(next.ended())
	}
	for _, m := range s.retired {
		w.until(m.ended())
	}
	if s.preparing {
		if next := <-s.prepared; next.chain != nil {
			next.chain.dismiss()
			w.until(next.chain.ended())
		}
	}
	s.thaw()
	s.stopped = ""
	return max(s.status(s.chain, s.mail), w.status())
}

// inForce is what noteReload notes of files that are fit.
const inForce = "in force"

// noteReload keeps for --status whether the files that changed last are in force.
func noteReload(reason string, now time.Time) {
	if reason == "" {
		reason = inForce
	}
	text := fmt.Sprintf("%s %s\n", now.UTC().Format(time.RFC3339), rows.Printable(reason))
	_ = trusted.Replace(reloadPath(), []byte(text), 0o600) // without it --status knows less
}
