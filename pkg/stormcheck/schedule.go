//go:build linux

package stormcheck

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Where cron keeps its tables: Debian's, Red Hat's and SUSE's, and those of busybox.
var crontabs = []string{
	"/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/root", "/var/spool/cron/root", "/var/spool/cron/tabs/root",
	"/etc/crontabs/root",
}

// cronDaemons are the names of cron's processes.
var cronDaemons = []string{"cron", "crond", "cronie", "fcron", "bcron-sched", "systemd-cron"}

// scheduled returns the crontabs that run stormcheck, and those of them that start sleep
// first.
func scheduled() (by, sleeping []string) {
	for _, pattern := range crontabs {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			// cron passes over names with a dot: what a package manager or an editor left.
			if strings.HasPrefix(path, "/etc/cron.d/") && strings.Contains(filepath.Base(path), ".") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); strings.Contains(line, "stormcheck") && !strings.HasPrefix(line, "#") &&
					(strings.HasPrefix(line, "*") || strings.HasPrefix(line, "@") || line[0] >= '0' && line[0] <= '9') {
					by = append(by, path)
					if before, _, _ := strings.Cut(line, "stormcheck"); strings.Contains(before, "sleep ") {
						sleeping = append(sleeping, path)
					}
					break
				}
			}
		}
	}
	return by, sleeping
}

// running reports whether a process of one of these names runs.
func running(names []string) bool {
	found, _ := filepath.Glob("/proc/[0-9]*/comm")
	return slices.ContainsFunc(found, func(path string) bool {
		comm, err := os.ReadFile(path)
		return err == nil && slices.Contains(names, strings.TrimSpace(string(comm)))
	})
}

// activeUnits returns the units of systemd that run stormcheck, without asking
// systemd, which may not answer in a storm: a timer that has been enabled has a link.
func activeUnits() (units []string) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil
	}
	for _, link := range []string{"timers.target.wants/stormcheck.timer", "multi-user.target.wants/stormcheck-standing.service"} {
		if _, err := os.Lstat("/etc/systemd/system/" + link); err == nil {
			units = append(units, filepath.Base(link))
		}
	}
	return units
}

// checkSchedule looks for what runs stormcheck.
func (c *checkup) checkSchedule() {
	by, sleeping := scheduled()
	units := activeUnits()
	switch standing, is := standingPipe(); {
	case is:
		c.ok("scheduled: process %d stands, a snapshot each %s", standing.pid, standing.how)
	case len(by) > 0 && len(units) == 0 && !running(cronDaemons):
		c.bad("scheduled: %s, but no cron daemon runs: start it", strings.Join(by, " "))
	case len(by)+len(units) > 0:
		c.ok("scheduled: %s", strings.Join(append(by, units...), " "))
	default:
		since := ""
		if l, known := readLast(); known {
			since = ", the last run was at " + l.begun.Local().Format("Jan _2 15:04:05")
		}
		c.bad("scheduled: nothing runs it%s: see install.sh --cron and --systemd", since)
	}
	for _, path := range sleeping {
		c.warn("scheduled: %s starts sleep first, which a storm delays: use --delay", path)
	}
	if len(by) > 0 && len(units) > 0 {
		c.warn("scheduled: by cron and by systemd")
	}
}

// standingPipe returns the pipe that stands now, if one does.
func standingPipe() (l last, stands bool) {
	l, known := readLast()
	if !known || l.ended || l.how == "once" || unix.Kill(l.pid, 0) == unix.ESRCH {
		return l, false
	}
	// It doesn't try the lock, because a run that begins now would find it taken. Another
	// process may have the PID by now.
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", l.pid))
	return l, err == nil && strings.TrimSpace(string(comm)) == "stormcheck"
}

// checkStanding compares the standing pipe with what the settings say now.
func (c *checkup) checkStanding() {
	l, stands := standingPipe()
	if !stands {
		return
	}
	programs := childrenOf(l.pid)
	m := mode{every: l.how}
	for _, s := range c.settings.stages(m) {
		at := slices.IndexFunc(programs, func(p program) bool { return len(p.args) > 0 && filepath.Base(p.args[0]) == filepath.Base(s.name) })
		switch {
		case at < 0:
			c.bad("standing: process %d has no stage %s", l.pid, s.name)
		case !slices.Equal(settingsOnly(programs[at].args[1:]), settingsOnly(s.args)):
			c.bad("standing: process %d runs %s: the settings now say %s", l.pid,
				strings.Join(append([]string{s.name}, settingsOnly(programs[at].args[1:])...), " "),
				strings.Join(append([]string{s.name}, settingsOnly(s.args)...), " "))
		case programs[at].replaced:
			c.bad("standing: process %d runs an older %s than is installed: restart it", l.pid, s.name)
		}
	}
	if (program{pid: l.pid}).isReplaced() {
		c.bad("standing: process %d is an older stormcheck than is installed: restart it", l.pid)
	}
}

// settingsOnly returns the arguments without those that stormcheck adds for the brake.
func settingsOnly(args []string) []string { return without(args, "--unless-changed", "--pause") }

// A program is a process with its arguments.
type program struct {
	pid      int
	args     []string
	replaced bool // its file is another by now
}

// childrenOf returns the children of a process.
func childrenOf(pid int) (all []program) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", child))
			if err != nil || len(line) == 0 {
				continue
			}
			p := program{pid: child}
			for _, arg := range bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0}) {
				p.args = append(p.args, string(arg))
			}
			p.replaced = p.isReplaced()
			all = append(all, p)
		}
	}
	return all
}

// isReplaced reports whether the file that a process was started from has been replaced.
func (p program) isReplaced() bool {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	return err == nil && strings.HasSuffix(path, " (deleted)")
}
