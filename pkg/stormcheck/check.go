//go:build linux

package stormcheck

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/pause"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/syslog"
	"stormcheck/pkg/trusted"
)

// A checkup reports on everything that a run needs, one line each.
type checkup struct {
	out      io.Writer
	settings Settings
	wrong    int
	broken   string // a stage that doesn't run
}

func (c *checkup) ok(format string, args ...any)   { c.line("ok", format, args) }
func (c *checkup) warn(format string, args ...any) { c.line("warn", format, args) }
func (c *checkup) bad(format string, args ...any) {
	c.wrong++
	c.line("wrong", format, args)
}

func (c *checkup) line(kind, format string, args []any) {
	fmt.Fprintf(c.out, "%-6s %s\n", kind, rows.Printable(fmt.Sprintf(format, args...)))
}

// verdict reports what is called name as wrong if there is an error, else as ok.
func (c *checkup) verdict(name string, err error) {
	if err != nil {
		c.bad("%s: %v", name, err)
	} else {
		c.ok("%s", name)
	}
}

// check reports on everything that a run needs, and starts the stages that a run starts.
func check(out io.Writer, _ func(error)) error {
	c := &checkup{out: out, settings: readSettings(Conf)}
	c.checkSettings()
	c.checkPrivileges()
	c.checkStages()
	c.checkLimits()
	c.checkFiles()
	c.checkMail()
	c.checkMailboxes()
	c.checkPrograms()
	c.checkKill()
	c.checkStanding()
	c.checkSchedule()
	if isTerminal(os.Stdout) {
		c.next()
	}
	if c.wrong > 0 {
		return filter.ErrFailed
	}
	return nil
}

// next says on a terminal what to do next.
func (c *checkup) next() {
	switch {
	case c.wrong > 0:
		fmt.Fprintf(c.out, "\nnext: mend what is wrong, then stormcheck --check again\n")
	case !c.settings.kill():
		fmt.Fprintf(c.out, "\nnext: stormcheck -n shows what a run would do now; stormcheck --test-alert sends a test\n"+
			"after a week without a mistake: KILL=yes in %s\n", Conf)
	default:
		fmt.Fprintf(c.out, "\nnext: stormcheck --status shows what runs; stormcheck --pause 1h stops all killing for an hour\n")
	}
}

func (c *checkup) checkSettings() {
	for _, fault := range c.settings.Faults {
		c.bad("settings: %v", fault)
	}
	if len(c.settings.Faults) > 0 {
		return
	}
	if _, err := os.Lstat(Conf); errors.Is(err, os.ErrNotExist) {
		c.ok("settings: the defaults, for there is no %s", Conf)
	} else {
		c.ok("settings: %s", Conf)
	}
	for _, warning := range c.settings.dropped() {
		c.warn("settings: %s", warning)
	}
}

