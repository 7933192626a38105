package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"stormcheck/pkg/child"
)

// journal searches the journal of systemd, the newest entry first, so that what a
// bound cuts off is the oldest. Fields don't say what an entry is about, for
// Dovecot logs through a process of its own; the text does.
func (s *search) journal() error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	_ = out.SetReadDeadline(s.until)
	said := &child.Output{First: 200}
	journalctl, err := child.Start(child.Command{
		Path: "journalctl",
		Args: []string{"--quiet", "--no-pager", "--reverse", "--output=json",
			"--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_COMM", fmt.Sprintf("--since=@%d", s.from.Unix())},
		Stdout: in, Stderr: said, Limit: max(time.Until(s.until), time.Millisecond), NormalPriority: true,
	})
	in.Close()
	if err != nil {
		return fmt.Errorf("journalctl: %w", err)
	}
	ended := s.entries(bufio.NewReaderSize(out, longestLine))
	late := !time.Now().Before(s.until)
	if !ended {
		journalctl.Kill()
	}
	err = journalctl.Wait()
	switch {
	case errors.Is(err, child.ErrStuck):
		return errors.New("journal: doesn't answer")
	case late || !ended && len(s.open()) > 0:
		return errBound
	case ended && err != nil:
		return fmt.Errorf("journalctl: %w: %q", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// entries takes what is wanted from the journal's entries, and reports whether it
// read them to their end.
func (s *search) entries(in *bufio.Reader) (ended bool) {
	for {
		line, err := in.ReadSlice('\n')
		if s.left -= int64(len(line)); s.left <= 0 || err == bufio.ErrBufferFull {
			return false
		}
		if err != nil {
			return true
		}
		entry, ok := journalLine(line, s.now)
		if !ok {
			continue
		}
		open := s.open()
		if len(open) == 0 {
			return false
		}
		for _, w := range open {
			switch {
			case w.isAbout(entry, ""):
				w.found = append([]string{excerptLine(entry)}, w.found...)
			case isSuppressed(entry) && len(w.left) < mostLeft:
				w.left = append([]string{excerptLine(entry)}, w.left...)
			}
		}
	}
}

// journalLine returns an entry of journalctl -o json as syslog would have written it.
func journalLine(text []byte, now time.Time) ([]byte, bool) {
	var entry struct {
		Message    json.RawMessage `json:"MESSAGE"`
		Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
		Comm       json.RawMessage `json:"_COMM"`
		Micros     string          `json:"__REALTIME_TIMESTAMP"`
	}
	if json.Unmarshal(text, &entry) != nil {
		return nil, false
	}
	micros, err := strconv.ParseInt(entry.Micros, 10, 64)
	message := journalText(entry.Message)
	if err != nil || message == "" {
		return nil, false
	}
	who := journalText(entry.Identifier)
	if who == "" {
		who = journalText(entry.Comm)
	}
	at := time.UnixMicro(micros).In(now.Location()).Format(time.Stamp)
	return []byte(at + " " + who + ": " + message), true
}

// journalText returns a field's text: journalctl(1) has it as a string, as the
// numbers of its bytes where they aren't text, as an array where the field came
// more than once, and as null where it is long.
func journalText(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var numbers []int
	if json.Unmarshal(raw, &numbers) == nil {
		text := make([]byte, len(numbers))
		for i, n := range numbers {
			text[i] = byte(n)
		}
		return string(text)
	}
	var several []string
	if json.Unmarshal(raw, &several) == nil {
		return strings.Join(several, " ")
	}
	return ""
}
