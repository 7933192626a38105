// Package account asks the system's name service for accounts, also in a static
// binary: it reads /etc/passwd and asks getent(1) for what isn't there, so that
// accounts of LDAP, SSSD, NIS and other NSS modules are known. "There is no such
// account" and "there was no answer" are different things. Answers are remembered for a
// minute, so that many rows of one account ask once.
package account

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Account is an entry of the name service, passwd(5).
type Account struct {
	Name  string
	UID   uint32
	Home  string
	Shell string // "" is /bin/sh
}

// ForbidsLogin reports whether the account's shell lets nobody log in: nologin(8) or
// false(1), wherever it is installed.
func (a Account) ForbidsLogin() bool {
	shell := path.Base(a.Shell)
	return shell == "nologin" || shell == "false"
}

// ErrNone is the error of an account that the name service says it doesn't have.
var ErrNone = errors.New("no such account")

// Deadline is how long the name service has for an answer. It is a variable for tests.
var Deadline = 2 * time.Second

// passwd is the file that is read first, as nsswitch.conf has it on nearly all machines.
// getents and ids are where systems have getent and id: PATH isn't used, because cron's is
// short. They are variables for tests.
var (
	passwd  = "/etc/passwd"
	getents = []string{"/usr/bin/getent", "/bin/getent"}
	ids     = []string{"/usr/bin/id", "/bin/id"}
)

// ByUIDs looks up uids, of which the first matter most: if the name service is slow, their
// answers are there when the time is over. The map lacks uids that have no account. After
// an error, which is never ErrNone, it may also lack uids that have one.
func ByUIDs(uids []uint32) (map[uint32]Account, error) {
	found := map[uint32]Account{}
	byUID := map[uint32]Account{}
	fileErr := eachInFile(func(a Account) {
		if _, taken := byUID[a.UID]; !taken { // the first entry names a uid
			byUID[a.UID] = a
		}
	})
	var unknown []query
	for _, uid := range uids {
		if a, ok := byUID[uid]; ok {
			found[uid] = a
		} else {
			unknown = append(unknown, query{uid: uid})
		}
	}
	err := lookUp(unknown, func(q query, a Account) { found[q.uid] = a })
	return found, errors.Join(fileErr, err)
}

// ByName looks one account up. The error is ErrNone if there is none.
func ByName(name string) (Account, error) {
	text, err := readFile()
	if a, found := find(text, name); found {
		return a, nil
	}
	if err != nil {
		return Account{}, err
	}
	if name == "" || name[0] == '-' { // which getent would take for an option
		return Account{}, ErrNone
	}
	if isDigits(name) {
		return byDigits(name)
	}
	var found Account
	err = lookUp([]query{{name: name}}, func(_ query, a Account) { found = a })
	if err == nil && found.Name == "" {
		err = ErrNone
	}
	return found, err
}

// byDigits is ByName for a name that is all digits, which getent takes for a uid. id(1)
// tries it as a name first, as POSIX wants it.
func byDigits(name string) (Account, error) {
	uid, err := idOf(name)
	if err != nil {
		return Account{}, err
	}
	found, err := ByUIDs([]uint32{uid})
	if a := found[uid]; a.Name == name {
		return a, nil
	}
	if err == nil {
		err = ErrNone
	}
	return Account{}, err
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// Resolve returns the account that a user name and, if it is known, a uid both mean. If
// the name service contradicts the uid, that is an error. If the uid is known and the name
// service doesn't answer, as in a storm, the uid is enough, and Home is "". A user that is
// only the uid's number may be an account whose name couldn't be found out, and which must
// be spared: then the name service has to say that the uid has no account.
func Resolve(user string, uid uint32, known bool) (Account, error) {
	if known && isDigits(user) {
		found, err := ByUIDs([]uint32{uid})
		a, named := found[uid]
		nameless := user == strconv.FormatUint(uint64(uid), 10)
		switch {
		case named && a.Name == user:
			return a, nil
		case named && nameless:
			return Account{}, fmt.Errorf("uid %d is account %s", uid, a.Name)
		case nameless:
			return Account{Name: user, UID: uid}, err
		case err != nil:
			return Account{Name: user, UID: uid}, nil
		} // else it may be a second name of the uid
	}
	a, err := ByName(user)
	switch {
	case err == nil && known && a.UID != uid:
		return Account{}, fmt.Errorf("account %s has uid %d and not %d", user, a.UID, uid)
	case errors.Is(err, ErrNone):
		return Account{}, fmt.Errorf("user %s: %w", user, err)
	case err != nil && known:
		return Account{Name: user, UID: uid}, nil
	}
	return a, err
}

// eachInFile passes each entry of /etc/passwd to f.
func eachInFile(f func(Account)) error {
	text, err := readFile()
	for line := range strings.Lines(text) {
		if a, ok := parse(line); ok {
			f(a)
		}
	}
	return err
}

// lastRead is /etc/passwd as it was read last: on a machine of many accounts it has
// megabytes, and a stream has a row for each.
var lastRead struct {
	sync.Mutex
	at   time.Time
	info os.FileInfo // nil: it must not be used again
	text string
}

// A text is used again if it was read a short while ago, and if the file's last change was
// then old enough for the next one to show in the mtime.
const (
	fresh   = time.Minute
	settled = 2 * time.Second
)

// readFile returns the text of /etc/passwd, none where there is no such file.
func readFile() (string, error) {
	f, err := os.Open(passwd)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	lastRead.Lock()
	defer lastRead.Unlock()
	if last := lastRead.info; last != nil && os.SameFile(last, info) && last.Size() == info.Size() &&
		last.ModTime().Equal(info.ModTime()) && time.Since(lastRead.at) < fresh {
		return lastRead.text, nil
	}
	lastRead.at = time.Now()
	text, err := io.ReadAll(f)
	lastRead.text, lastRead.info = string(text), info
	if err != nil || time.Since(info.ModTime()) < settled {
		lastRead.info = nil
	}
	return lastRead.text, err
}

// find returns the first entry of that name. It parses no other line: a machine may
// have many thousands, and a stream a row for each.
func find(text, name string) (Account, bool) {
	for at := 0; ; at++ {
		next := strings.Index(text[at:], name+":")
		if next < 0 {
			return Account{}, false
		}
		if at += next; at == 0 || text[at-1] == '\n' {
			line, _, _ := strings.Cut(text[at:], "\n")
			if a, ok := parse(line); ok && a.Name == name {
				return a, true
			}
		}
	}
}

// parse reads a line of passwd(5). A NIS entry (+, -) isn't an account.
func parse(line string) (Account, bool) {
	words := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(words) != 7 || words[0] == "" || strings.ContainsAny(words[0][:1], "+-#") {
		return Account{}, false
	}
	uid, err := strconv.ParseUint(words[2], 10, 32)
	return Account{Name: words[0], UID: uint32(uid), Home: words[5], Shell: words[6]}, err == nil
}
