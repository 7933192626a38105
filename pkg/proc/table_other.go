//go:build !linux

package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	ps "github.com/mitchellh/go-ps"
)

// A Table is this machine's process table.
type Table struct{}

// Open opens the table.
func Open() (*Table, error) { return &Table{}, nil }

// Close does nothing here.
func (*Table) Close() {}

// Detailed says that Scan finds states and start times.
const Detailed = false

// Workers is the number of goroutines from which Scan calls its function.
func Workers() int { return 1 }

// Scan passes every process to visit. Start times, states and process groups
// aren't known here.
func (t *Table) Scan(visit func(worker int, p *Process)) error {
	all, err := ps.Processes()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no process to be seen") // go-ps's way to say that it failed
	}
	uids, err := owners()
	if err != nil {
		return fmt.Errorf("owners of processes: %w", err)
	}
	for _, entry := range all {
		uid, ok := uids[entry.Pid()]
		if !ok {
			continue // ended, or started since
		}
		visit(0, &Process{PID: entry.Pid(), PPID: entry.PPid(), UID: uid, Comm: []byte(entry.Executable())})
	}
	return nil
}

// StartOf knows no start times here.
func StartOf(int) (comm string, start time.Time, err error) {
	return "", time.Time{}, errors.ErrUnsupported
}

// Now returns 0: start times aren't known here, and so nothing is recent.
func Now() uint64 { return 0 }

// Boot returns the zero time: start times aren't known here.
func Boot() time.Time { return time.Time{} }

// StartTime returns the zero time: start times aren't known here.
func StartTime(time.Time, uint64) time.Time { return time.Time{} }

// Recent reports false: start times aren't known here.
func (*Process) Recent(uint64) bool { return false }

// owners asks ps for the effective uid of each process.
func owners() (map[int]uint32, error) {
	text, err := exec.Command("/bin/ps", "-A", "-o", "pid=", "-o", "uid=").Output()
	if err != nil {
		return nil, err
	}
	uids := map[int]uint32{}
	for line := range strings.Lines(string(text)) {
		var (
			pid int
			uid uint32
		)
		if _, err := fmt.Sscan(line, &pid, &uid); err != nil {
			return nil, fmt.Errorf("ps: %q: %w", line, err)
		}
		uids[pid] = uid
	}
	return uids, nil
}

// A Namespace doesn't exist here.
type Namespace struct{ ID NamespaceID }

// A NamespaceID says which namespace one is.
type NamespaceID struct{}

// Close does nothing here.
func (Namespace) Close() {}

// Owners returns an error here.
func (Namespace) Owners(NamespaceID) ([]uint32, error) { return nil, errors.ErrUnsupported }

// OwnUserNamespace returns an error here.
func (*Table) OwnUserNamespace() (Namespace, error) { return Namespace{}, errors.ErrUnsupported }

// UserNamespaceOf returns an error here.
func (*Table) UserNamespaceOf(int) (Namespace, error) { return Namespace{}, errors.ErrUnsupported }
