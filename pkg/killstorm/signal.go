package killstorm

import (
	"strconv"
	"strings"
	"syscall"

	"stormcheck/pkg/filter"
)

// A Signal is one that --signal takes.
type Signal = syscall.Signal

// signals are those whose default is to end a process and that are sent to ask
// for it, signal(7).
var signals = map[string]Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "ABRT": syscall.SIGABRT,
	"KILL": syscall.SIGKILL, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "TERM": syscall.SIGTERM,
}

// parseSignal takes a signal's name, with or without SIG, or its number.
func parseSignal(text string, given bool) (Signal, error) {
	if !given {
		return syscall.SIGKILL, nil
	}
	if sig, known := signals[strings.TrimPrefix(text, "SIG")]; known {
		return sig, nil
	}
	for _, sig := range signals {
		if text == strconv.Itoa(int(sig)) {
			return sig, nil
		}
	}
	return 0, filter.Usagef("--signal: %q is none of HUP INT QUIT ABRT KILL USR1 USR2 TERM", text)
}

const (
	stopSignal   = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
	killSignal   = syscall.SIGKILL
)
