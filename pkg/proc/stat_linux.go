package proc

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// pfKthread is PF_KTHREAD of the kernel's include/linux/sched.h.
const pfKthread = 0x00200000

// parseStat reads the text of /proc/PID/stat, proc_pid_stat(5), into p, all but
// UID. The name stands in parentheses and may itself hold any byte but NUL: ")",
// spaces, newlines, digits that look like the fields behind it. None of those
// fields has a parenthesis, so the last ")" ends the name. The error is EBADMSG
// where the text is no such line, and ESRCH for a process that has ended while it
// was read: its process group is -1 then.
func parseStat(text []byte, p *Process) error {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 2 || end < open || end+4 > len(text) || text[open-1] != ' ' {
		return unix.EBADMSG
	}
	pid, ok := decimal(text[:open-1])
	if !ok {
		return unix.EBADMSG
	}
	p.PID = int(pid)
	p.Comm = text[open+1 : end]
	p.State = text[end+2]

	// Numbers of fields as in proc_pid_stat(5): the state is 3, ppid 4.
	const ppid, pgrp, tty, flags, threads, start = 4, 5, 7, 9, 20, 22
	var nthreads uint64
	rest := text[end+3:]
	for field := ppid; field <= start; field++ {
		if len(rest) == 0 || rest[0] != ' ' {
			return unix.EBADMSG
		}
		rest = rest[1:]
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			return unix.EBADMSG
		}
		word := rest[:n]
		rest = rest[n:]
		var value uint64
		switch field {
		case tty:
			p.Terminal = string(word) != "0"
		case pgrp:
			if string(word) == "-1" {
				return unix.ESRCH
			}
			fallthrough
		case ppid, flags, threads, start:
			if value, ok = decimal(word); !ok {
				return unix.EBADMSG
			}
		}
		switch field {
		case ppid:
			p.PPID = int(value)
		case pgrp:
			p.PGID = int(value)
		case flags:
			p.Kernel = value&pfKthread != 0
		case threads:
			nthreads = value
		case start:
			p.Start = value
		}
	}
	// A leader that has ended shows as a zombie while its other threads live on.
	p.Zombie = (p.State == 'Z' || p.State == 'X') && nthreads <= 1
	return nil
}

// decimal reads digits, and nothing but digits.
func decimal(text []byte) (n uint64, ok bool) {
	if len(text) == 0 || len(text) > 19 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
