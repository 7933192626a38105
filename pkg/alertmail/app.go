package alertmail

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/syslog"
)

// App returns the alertmail command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "alertmail",
		Usage: "send one message about the storms in the rows read",
		Synopsis: `alertmail [--to ADDR]... [--page-to ADDR]... [--from ADDR] [--each] [--title TEXT]
       [--level LEVEL] [--name NAME] [--task TEXT] [--sendmail PATH]
       [--alertmanager URL]... [--alertmanager-token-file FILE]
       [--alertmanager-ca-file FILE] [--state FILE] [--repeat DUR] [--after N]
       [--over-after N] [--owner-to ADDR] [--owner-reply-to ADDR]
       [--owner-text FILE] [--context SOURCE]... [--context-window DUR]
       [--metrics FILE] [--log FILE] [-n]
       alertmail --test [OPTION]...`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "to", Usage: "mail the message to `ADDR`; repeatable (default: print it)"},
			&cli.StringSliceFlag{Name: "page-to", Usage: "mail one short line about rows with the action page to `ADDR`; repeatable"},
			&cli.StringFlag{Name: "from", Usage: "sender `ADDR` (default: the mailer's)"},
			&cli.BoolFlag{Name: "each", Usage: "a message at each snapshot's end, not one at the end of input"},
			&cli.StringFlag{Name: "title", Usage: "`TEXT` above the message (default STORM ALERT)"},
			&cli.StringFlag{Name: "level", Usage: "one `LEVEL` of " + strings.Join(levels, ", ") + " (default: by the actions)"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the check (default stormcheck)"},
			&cli.StringFlag{Name: "task", Usage: "`TEXT` that says what the check does"},
			&cli.StringFlag{Name: "sendmail", Usage: "mailer at `PATH` (default /usr/sbin/sendmail)"},
			&cli.StringSliceFlag{Name: "alertmanager", Usage: "post each row to the Alertmanager at `URL`; repeatable, for a cluster"},
			&cli.StringFlag{Name: "alertmanager-token-file", Usage: "a bearer token for it is in `FILE`"},
			&cli.StringFlag{Name: "alertmanager-ca-file", Usage: "its certificate is signed by one in `FILE`"},
			&cli.StringFlag{Name: "state", Usage: "remember in `FILE` what has been reported, and report only news"},
			&cli.StringFlag{Name: "repeat", Usage: "with --state: repeat a storm that lasts each `DUR` (default after 1h, 4h, then daily; 0: in every run)"},
			&cli.StringFlag{Name: "after", Usage: "with --state: report what was there in `N` runs in a row (default 1)"},
			&cli.StringFlag{Name: "over-after", Usage: "with --state: a storm is over after `N` runs without it (default 5)"},
			&cli.StringFlag{Name: "owner-to", Usage: "with --state: mail the owner of an account whose processes were ended, at `ADDR` with {user}, or {name} and {domain}, in it"},
			&cli.StringFlag{Name: "owner-reply-to", Usage: "the owner's questions go to `ADDR`"},
			&cli.StringFlag{Name: "owner-text", Usage: "the owner's mail is the text in `FILE`"},
			&cli.StringSliceFlag{Name: "context", Usage: "show lines about each row from `SOURCE`, a log file or journal; repeatable"},
			&cli.StringFlag{Name: "context-window", Usage: "show lines of the last `DUR` (default 10m)"},
			&cli.StringFlag{Name: "metrics", Usage: "keep counters for node_exporter's textfile collector in `FILE`"},
			&cli.StringFlag{Name: "log", Usage: "append all rows to `FILE`"},
			&cli.BoolFlag{Name: "test", Usage: "send a test by mail, page and Alertmanager, and print which accepted it; reads no rows"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "print what would be sent, log and remember nothing"},
		},
		Run: run,
	})
}

// MailerLimit is how long a mailer may take. Tests shorten it.
var MailerLimit = 30 * time.Second

// memoryLimit is how much memory, in bytes, the Go runtime seeks to stay below. What is
// remembered of mostStorms storms is less than half of it.
const memoryLimit = 16 << 20

func run(c *cli.Context, env filter.Env) error {
	debug.SetMemoryLimit(memoryLimit)
	node, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("node name: %w", err)
	}
	f := filter.Read(c)
	o := options(f)
	o.Node, o.Host, o.PID = f.Host(), domain(node), os.Getpid()
	o.Now, o.Report, o.Stderr = time.Now, env.Report, c.App.ErrWriter
	o.Accounts, o.Syslog = account.ByName, syslog.Socket
	isTest := f.Switch("test")
	f.Refuse(isTest && len(o.To)+len(o.PageTo)+len(o.Alertmanagers.URLs) == 0, "--test: needs --to, --page-to or --alertmanager")
	if f.Err() != nil {
		return f.Err()
	}
	if isTest {
		Test(o, func(line string) { fmt.Fprintln(env.Out, line) }) // Out and Report remember a failure
		return nil
	}
	return Run(o, env.In, env.Out)
}

