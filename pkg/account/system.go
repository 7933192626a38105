package account

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// Uids that systemd gives to services for as long as they run, DynamicUser of
// systemd.exec(5).
const firstDynamic, lastDynamic = 61184, 65519

// nobody is the uid of the account without rights, and of processes that have none in
// a user namespace.
const nobody = 65534

// IsSystem reports whether an account is the system's. A dynamic uid is, unless it
// belongs to an account that lets its owner log in.
func (a Account) IsSystem() bool {
	if firstDynamic <= a.UID && a.UID <= lastDynamic {
		known := a.Home != "" || a.Shell != ""
		return !known || a.ForbidsLogin()
	}
	return a.UID < firstUserUID() || a.UID == nobody
}

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
			if n, err := strconv.ParseUint(words[1], 10, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return common
}
