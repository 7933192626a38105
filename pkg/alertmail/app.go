package alertmail

import (
	"cmp"
	"fmt"
	"net/mail"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
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
			&cli.StringFlag{Name: "owner-to", Usage: "with --state: mail the owner of an account of which processes were ended, at `ADDR` with {user}, or {name} and {domain}, in it"},
			&cli.StringFlag{Name: "owner-reply-to", Usage: "the owner asks `ADDR`"},
			&cli.StringFlag{Name: "owner-text", Usage: "the owner's mail is the text in `FILE`"},
			&cli.StringSliceFlag{Name: "context", Usage: "show lines about each row from `SOURCE`, a log file or journal; repeatable"},
			&cli.StringFlag{Name: "context-window", Usage: "show lines of the last `DUR` (default 10m)"},
			&cli.StringFlag{Name: "metrics", Usage: "keep counters for node_exporter's textfile collector in `FILE`"},
			&cli.StringFlag{Name: "log", Usage: "append all rows to `FILE`"},
			&cli.BoolFlag{Name: "test", Usage: "send a test in each way, and say which took it; reads no rows"},
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
	o := Options{
		To:       c.StringSlice("to"),
		PageTo:   c.StringSlice("page-to"),
		Context:  c.StringSlice("context"),
		Each:     c.Bool("each"),
		Level:    c.String("level"),
		Deadline: MailerLimit,

		Alertmanagers: Alertmanagers{Deadline: 10 * time.Second},

		DryRun: c.Bool("dry-run"),
		Node:   rows.Escape(node),
		Host:   domain(node),
		PID:    os.Getpid(),
		Now:    time.Now,
		Report: env.Report,
		Stderr: c.App.ErrWriter,

		Accounts: account.ByName,

		Syslog: syslog.Socket,
	}
	for _, flag := range []string{"to", "page-to"} {
		for _, address := range c.StringSlice(flag) {
			if !isAddress(address) {
				return filter.Usagef("--%s: %q is not an address", flag, address)
			}
		}
	}
	if slices.Contains(o.Context, "") {
		return filter.Usagef("--context: empty")
	}
	if c.IsSet("level") && !slices.Contains(levels, o.Level) {
		return filter.Usagef("--level: %q is none of %s", o.Level, strings.Join(levels, ", "))
	}
	for _, text := range []struct {
		flag, byDefault string
		to              *string
	}{
		{"from", "", &o.From},
		{"title", "STORM ALERT", &o.Title},
		{"name", "stormcheck", &o.Name},
		{"task", "Report unusually high numbers of per-user processes.", &o.Task},
		{"sendmail", "/usr/sbin/sendmail", &o.Sendmail},
		{"state", "", &o.State},
		{"log", "", &o.Log},
		{"metrics", "", &o.Metrics},
		{"alertmanager-token-file", "", &o.Alertmanagers.TokenFile},
		{"alertmanager-ca-file", "", &o.Alertmanagers.CAFile},
		{"owner-to", "", &o.Owners.To},
		{"owner-reply-to", "", &o.Owners.ReplyTo},
		{"owner-text", "", &o.Owners.Text},
	} {
		if *text.to, err = filter.Text(c, text.flag, text.byDefault); err != nil {
			return err
		}
	}
	if err := cluster(c, &o.Alertmanagers); err != nil {
		return err
	}
	if err := pacing(c, &o); err != nil {
		return err
	}
	if err := owners(c, o); err != nil {
		return err
	}
	if o.Window, err = filter.Duration(c, "context-window", 10*time.Minute); err != nil {
		return err
	}
	if c.IsSet("from") {
		var fit bool
		if o.From, o.Sender, fit = parseFrom(o.From); !fit {
			return filter.Usagef("--from: %q is not an address", c.String("from"))
		}
	}
	o.ASCII = len(o.To)+len(o.PageTo) == 0 && !speaksUTF8(os.Getenv)
	if c.Bool("test") {
		if len(o.To)+len(o.PageTo)+len(o.Alertmanagers.URLs) == 0 {
			return filter.Usagef("--test: needs --to, --page-to or --alertmanager")
		}
		Test(o, func(line string) { fmt.Fprintln(env.Out, line) }) // Out and Report remember a failure
		return nil
	}
	return Run(o, env.In, env.Out)
}

// isAddress reports whether text is a dot-atom, optionally followed by @ and a dot-atom
// or a literal in brackets (RFC 5322, 3.2.3 and 3.4.1), of at most 254 bytes (RFC 5321,
// 4.5.3.1.3). It needs no domain: sendmail completes "root". No mailer takes it for a
// flag, a command, a file, or more than one address.
func isAddress(text string) bool {
	local, domain, has := strings.Cut(text, "@")
	return len(text) <= 254 && isDotAtom(local) && !strings.ContainsRune("-|/", rune(text[0])) &&
		(!has || isDotAtom(domain) || isLiteral(domain))
}

