package alertmail

import (
	"io"
	"time"

	"stormcheck/pkg/account"
)

// Options are what Run works with.
type Options struct {
	To       []string      // recipients; without any, and any of pages, the text goes to out
	PageTo   []string      // recipients of one short line about rows with the action page
	From     string        // the From header; "" leaves it to the mailer
	Sender   string        // the envelope's sender, to which mail bounces; "" leaves it to the mailer
	Each     bool          // a message at each snapshot's end, not one for all
	Title    string        // the first line
	Level    string        // one of levels; "" takes it from the rows
	Name     string        // of the check
	Task     string        // what the check does
	Sendmail string        // the mailer's path
	Deadline time.Duration // how long the mailer may take

	Alertmanagers Alertmanagers // that each storm is posted to; without URLs to none

	State string // file that remembers; "" reports everything in every run
	// Repeats are the times after which what lasts is reported again, the last of them
	// again and again; 0 is in every run.
	Repeats   []time.Duration
	After     int64 // runs in a row with a storm after which it is reported
	OverAfter int64 // whole runs without a storm, and it is over

	Owners   Owners                                // how owners of accounts get mail
	Accounts func(string) (account.Account, error) // the name service: the account of a name

	Context []string      // logs whose last lines about a row are shown; "journal" is the journal
	Window  time.Duration // how old such a line may be

	ASCII   bool             // the text goes where nothing else can be shown
	Metrics string           // file for node_exporter's textfile collector; "" is none
	Log     string           // file that all rows are appended to; "" is none
	DryRun  bool             // print what would be sent, and log and remember nothing
	Node    func() string    // this machine's name now, as in the stream: it may be set
	Host    string           // this machine's name as the domain of an address
	PID     int              // with Host and the clock it makes a Message-ID unique
	Now     func() time.Time // the clock; its zone is the message's
	Report  func(error)      // called with what is wrong when the rest goes on
	Stderr  io.Writer        // for a text that can neither be sent nor remembered
	Syslog  string           // the socket of the system's log
}
