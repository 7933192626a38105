// Package stormcheck runs the filters as one pipe: from cron once, or standing. It
// reads the settings, starts each stage as a child of its own, and reports what a
// stage failed at, also in the stream that the last stage gets.
package stormcheck

import "time"

// Where everything is. install.sh sets them for another prefix.
var (
	BinDir   = "/usr/local/bin"                  // the filters
	Conf     = "/etc/stormcheck/stormcheck.conf" // the settings
	RunDir   = "/run/stormcheck"                 // the lock, and notes about the last run
	StateDir = "/var/lib/stormcheck"             // logs, state and copies, in the defaults of the settings
)

// Bounds of a run from cron. Rows of ten minutes ago aren't acted on; killstorm needs
// less than KillAfter to resume all that it has frozen. Tests shorten them.
var (
	RunDeadline = 540 * time.Second
	KillAfter   = 60 * time.Second // from TERM to KILL
	LeaveAfter  = 5 * time.Second  // from KILL until a stage that doesn't end is abandoned
)