// checkPrivileges looks for the capabilities(7) that the work needs: to give copies their
// owner and times, read mailboxes, signal processes, and raise the priority.
func (c *checkup) checkPrivileges() {
	if os.Geteuid() != 0 {
		c.bad("privileges: not root")
		return
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	_ = unix.Capget(&header, &data[0])
	var missing []string
	for _, capability := range []struct {
		name string
		bit  uint
	}{
		{"CHOWN", unix.CAP_CHOWN}, {"DAC_OVERRIDE", unix.CAP_DAC_OVERRIDE}, {"FOWNER", unix.CAP_FOWNER},
		{"KILL", unix.CAP_KILL}, {"SYS_NICE", unix.CAP_SYS_NICE},
	} {
		if data[0].Effective&(1<<capability.bit) == 0 {
			missing = append(missing, capability.name)
		}
	}
	if len(missing) > 0 {
		c.bad("privileges: root without %s", strings.Join(missing, " "))
	} else {
		c.ok("privileges: root")
	}
}

// checkStages starts each stage as a run does, but dry and with a stream of no rows.
func (c *checkup) checkStages() {
	for _, s := range c.settings.stages(mode{dry: true}) {
		err := tryStage(s)
		if err != nil && c.broken == "" {
			c.broken = s.name
		}
		c.verdict("stage: "+strings.Join(append([]string{s.name}, s.args...), " "), err)
	}
}

// tryFor is how long a stage may take to end in --check.
const tryFor = 10 * time.Second

// tryStage starts a stage with a stream of no rows, and returns what it fails at.
func tryStage(s stage) error {
	in, err := pipeOf([]byte(strings.Join(rows.Header(rows.AllColumns), ",") + "\n"))
	if err != nil {
		return err
	}
	c := startChainFrom(in, []stage{s}, nil, func(string) {})
	defer c.close()
	if c.out == nil {
		return errors.New(strings.TrimPrefix(c.unstarted, s.name+": "))
	}
	go func() { _, _ = io.Copy(io.Discard, c.reader()) }()
	select {
	case <-c.ended():
	case <-time.After(tryFor):
		c.kill()
		return fmt.Errorf("has not ended after %d s", tryFor/time.Second)
	}
	p := c.processes[0]
	if p.failure() == "" {
		return nil
	}
	if cause := strings.TrimPrefix(p.errors.cause(), s.name+": "); cause != "" {
		return errors.New(cause)
	}
	return errors.New(p.failure())
}

// output returns what a filter of the suite prints when it is run with these flags
// alone, and what it writes to standard error.
func (c *checkup) output(tool string, args ...string) (out, said string, err error) {
	s := c.settings.stage(tool, nil, mode{})
	s.args = args
	var lines []string
	chain := startChain([]stage{s}, nil, func(line string) { lines = append(lines, line) })
	defer chain.close()
	if chain.out == nil {
		return "", "", errors.New(chain.unstarted)
	}
	late := time.AfterFunc(tryFor, chain.kill)
	defer late.Stop()
	text, _ := io.ReadAll(chain.reader())
	<-chain.ended()
	if failure := chain.processes[0].failure(); failure != "" {
		err = errors.New(failure)
	}
	return string(text), strings.Join(lines, "\n"), err
}

// limitsFlags are those flags of threshold that say which table is in force.
func (c *checkup) limitsFlags() []string {
	if path := c.settings.stage("threshold", nil, mode{}).value("--limits", ""); path != "" {
		return []string{"--limits", path}
	}
	return nil
}

func (c *checkup) checkLimits() {
	_, said, err := c.output("threshold", append([]string{"--check"}, c.limitsFlags()...)...)
	churns := c.settings.stage("procstat", nil, mode{every: "5s"}).has(churnFlag)
	for line := range strings.Lines(said) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "threshold: ")
		if before, after, warning := strings.Cut(line, ": warning: "); warning && !(churns && after == rows.NeedsChurn) {
			c.warn("limits: %s: %s", before, after)
		}
	}
	if err == nil { // a fault has been reported of the stage
		c.ok("limits: fit")
	}
}

// checkFiles looks at what the stages write: that it can be written, and by root alone.
func (c *checkup) checkFiles() {
	c.verdict("state: "+StateDir, writable(StateDir))
	for _, s := range c.settings.stages(mode{}) {
		for _, flag := range []string{"--log", "--state", "--metrics"} {
			if path := s.value(flag, ""); path != "" {
				c.verdict(strings.TrimPrefix(flag, "--")+": "+path, ours(path))
			}
		}
		if s.tool == "mailarchive" {
			dir := s.value("--dir", filepath.Join(StateDir, "archive"))
			c.verdict("archive: "+dir, archiveDir(dir))
		}
	}
	dir := RunDir
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		dir = filepath.Dir(dir)
	}
	c.verdict("run: "+RunDir, writable(dir))
}

// writable returns why nothing can be written into a directory: it tries to, with a
// file that never has a name.
func writable(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == unix.EOPNOTSUPP || err == unix.EISDIR { // the file system knows no such files
		return unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, make([]byte, 64<<10))
	if err == nil {
		err = unix.Fsync(fd)
	}
	return err
}

// ours returns why a file that root writes, or one that isn't there yet, can't be
// trusted or written.
func ours(path string) error {
	f, err := trusted.Open(path, os.O_WRONLY, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return writable(filepath.Dir(path))
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), path+": "))
	}
	return f.Close()
}

// archiveDir returns why copies can't or must not go into a directory. mailarchive
// doesn't make it.
func archiveDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no such directory: install -d -m 700 %s", dir)
	case err != nil:
		return trusted.Cause(err)
	case !info.IsDir():
		return errors.New("not a directory")
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others can read it, and stop all archiving by a lock on it: chmod 700 %s", dir)
	}
	return writable(dir)
}

