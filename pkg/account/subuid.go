package account

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// subuid is the file of subordinate uids, subuid(5). It is a variable for tests.
var subuid = "/etc/subuid"

// Subordinates are the uids that an account may give to processes in its own user
// namespaces.
type Subordinates struct {
	own, others []uidRange
	accounts    []uint32 // uids of own that belong to an account
}

type uidRange struct{ first, last uint32 }

func (r uidRange) holds(uid uint32) bool { return r.first <= uid && uid <= r.last }

// SubordinatesOf reads the subordinate uids of an account, of which there are none if
// /etc/subuid doesn't exist. It passes over lines that aren't as subuid(5) has them.
func SubordinatesOf(a Account) (s Subordinates, err error) {
	text, err := os.ReadFile(subuid)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(text)) {
		owner, r, ok := parseSubuid(strings.TrimSpace(line))
		switch {
		case !ok:
		case owner == a.Name || owner == strconv.FormatUint(uint64(a.UID), 10):
			s.own = append(s.own, r)
		default:
			s.others = append(s.others, r)
		}
	}
	if len(s.own) == 0 {
		return Subordinates{}, nil
	}
	err = eachInFile(func(of Account) {
		if in(s.own, of.UID) {
			s.accounts = append(s.accounts, of.UID)
		}
	})
	return s, err
}

// Any reports whether there are any.
func (s Subordinates) Any() bool { return len(s.own) > 0 }

// Hold reports whether a uid is a subordinate one of the account's, and of no other
// account's, and isn't an account itself.
func (s Subordinates) Hold(uid uint32) bool {
	return in(s.own, uid) && !in(s.others, uid) && !slices.Contains(s.accounts, uid)
}

func in(ranges []uidRange, uid uint32) bool {
	return slices.ContainsFunc(ranges, func(r uidRange) bool { return r.holds(uid) })
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
