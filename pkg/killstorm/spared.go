package killstorm

import (
	"bufio"
	"os"
	"strings"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// nobody is the uid of the account without rights, and of what has none in a
// user namespace.
const nobody = 65534

// spared says why processes of uid are not to be ended, whatever their number:
// root's, and those of system accounts, whose one uid runs the service of
// everybody.
func spared(uid uint32) error {
	switch {
	case uid == 0:
		return filter.Note("root's processes are left alone")
	case uid < firstUserUID() || uid == nobody:
		return filter.Note("a system account's processes are left alone")
	}
	return nil
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
			if n, err := rows.ParseNumber(words[1]); err == nil {
				return uint32(n)
			}
		}
	}
	return common
}
