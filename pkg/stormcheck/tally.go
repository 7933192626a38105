//go:build linux

package stormcheck

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"stormcheck/pkg/rows"
)

// A tally is what a dry run has looked at: what procstat wrote.
type tally struct{ bytes.Buffer }

// print writes one line that sums it up. due is how many rows reached a limit.
func (t *tally) print(out io.Writer, due int) {
	var processes, most int64
	var host, worst string
	accounts := map[string]bool{}
	in := rows.NewReader(&t.Buffer, "procstat", func() error { return nil })
	for {
		record, err := in.Read()
		var fault *rows.Error
		if errors.As(err, &fault) && !fault.Fatal {
			continue // procstat has reported what is wrong
		}
		if err != nil {
			break
		}
		if record.Header {
			continue
		}
		row, err := record.Row()
		if err != nil {
			continue
		}
		processes += row.Count.N
		accounts[row.User] = true
		if host = row.Host; row.Count.N > most {
			most, worst = row.Count.N, row.User+" "+row.Proc
		}
	}
	if processes == 0 {
		return
	}
	found := "no limit is reached"
	if due > 0 {
		found = fmt.Sprintf("%d reach%s a limit", due, map[bool]string{true: "es"}[due == 1])
	}
	fmt.Fprintf(out, "stormcheck: looked at %d processes of %d account%s on %s: %s (the most: %d %s)\n",
		processes, len(accounts), map[bool]string{true: "", false: "s"}[len(accounts) == 1], host, found, most, worst)
}