func (c *checkup) checkMail() {
	s := c.settings.stage("alertmail", nil, mode{})
	mailer := s.value("--sendmail", "/usr/sbin/sendmail")
	switch {
	case !s.has("--to") && !s.has("--page-to"):
		c.warn("mail: none, the message is printed: TO is empty")
	case isProgram(mailer) != nil:
		c.bad("mail: %s: %v", mailer, trusted.Cause(isProgram(mailer)))
	default:
		c.ok("mail: %s to %s", mailer, strings.Join(append(s.values("--to"), s.values("--page-to")...), " "))
	}
	for _, source := range s.values("--context") {
		if source == "journal" {
			continue
		}
		f, err := os.Open(source)
		if err != nil {
			c.bad("context: %s: %v", source, trusted.Cause(err))
			continue
		}
		f.Close()
	}
	if info, err := os.Stat(syslog.Socket); err == nil && info.Mode()&os.ModeSocket != 0 {
		c.ok("syslog: %s", syslog.Socket)
	} else {
		c.warn("syslog: there is no %s", syslog.Socket)
	}
}

// values returns all values of a repeatable flag.
func (s stage) values(flag string) (all []string) {
	for i, arg := range s.args {
		if after, is := strings.CutPrefix(arg, flag+"="); is {
			all = append(all, after)
		} else if arg == flag && i+1 < len(s.args) {
			all = append(all, s.args[i+1])
		}
	}
	return all
}

// checkMailboxes compares the mailboxes that are copied with those that killstorm
// locks while it kills.
func (c *checkup) checkMailboxes() {
	var copied, held []string
	for _, s := range c.settings.stages(mode{}) {
		switch s.tool {
		case "mailarchive":
			copied = s.values("--mailbox")
		case "killstorm":
			held = s.values("--hold")
		}
	}
	for _, mailbox := range copied {
		if !slices.Contains(held, mailbox) && !(len(held) == 0 && mailbox == "/var/mail/{user}") {
			c.bad("mailboxes: MAILARCHIVE copies %s, which killstorm doesn't lock: add --hold %s to KILLSTORM", mailbox, mailbox)
		}
	}
}

// checkPrograms reports programs that others than root can change.
func (c *checkup) checkPrograms() {
	if os.Geteuid() != 0 {
		return
	}
	for _, s := range c.settings.stages(mode{}) {
		path, err := s.find()
		if err != nil {
			continue // reported of the stage
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			continue
		}
		if f, err := trusted.Open(path, os.O_RDONLY, 0); err != nil {
			c.bad("program: %v", err)
		} else {
			f.Close()
		}
	}
}

// disarmed returns why a run would end nothing, whatever the limits are; "" if it would
// end storms.
func (s Settings) disarmed() string {
	killers := slices.DeleteFunc(s.stages(mode{}), func(s stage) bool { return s.tool != "killstorm" })
	list, err := pause.Read(pausePath())
	switch until, paused := list.Paused(pause.Any, pause.Any, time.Now()); {
	case len(s.Faults) > 0:
		return s.Faults[0].Error()
	case len(killers) == 0:
		return "FILTERS is without killstorm"
	case s.values["KILL"] != "yes":
		return "KILL=" + s.values["KILL"]
	case killers[0].has("-n") || killers[0].has("--dry-run"):
		return "KILLSTORM has -n"
	case err != nil:
		return err.Error()
	case paused:
		return "paused until " + until.Local().Format("Jan _2 15:04")
	}
	return ""
}

func (c *checkup) checkKill() {
	why := c.settings.disarmed()
	switch {
	case why != "":
	case c.broken != "":
		why = c.broken + " doesn't run"
	default:
		why = c.toothless()
	}
	if why != "" {
		c.ok("would kill: no, %s", why)
	} else {
		c.ok("would kill: yes")
	}
}

// toothless returns why the limits end nothing, "" if they do.
func (c *checkup) toothless() string {
	switch table, _, err := c.output("threshold", append([]string{"--print-limits"}, c.limitsFlags()...)...); {
	case err != nil:
		return "the limits are unfit"
	case !kills(table):
		return "no row of the limits that can decide has a limit kill or trim"
	}
	return ""
}

// kills reports whether a row of a table of limits, as threshold prints it, kills or trims
// and isn't hidden by one for every user and name.
func kills(table string) bool {
	var columns []string
	for line := range strings.Lines(table) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, ",")
		if columns == nil {
			columns = cells
			continue
		}
		all := true
		for i, column := range columns[:min(len(columns), len(cells))] {
			switch cell := cells[i]; column {
			case "host", "user", "proc":
				all = all && cell == "*"
			case rows.ActionKill, rows.ActionTrim:
				if cell != "" && cell != "0" {
					return true
				}
			}
		}
		if all {
			return false
		}
	}
	return false
}