// options are the flags.
func options(f *filter.Flags) Options {
	o := Options{
		To: addresses(f, "to"), PageTo: addresses(f, "page-to"), From: f.Text("from", ""), Each: f.Switch("each"),
		Title: f.Text("title", "STORM ALERT"), Name: f.Text("name", "stormcheck"),
		Task:     f.Text("task", "Report unusually high numbers of per-user processes."),
		Sendmail: f.Text("sendmail", "/usr/sbin/sendmail"), Deadline: MailerLimit,

		Alertmanagers: cluster(f), State: f.Text("state", ""), Owners: owners(f),
		Context: f.Texts("context"), Window: f.Duration("context-window", 10*time.Minute),
		Metrics: f.Text("metrics", ""), Log: f.Text("log", ""), DryRun: f.Switch("dry-run"),
	}
	f.Refuse(slices.Contains(o.Context, ""), "--context: empty")
	if f.Given("level") {
		o.Level = filter.Parse(f, "level", "", parseLevel)
	}
	if f.Given("from") {
		header, sender, fit := parseFrom(o.From)
		f.Refuse(!fit, "--from: %q is not an address", o.From)
		o.From, o.Sender = header, sender
	}
	pacing(f, &o)
	o.ASCII = len(o.To)+len(o.PageTo) == 0 && !speaksUTF8(os.Getenv)
	return o
}

// parseLevel reads a level of messages.
func parseLevel(text string) (string, error) {
	if !slices.Contains(levels, text) {
		return "", fmt.Errorf("%q is none of %s", text, strings.Join(levels, ", "))
	}
	return text, nil
}

// addresses returns the recipients of a flag.
func addresses(f *filter.Flags, flag string) []string {
	for _, address := range f.Texts(flag) {
		f.Refuse(!isAddress(address), "--%s: %q is not an address", flag, address)
	}
	return f.Texts(flag)
}

// cluster takes the URLs of Alertmanagers.
func cluster(f *filter.Flags) Alertmanagers {
	a := Alertmanagers{Deadline: 10 * time.Second, TokenFile: f.Text("alertmanager-token-file", ""), CAFile: f.Text("alertmanager-ca-file", "")}
	for _, text := range f.Texts("alertmanager") {
		address, err := parseAlertmanager(text)
		f.Refuse(err != nil, "--alertmanager: %v", err)
		f.Refuse(a.TokenFile != "" && !isPrivate(address), "--alertmanager-token-file: needs https, or anybody on the way to %s could read the token", address)
		a.URLs = append(a.URLs, address)
	}
	for _, flag := range []string{"alertmanager-token-file", "alertmanager-ca-file"} {
		f.Refuse(f.Given(flag) && len(a.URLs) == 0, "--%s: needs --alertmanager", flag)
	}
	return a
}

// pacing takes the flags that say when what is remembered is reported.
func pacing(f *filter.Flags, o *Options) {
	for _, flag := range []string{"repeat", "after", "over-after"} {
		f.Refuse(f.Given(flag) && o.State == "", "--%s: needs --state", flag)
	}
	if o.Repeats = []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}; f.Given("repeat") {
		o.Repeats = []time.Duration{f.DurationOrNone("repeat")}
	}
	o.After, o.OverAfter = f.Number("after", 1), f.Number("over-after", 5)
	f.Refuse(o.After == 0, "--after: must be 1 or more")
	f.Refuse(o.OverAfter == 0, "--over-after: must be 1 or more")
}

// owners takes the flags of the owner's mail.
func owners(f *filter.Flags) Owners {
	o := Owners{To: f.Text("owner-to", ""), ReplyTo: f.Text("owner-reply-to", ""), Text: f.Text("owner-text", "")}
	for _, flag := range []string{"owner-reply-to", "owner-text"} {
		f.Refuse(f.Given(flag) && o.To == "", "--%s: needs --owner-to", flag)
	}
	if o.To != "" {
		f.Refuse(!f.Given("state"), "--owner-to: needs --state")
		f.Refuse(o.ReplyTo == "", "--owner-to: needs --owner-reply-to")
		f.Refuse(!isAddress(o.ReplyTo), "--owner-reply-to: %q is not an address", o.ReplyTo)
		f.Refuse(!o.fits(), "--owner-to: %q is not an address with {user}, or {name} and {domain}, in it", o.To)
	}
	return o
}

// speaksUTF8 reports whether the locale's characters are UTF-8's: setlocale(3).
func speaksUTF8(getenv func(string) string) bool {
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