func isDotAtom(text string) bool {
	for atom := range strings.SplitSeq(text, ".") {
		unfit := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>[]:;@\,."`, r) }
		if atom == "" || strings.ContainsFunc(atom, unfit) {
			return false
		}
	}
	return true
}

func isLiteral(text string) bool {
	inner, begins := strings.CutPrefix(text, "[")
	inner, ends := strings.CutSuffix(inner, "]")
	unfit := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`[]\`, r) }
	return begins && ends && inner != "" && !strings.ContainsFunc(inner, unfit)
}

// parseFrom returns the From header and the envelope's sender of an address that
// may have a name before it (RFC 5322, 3.4). It needs no domain.
func parseFrom(text string) (header, sender string, fit bool) {
	name, rest, named := strings.Cut(text, "<")
	sender, closed := strings.CutSuffix(rest, ">")
	if !named {
		return text, text, isAddress(text)
	}
	isText := !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
	name = strings.TrimSpace(name)
	if unquoted, err := strconv.Unquote(name); err == nil {
		name = unquoted
	}
	fit = closed && isText && isAddress(sender)
	if name == "" {
		return sender, sender, fit
	}
	special := func(r rune) bool { return r > 0x7e || strings.ContainsRune(`()<>[]:;@\,."`, r) }
	if strings.ContainsFunc(name, special) {
		name = strings.TrimSuffix((&mail.Address{Name: name, Address: "x@y"}).String(), " <x@y>") // quoted or encoded
	}
	return name + " <" + sender + ">", sender, fit
}

// cluster takes the URLs of Alertmanagers.
func cluster(c *cli.Context, a *Alertmanagers) error {
	for _, text := range c.StringSlice("alertmanager") {
		address, err := parseAlertmanager(text)
		if err != nil {
			return filter.Usagef("--alertmanager: %s", err)
		}
		if a.TokenFile != "" && !isPrivate(address) {
			return filter.Usagef("--alertmanager-token-file: needs https, or anybody on the way to %s could read the token", address)
		}
		a.URLs = append(a.URLs, address)
	}
	for _, flag := range []string{"alertmanager-token-file", "alertmanager-ca-file"} {
		if c.IsSet(flag) && len(a.URLs) == 0 {
			return filter.Usagef("--%s: needs --alertmanager", flag)
		}
	}
	return nil
}

// pacing takes the flags that say when what is remembered is reported.
func pacing(c *cli.Context, o *Options) (err error) {
	for _, flag := range []string{"repeat", "after", "over-after"} {
		if c.IsSet(flag) && o.State == "" {
			return filter.Usagef("--%s: needs --state", flag)
		}
	}
	if o.Repeats = []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}; c.IsSet("repeat") {
		o.Repeats = []time.Duration{0}
		if c.String("repeat") != "0" {
			if o.Repeats[0], err = filter.Duration(c, "repeat", 0); err != nil {
				return err
			}
		}
	}
	for _, number := range []struct {
		flag      string
		byDefault int64
		to        *int64
	}{{"after", 1, &o.After}, {"over-after", 5, &o.OverAfter}} {
		if *number.to, err = filter.Number(c, number.flag, number.byDefault); err != nil {
			return err
		}
		if *number.to == 0 {
			return filter.Usagef("--%s: must be 1 or more", number.flag)
		}
	}
	return nil
}

// owners refuses flags of the owner's mail that don't fit.
func owners(c *cli.Context, o Options) error {
	for _, flag := range []string{"owner-reply-to", "owner-text"} {
		if c.IsSet(flag) && o.Owners.To == "" {
			return filter.Usagef("--%s: needs --owner-to", flag)
		}
	}
	switch {
	case o.Owners.To == "":
		return nil
	case o.State == "":
		return filter.Usagef("--owner-to: needs --state")
	case o.Owners.ReplyTo == "":
		return filter.Usagef("--owner-to: needs --owner-reply-to")
	case !isAddress(o.Owners.ReplyTo):
		return filter.Usagef("--owner-reply-to: %q is not an address", o.Owners.ReplyTo)
	case !o.Owners.fits():
		return filter.Usagef("--owner-to: %q is not an address with {user}, or {name} and {domain}, in it", o.Owners.To)
	}
	return nil
}

// domain returns a node name as the domain of a Message-ID: what isn't a letter, a
// digit or a dot is a hyphen.
func domain(name string) string {
	name = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, name)
	return cmp.Or(strings.Trim(name, "-."), "localhost")
}

// speaksUTF8 reports whether the locale's characters are UTF-8's: setlocale(3).
func speaksUTF8(getenv func(string) string) bool {
	locale := strings.ToLower(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}
