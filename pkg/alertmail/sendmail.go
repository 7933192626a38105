package alertmail

import (
	"bytes"
	"fmt"
	"slices"

	"stormcheck/pkg/child"
)

// mailer gives the message to the mailer. Only status 0 says that it was taken. No other
// status says why not, because sendmail programs differ in that. The recipients are
// arguments, without -t, so that no header can add one; -i lets a line of a single dot
// pass. A mailer that can't write its queue may never return (Postfix): after the deadline
// it is killed with all that it has started.
func (o Options) mailer(to []string, message []byte) error {
	var sender []string
	if o.Sender != "" {
		sender = []string{"-f" + o.Sender} // joined, as dma and nullmailer need it
	}
	said := &child.Output{First: 200}
	err := child.Run(child.Command{
		Path: o.Sendmail, Args: slices.Concat([]string{"-i"}, sender, []string{"--"}, to),
		Input: message, Stderr: said, Limit: o.Deadline, NormalPriority: true,
	})
	if err == nil {
		return nil
	}
	if text := bytes.TrimSpace(said.Bytes()); len(text) > 0 {
		err = fmt.Errorf("%w: %q", err, text)
	}
	return fmt.Errorf("%s: %w", o.Sendmail, err)
}
