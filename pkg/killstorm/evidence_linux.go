package killstorm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/trusted"
)

// Evidence is of so many processes of a storm, with so many ancestors each.
const (
	evidenceOf      = 20
	evidenceParents = 32
)

// evidenceTakes is how long the evidence of all storms of a fight may take.
const evidenceTakes = time.Second

// writeEvidence writes a file for each storm that says what will be gone with its
// oldest processes. A failure is noted in the row; nothing waits for it for longer
// than evidenceTakes.
func (f *fight) writeEvidence() {
	if f.Evidence == "" || len(f.storms) == 0 {
		return
	}
	type written struct {
		by  *storm
		err error
	}
	waiting := map[*storm]bool{}
	for _, s := range f.storms {
		waiting[s] = true
	}
	results := make(chan written, len(f.storms))
	select {
	case f.evidence <- true: // else an earlier one still waits for the disk
		work := make(map[*storm]evidence, len(f.storms))
		for _, s := range f.storms {
			work[s] = evidence{user: s.user.Name, uid: s.user.UID, comm: s.comm, all: oldest(s.remaining())}
		}
		go func() {
			defer func() { <-f.evidence }()
			for s, e := range work {
				results <- written{s, e.write(f.Evidence, f.Now())}
			}
		}()
	default:
	}
	for late := time.After(evidenceTakes); len(waiting) > 0; {
		select {
		case r := <-results:
			delete(waiting, r.by)
			if r.err != nil {
				r.by.notes = append(r.by.notes, fmt.Errorf("no evidence: %w", r.err))
			}
			continue
		case <-late:
		}
		for s := range waiting {
			s.notes = append(s.notes, fmt.Errorf("no evidence: %s: no answer within %s", f.Evidence, evidenceTakes))
		}
		return
	}
}

// An evidence is what a file is about. It shares nothing with the fight, which goes on
// if the file can't be written in time.
type evidence struct {
	user string
	uid  uint32
	comm string
	all  []process // the oldest first
}

// write makes the file DIR/USER.EPOCH.evidence, or USER.EPOCH.evidence.1 to .999 if
// there is one.
func (e evidence) write(dir string, now time.Time) error {
	text, err := e.text()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", dir, trusted.Cause(err))
	}
	path := filepath.Join(dir, fmt.Sprintf("%s.%d.evidence", fileName(e.user), now.Unix()))
	f, err := create(path)
	for n := 1; n < 1000 && errors.Is(err, fs.ErrExist); n++ {
		f, err = create(fmt.Sprintf("%s.%d", path, n))
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("%s: %w", f.Name(), trusted.Cause(err))
	}
	return nil
}

func create(path string) (*os.File, error) {
	return trusted.Open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// fileName is a user's name as the beginning of a file's.
func fileName(user string) string {
	name := strings.ReplaceAll(field(user), "/", `\x2f`)
	if strings.HasPrefix(name, ".") {
		name = `\x2e` + name[1:]
	}
	return name
}

// text is the file's contents: a line for each process, of fields separated by blanks.
func (e evidence) text() (string, error) {
	table, err := proc.Open()
	if err != nil {
		return "", err
	}
	defer table.Close()
	var (
		text strings.Builder
		look = lookout{table: table}
	)
	few := e.all[:min(evidenceOf, len(e.all))]
	fmt.Fprintf(&text, "user=%s uid=%d proc=%s count=%d oldest=%d\n", field(e.user), e.uid, field(e.comm), len(e.all), len(few))
	for i := range few {
		if line, err := look.describe(&few[i]); err == nil {
			text.WriteString(line)
		}
	}
	return text.String(), nil
}

// describe returns the line of one process, without its arguments, which may hold
// passwords.
func (l *lookout) describe(p *process) (string, error) {
	h, err := l.open(p, &l.one)
	if err != nil {
		return "", err
	}
	defer h.Close()
	parent := l.one.PPID
	line := fmt.Sprintf("pid=%d start=%s state=%c cgroup=%s exe=%s parents=",
		p.pid, stamp(p.start), l.one.State, field(h.Cgroup()), field(h.Executable()))
	for n := 0; parent > 0 && n < evidenceParents; n++ {
		if n > 0 {
			line += ","
		}
		if l.identify(parent, &l.one) != nil {
			line += fmt.Sprintf("%d:?", parent)
			break
		}
		line += fmt.Sprintf("%d:%s", parent, field(string(l.one.Comm)))
		parent = l.one.PPID
	}
	return line + "\n", nil
}
