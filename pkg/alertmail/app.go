package alertmail

import (
	"net/mail"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"stormcheck/pkg/filter"
)

// App returns the alertmail command.
func App() *cli.App {
	return filter.New(filter.Tool{
		Name:  "alertmail",
		Usage: "send one message about the storms in the rows read",
		Synopsis: `alertmail [--to ADDR]... [--from ADDR] [--each] [--title TEXT] [--level LEVEL]
       [--name NAME] [--task TEXT] [--sendmail PATH] [--log FILE] [-n]`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "to", Usage: "mail the message to `ADDR`; repeatable (default: print it)"},
			&cli.StringFlag{Name: "from", Usage: "sender `ADDR` (default: root at this machine)"},
			&cli.BoolFlag{Name: "each", Usage: "a message at each snapshot's end, not one at the end of input"},
			&cli.StringFlag{Name: "title", Usage: "`TEXT` above the message (default STORM ALERT)"},
			&cli.StringFlag{Name: "level", Usage: "one `LEVEL` of " + strings.Join(levels, ", ") + " (default: urgent or warning, by the actions)"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` of the check (default stormcheck)"},
			&cli.StringFlag{Name: "task", Usage: "`TEXT` that says what the check does"},
			&cli.StringFlag{Name: "sendmail", Usage: "mailer at `PATH` (default /usr/sbin/sendmail)"},
			&cli.StringFlag{Name: "log", Usage: "append all rows to `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "print what would be sent, and log nothing"},
		},
		Run: run,
	})
}

func run(c *cli.Context, env filter.Env) error {
	o := Options{
		To:       c.StringSlice("to"),
		Each:     c.Bool("each"),
		Level:    c.String("level"),
		Deadline: 30 * time.Second,
		DryRun:   c.Bool("dry-run"),
		Host:     nodeName(),
		PID:      os.Getpid(),
		Now:      time.Now,
		Report:   env.Report,
	}
	for _, address := range o.To {
		if !isAddress(address) {
			return filter.Usagef("--to: %q is not an address", address)
		}
	}
	if c.IsSet("level") && !slices.Contains(levels, o.Level) {
		return filter.Usagef("--level: %q is none of %s", o.Level, strings.Join(levels, ", "))
	}
	for _, text := range []struct {
		flag, byDefault string
		to              *string
	}{
		{"from", "stormcheck <root@" + o.Host + ">", &o.From},
		{"title", "STORM ALERT", &o.Title},
		{"name", "stormcheck", &o.Name},
		{"task", "Report unusually high numbers of per-user processes.", &o.Task},
		{"sendmail", "/usr/sbin/sendmail", &o.Sendmail},
		{"log", "", &o.Log},
	} {
		var err error
		if *text.to, err = filter.Text(c, text.flag, text.byDefault); err != nil {
			return err
		}
	}
	var fit bool
	if o.From, o.Sender, fit = parseFrom(o.From); !fit {
		return filter.Usagef("--from: %q is not an address", c.String("from"))
	}
	return Run(o, env.In, env.Out)
}

// isAddress reports whether text can stand in the envelope and in the To header
// as it is. A domain isn't asked for: sendmail takes "root". What begins with a
// dash would be a flag to some mailers. RFC 5321, 4.5.3.1.3, sets the length.
func isAddress(text string) bool {
	unfit := func(r rune) bool { return r <= ' ' || r == ',' || r >= 0x7f }
	return text != "" && len(text) <= 254 && text[0] != '-' && !strings.ContainsFunc(text, unfit)
}

// parseFrom returns the From header and the envelope's sender of an address that
// may have a name before it (RFC 5322, 3.4).
func parseFrom(text string) (header, sender string, fit bool) {
	address, err := mail.ParseAddress(text)
	if err != nil {
		return text, text, isAddress(text) // one without a domain
	}
	if header = text; strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		header = address.String() // in encoded words
	}
	return header, address.Address, isAddress(address.Address)
}

// nodeName returns uname's node name as the domain of an address: of letters,
// digits, hyphens and single dots, or localhost where none of it is left.
func nodeName() string {
	name, _ := os.Hostname()
	labels := strings.FieldsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
	})
	if len(labels) == 0 {
		return "localhost"
	}
	return strings.Join(labels, ".")
}
