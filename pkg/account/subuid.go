package account

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// subuid is the file of subordinate uids, subuid(5). It is a variable for tests.
var subuid = "/etc/subuid"

// mostSubuid is how much of /etc/subuid is read, in bytes.
const mostSubuid = 16 << 20

// A SubuidTable has the ranges of subordinate uids of all accounts, subuid(5).
type SubuidTable struct{ ranges []ownedRange }

type ownedRange struct {
	account string // a name, or a uid in decimal
	uidRange
}

type uidRange struct{ first, last uint32 }

func (r uidRange) holds(uid uint32) bool { return r.first <= uid && uid <= r.last }

// ReadSubuid reads /etc/subuid. It passes over lines that are no range. Without such a
// file there are none.
func ReadSubuid() (t SubuidTable, err error) {
	f, err := os.Open(subuid)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, mostSubuid))
	if len(text) == mostSubuid {
		err = fmt.Errorf("%s: %d bytes or more", subuid, mostSubuid)
	}
	for line := range strings.Lines(string(text)) {
		if account, r, ok := parseSubuid(strings.TrimSpace(line)); ok {
			t.ranges = append(t.ranges, ownedRange{account, r})
		}
	}
	return t, err
}

// parseSubuid reads a line OWNER:FIRST:COUNT. Uid 0 is subordinate to nobody.
func parseSubuid(line string) (owner string, r uidRange, ok bool) {
	words := strings.Split(line, ":")
	if len(words) != 3 || words[0] == "" || strings.HasPrefix(line, "#") {
		return "", r, false
	}
	first, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil || first == 0 {
		return "", r, false
	}
	count, err := strconv.ParseUint(words[2], 10, 32)
	last := first + count - 1
	if err != nil || count == 0 || last >= 1<<32-1 {
		return "", r, false
	}
	return words[0], uidRange{uint32(first), uint32(last)}, true
}

// Holds reports whether a uid lies in some account's range.
func (t SubuidTable) Holds(uid uint32) bool {
	for i := range t.ranges {
		if t.ranges[i].holds(uid) {
			return true
		}
	}
	return false
}

// Owner returns the account in whose range a uid lies. There is none if ranges of two
// accounts hold it, or if the name service doesn't know the account.
func (t SubuidTable) Owner(uid uint32) (owner uint32, found bool) {
	for i := range t.ranges {
		r := &t.ranges[i]
		if !r.holds(uid) {
			continue
		}
		a, err := ByName(r.account)
		if n, perr := strconv.ParseUint(r.account, 10, 32); errors.Is(err, ErrNone) && perr == nil {
			a.UID, err = uint32(n), nil
		}
		if err != nil || found && a.UID != owner {
			return 0, false
		}
		owner, found = a.UID, true
	}
	return owner, found
}
