package filter

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// lockWait is how long a log's lock is waited for.
const lockWait = time.Second

// A Log is the file of --log: rows for later study, always with all columns, under one header. The zero Log logs nothing.
type Log struct {
	Path  string
	batch bytes.Buffer
	rows  *rows.Writer // to batch
}

// maxBatch is how much a Log collects before it writes by itself.
const maxBatch = 1 << 20

// Add puts the record into the batch that Flush writes, unless it is a gap: a log is
// for storms.
func (l *Log) Add(record *rows.Record) error {
	if _, isGap := record.Gap(); isGap || l.Path == "" {
		return nil
	}
	if l.rows == nil {
		l.rows = rows.NewWriter(&l.batch)
	}
	if err := l.rows.Write(record.All()); err != nil {
		return err
	}
	if l.batch.Len() > maxBatch {
		return l.Flush()
	}
	return nil
}

// header is the first line of each log.
var header = rows.Header(rows.AllColumns)

// Flush appends the batch to the file: one write, under a lock, after the header where the
// file is empty. A file with another first line is moved aside first. The file is opened
// by its name each time, so that it can be rotated. A batch that can't be written is
// dropped.
func (l *Log) Flush() error {
	if l.rows != nil {
		l.rows.Flush()
	}
	if l.batch.Len() == 0 {
		return nil
	}
	defer l.batch.Reset()
	f, err := l.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.append(f); err != nil {
		return fmt.Errorf("%s: %w", l.Path, trusted.Cause(err))
	}
	return nil
}

func (l *Log) append(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	lead := ""
	if size := info.Size(); size == 0 {
		lead = strings.Join(header, ",") + "\n"
	} else {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			lead = "\n" // the machine died in the middle of a batch
		}
	}
	if _, err := f.Write(append([]byte(lead), l.batch.Bytes()...)); err != nil {
		_ = f.Truncate(info.Size()) // no half batch
		return err
	}
	return nil
}

// open returns the locked file, which is empty or begins with the header.
func (l *Log) open() (*os.File, error) {
	for {
		f, err := trusted.Open(l.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = trusted.Lock(f, lockWait)
		if err == nil {
			var fit bool
			if fit, err = l.fit(f); fit {
				return f, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.Path, trusted.Cause(err))
		}
	}
}

// fit reports whether rows can be appended to f. If not, the name is free for a
// new file, or belongs to another by now.
func (l *Log) fit(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if now, err := os.Lstat(l.Path); err != nil || !os.SameFile(info, now) {
		return false, nil // rotated while the lock was waited for
	}
	want := strings.Join(header, ",") + "\n"
	first := make([]byte, len(want))
	n, err := f.ReadAt(first, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	if n == 0 || string(first[:n]) == want {
		return true, nil
	}
	aside := fmt.Sprintf("%s.%d", l.Path, time.Now().Unix())
	if err := os.Link(l.Path, aside); err != nil { // which replaces nothing
		return false, err
	}
	return false, os.Remove(l.Path)
}
