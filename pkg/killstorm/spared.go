package killstorm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// nobody is the uid of the account without rights, and of what has none in a
// user namespace.
const nobody = 65534

// Protected are the users of --protect: by uid, so that no second name of theirs
// leads to them, and by name, for where the name service didn't tell the uid and for
// those whom titles name.
type Protected struct {
	UIDs  map[uint32]bool
	Names map[string]bool
}

// protect looks the users of --protect up, who may be given as names or as uids. A
// name that no account has is a mistake, and would protect nobody, unless processes
// may be titled with it.
func protect(users []string, titled bool, report func(error)) (Protected, error) {
	p := Protected{UIDs: map[uint32]bool{}, Names: map[string]bool{}}
	for _, user := range users {
		p.Names[user] = true
		a, err := account.ByName(user)
		uid, notUID := rows.ParseNumber(user)
		switch {
		case err == nil:
			p.UIDs[a.UID] = true
		case notUID == nil:
			p.UIDs[uint32(uid)] = true
		case errors.Is(err, account.ErrNone) && titled:
		case errors.Is(err, account.ErrNone):
			return p, filter.Usagef("--protect: %q: no such account", user)
		default:
			report(fmt.Errorf("--protect: %q: by name only: %w", user, err))
		}
	}
	return p, nil
}

// spared says why processes of user are not to be ended, whatever their number:
// protected ones, root's, and those of system accounts, whose one uid runs the
// service of everybody; but not those of one person, whom their titles name.
func (o Options) spared(t target) error {
	user := t.user
	switch {
	case o.Protect.UIDs[user.UID] || o.Protect.Names[user.Name]:
		return filter.Note("a protected user's processes are left alone")
	case user.UID == 0 && !o.AllowRoot:
		return filter.Note("root's processes are left alone")
	case user.UID != 0 && isSystem(user.UID) && !o.AllowSystem && t.named == "":
		return filter.Note("a system account's processes are left alone")
	}
	return nil
}

func isSystem(uid uint32) bool { return uid < firstUserUID() || uid == nobody }

// firstUserUID is UID_MIN of login.defs(5): accounts below it are the system's.
func firstUserUID() uint32 {
	const common = 1000
	f, err := os.Open("/etc/login.defs")
	if err != nil {
		return common
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) >= 2 && words[0] == "UID_MIN" {
			if n, err := rows.ParseNumber(words[1]); err == nil {
				return uint32(n)
			}
		}
	}
	return common
}

// lost are the failures of a copy that no user can bring about in his own mailbox's
// place: no space, in mailarchive's words or the system's, or I/O. With any other he
// could keep his storm.
var lost = []string{
	"no space: ", syscall.ENOSPC.Error(), syscall.EDQUOT.Error(), syscall.EIO.Error(), syscall.EROFS.Error(),
}

// notSaved is the error of a row that was due for a copy of the mail which failed for
// space or I/O, or that mailarchive has never seen.
func notSaved(record *rows.Record) error {
	_, due, _ := rows.FindAction(record.Get(rows.Actions), "archive")
	if !due {
		return nil
	}
	seen := record.Get(rows.Archived) != "" || strings.Contains("; "+record.Get(rows.Notes), "; mailarchive: ")
	for message := range strings.SplitSeq(record.Get(rows.Errors), "; ") {
		what, itsOwn := strings.CutPrefix(message, "mailarchive: ")
		seen = seen || itsOwn
		for _, failure := range lost {
			if itsOwn && strings.Contains(what, failure) {
				return fmt.Errorf("not killed: the mail isn't saved: %s", what)
			}
		}
	}
	if !seen {
		return errors.New("not killed: the mail isn't saved: no word of mailarchive")
	}
	return nil
}
