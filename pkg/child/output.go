package child

import (
	"bytes"
	"fmt"
	"sync"
)

// An Output keeps what a child writes: at most the First bytes and the Last bytes of
// it. It may be read while it is written.
type Output struct {
	First, Last int

	mutex sync.Mutex
	first []byte
	last  []byte // at most twice Last, so that it needn't move with each write
	size  int64  // of all that was written
}

// Write takes all.
func (o *Output) Write(p []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.size += int64(len(p))
	n := min(len(p), o.First-len(o.first))
	o.first = append(o.first, p[:n]...)
	rest := p[n:]
	rest = rest[max(0, len(rest)-o.Last):]
	if len(o.last)+len(rest) > 2*o.Last {
		keep := o.Last - len(rest)
		o.last = append(o.last[:0], o.last[len(o.last)-keep:]...)
	}
	o.last = append(o.last, rest...)
	return len(p), nil
}

// Bytes returns what was kept. If Last is set and something between the two parts is
// missing, whole lines are left out and a line in their place says how much that is.
func (o *Output) Bytes() []byte {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	first, last := o.first, o.last[max(0, len(o.last)-o.Last):]
	missing := o.size - int64(len(first)+len(last))
	if missing == 0 || o.Last == 0 {
		return append(bytes.Clone(first), last...)
	}
	if at := bytes.LastIndexByte(first, '\n'); at >= 0 {
		missing += int64(len(first) - at - 1)
		first = first[:at]
	}
	if at := bytes.IndexByte(last, '\n'); at >= 0 && at+1 < len(last) {
		missing += int64(at + 1)
		last = last[at+1:]
	}
	return fmt.Appendf(nil, "%s\n[%d bytes left out]\n%s", first, missing, last)
}

// String returns Bytes as a string.
func (o *Output) String() string { return string(o.Bytes()) }
