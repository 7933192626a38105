package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// file searches a log file, and if that begins within the window what it was
// rotated to.
func (s *search) file(path string) error {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer f.Close()
	unread := s.left
	again, err := s.backwards(f)
	if !s.timed && s.left < unread && (err == nil || errors.Is(err, errBound)) {
		return errUntimed
	}
	if err != nil || !again {
		return err
	}
	rotated, err := openLog(neighbour(path))
	if err != nil {
		return nil // there need be none
	}
	defer rotated.Close()
	_, err = s.backwards(rotated)
	return err
}

// openLog opens a regular file. It never waits, as for the writer of a FIFO.
func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return f, nil
}

// neighbour returns the name of the log before this one: by number, or with
// logrotate's dateext the newest date.
func neighbour(path string) string {
	if _, err := os.Stat(path + ".1"); err == nil {
		return path + ".1"
	}
	dated, _ := filepath.Glob(strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path) + "-[0-9]*[0-9]")
	if len(dated) > 0 {
		return dated[len(dated)-1]
	}
	return path + ".1"
}

// backwards searches a file from its end, block by block, until a block is older
// than the window. It reports whether the file's beginning was reached first, and
// more is wanted. A last line without its newline is still being written.
func (s *search) backwards(f *os.File) (begun bool, err error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	var rest []byte // of a line that begins in the block before
	for last := true; end > 0; last = false {
		if s.left <= 0 || time.Now().After(s.until) {
			return false, errBound
		}
		size := min(end, searchBlock)
		block := make([]byte, size, int(size)+len(rest))
		if _, err := f.ReadAt(block, end-size); err != nil {
			return false, err // cut short meanwhile
		}
		end, s.left = end-size, s.left-size
		block = append(block, rest...)
		if last {
			block = block[:bytes.LastIndexByte(block, '\n')+1]
		}
		whole := block
		if end > 0 {
			first := bytes.IndexByte(block, '\n') + 1
			if rest = block[:first]; first == 0 {
				rest = block
			}
			if whole = block[len(rest):]; len(rest) > longestLine {
				rest = nil
			}
		}
		s.block(whole)
		if old := s.isOld(whole); old || len(s.open()) == 0 {
			return false, nil
		}
	}
	return true, nil
}

// isOld reports whether the first line with a time is older than the window.
func (s *search) isOld(block []byte) bool {
	for line := range bytes.Lines(block) {
		if at, _, ok := stamp(line, s.now); ok {
			s.timed = true
			return at.Before(s.from)
		}
	}
	return false
}

// block takes from whole lines what is wanted.
func (s *search) block(block []byte) {
	left := s.collect(block, suppressed, func(line []byte, _ string) bool { return isSuppressed(line) })
	for _, w := range s.open() {
		w.found = lastOf(append(s.collect(block, w.user, w.isAbout), w.found...), mostExcerpt)
		w.left = lastOf(append(left, w.left...), mostLeft)
	}
}

func lastOf(lines []string, most int) []string { return slices.Clone(lines[max(0, len(lines)-most):]) }

// collect returns the last lines within the window that have the pattern and match.
func (s *search) collect(block, pattern []byte, matches func(line []byte, by string) bool) (hits []string) {
	for start := 0; ; {
		at := bytes.Index(block[start:], pattern)
		if at < 0 {
			return lastOf(hits, mostExcerpt)
		}
		at += start
		begin := bytes.LastIndexByte(block[:at], '\n') + 1
		end := at + bytes.IndexByte(block[at:], '\n')
		if end < at {
			return hits
		}
		line := block[begin:end]
		if written, by, ok := stamp(line, s.now); ok && !written.Before(s.from) && matches(line, by) {
			hits = append(hits, excerptLine(line))
		}
		start = end + 1
	}
}
