package account

import (
	"slices"
	"strconv"
)

// Subordinates are the uids that an account may give to processes in its own user
// namespaces.
type Subordinates struct {
	own, others []uidRange
	accounts    []uint32 // uids of own that belong to an account
}

// SubordinatesOf returns the subordinate uids of an account.
func SubordinatesOf(a Account) (s Subordinates, err error) {
	table, err := ReadSubuid()
	if err != nil {
		return s, err
	}
	for _, r := range table.ranges {
		if r.account == a.Name || r.account == strconv.FormatUint(uint64(a.UID), 10) {
			s.own = append(s.own, r.uidRange)
		} else {
			s.others = append(s.others, r.uidRange)
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
