// Package account asks the system's name service for accounts, also in a static
// binary: it reads /etc/passwd and asks getent(1) for what isn't there, so that
// accounts of LDAP, SSSD, NIS and other NSS modules are known. "There is no such
// account" and "there was no answer" are different things.
package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
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

// deadline is how long the name service has for an answer. It is a variable for tests.
var deadline = 2 * time.Second

// passwd is the file that is read first, as nsswitch.conf has it on nearly all
// machines, and getents is where systems have getent: PATH isn't asked, for cron's
// is short. They are variables for tests.
var (
	passwd  = "/etc/passwd"
	getents = []string{"/usr/bin/getent", "/bin/getent"}
)

// ByUIDs looks all uids up, at once. Those that have no account are missing from
// the map. After an error, which is never ErrNone, uids that are missing may have one.
func ByUIDs(uids []uint32) (map[uint32]Account, error) {
	found := map[uint32]Account{}
	var unknown []string
	byUID := map[uint32]Account{}
	err := eachInFile(func(a Account) {
		if _, taken := byUID[a.UID]; !taken { // the first entry names a uid
			byUID[a.UID] = a
		}
	})
	for _, uid := range uids {
		if a, ok := byUID[uid]; ok {
			found[uid] = a
		} else {
			unknown = append(unknown, strconv.FormatUint(uint64(uid), 10))
		}
	}
	if len(unknown) == 0 {
		return found, nil
	}
	answer, gerr := getent(unknown)
	for _, a := range answer {
		if _, known := found[a.UID]; !known {
			found[a.UID] = a
		}
	}
	return found, errors.Join(err, gerr)
}

// ByName looks one account up. The error is ErrNone where there is none.
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
	answer, err := getent([]string{name})
	for _, a := range answer {
		// getent takes digits for a uid: such an answer has another name.
		if a.Name == name {
			return a, nil
		}
	}
	if err == nil {
		err = ErrNone
	}
	return Account{}, err
}

// Resolve returns the account that a user name and, where it is known, a uid both
// mean. The name service must not contradict, but its silence is no refusal where
// the uid is known: in a storm it may not answer. Home is "" then. A user that is
// only the uid's number may be an account whose name couldn't be found out, and
// one to be spared: there the name service must say that it has none.
func Resolve(user string, uid uint32, known bool) (Account, error) {
	if known && user == strconv.FormatUint(uint64(uid), 10) {
		found, err := ByUIDs([]uint32{uid})
		if a, named := found[uid]; named {
			return Account{}, fmt.Errorf("uid %d is account %s", uid, a.Name)
		}
		return Account{Name: user, UID: uid}, err
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
	info os.FileInfo // nil: it isn't to be used again
	text string
}

// What is used again: a text that was read a short while ago, of a file whose last
// change was old enough then for the next one to show in the mtime.
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

// getent asks for keys, names or uids, all in one call. Where there is no getent
// there are no NSS modules either (the C library brings both): /etc/passwd was all.
func getent(keys []string) (answer []Account, err error) {
	there := slices.IndexFunc(getents, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if there < 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for len(keys) > 0 && err == nil {
		part := keys[:min(len(keys), 1000)] // far below the limit of arguments
		keys = keys[len(part):]
		cmd := exec.CommandContext(ctx, getents[there], append([]string{"passwd"}, part...)...)
		// At the deadline all end that it has started; one that got away keeps the
		// pipe open for a second at most.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second
		var out bytes.Buffer
		cmd.Stdout = &out
		if err = proc.AtNormalPriority(cmd.Start); err == nil {
			err = cmd.Wait()
		}
		for line := range strings.Lines(out.String()) {
			if a, ok := parse(line); ok {
				answer = append(answer, a)
			}
		}
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			err = fmt.Errorf("name service: no answer within %s", deadline)
		case errors.As(err, &exit) && exit.ExitCode() == 2: // getent(1): a key isn't there
			err = nil
		case err != nil:
			err = fmt.Errorf("name service: getent: %w", err)
		}
	}
	return answer, err
}
