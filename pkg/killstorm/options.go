package killstorm

import (
	"time"

	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/titles"
	"stormcheck/pkg/trusted"
)

// Options are what Run works with.
type Options struct {
	Signal             Signal
	Grace              time.Duration      // how long processes have to follow a Signal that isn't KILL
	Timeout            time.Duration      // the most that a row may take
	TrimAge            time.Duration      // how old a process that is trimmed has to be
	Max                int64              // rows of more live processes are refused; 0: none is
	Protect            Protected          // whose processes are left alone
	AllowRoot          bool               // end root's too
	AllowSystem        bool               // end those of system accounts too
	AllowOwnContainers bool               // end those in containers that their account made too
	RequireArchive     bool               // end none if the mailbox copy failed for space or I/O
	Hold               []mailbox.Template // a user's mailboxes, locked while the user's processes end
	HoldTimeout        time.Duration      // how long such a lock is tried for
	Titles             *titles.Table      // how to read process titles; nil if there is no table
	Host               func() string      // rows of this host are acted on, escaped
	UnlessChanged      []Watched          // after a change of one no kill begins
	Pause              string             // the file that pauses killing, pkg/pause; "": none does
	Evidence           string             // the directory for what is known of storms that end; "" for none
	DryRun             bool               // signal nothing
	Syslog             string             // the socket of the log that names what was killed
	Now                func() time.Time   // the clock that rows' times are held against
}

// holdMost is how long a mailbox is kept locked. Postfix defers mail after 19 s.
const holdMost = 15 * time.Second

// Protected are the users of --protect: by uid, so that no second name of theirs leads
// to them, and by name, in case the name service doesn't know the uid, and for users
// that titles name.
type Protected struct {
	UIDs  map[uint32]bool
	Names map[string]bool
}

// A Watched is a path that must not change: after a change no kill begins.
type Watched struct {
	Path  string
	Noted trusted.Fingerprint // what it was
}
