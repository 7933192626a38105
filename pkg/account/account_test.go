package account

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// services gives the test a passwd file and a getent that is a shell script, none
// if script is "". Its id is another, which knows the names that are all digits.
func services(t *testing.T, file, script string) {
	t.Helper()
	dir := t.TempDir()
	oldFile, oldGetents, oldIDs := passwd, getents, ids
	forget := func() { memory.answers = nil }
	t.Cleanup(func() { passwd, getents, ids = oldFile, oldGetents, oldIDs; forget() })
	passwd, getents, ids = dir+"/passwd", []string{dir + "/none", dir + "/getent"}, []string{dir + "/id"}
	forget()
	if err := os.WriteFile(dir+"/id", []byte("#!/bin/sh\n"+id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(passwd, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		if err := os.WriteFile(dir+"/getent", []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

const file = `root:x:0:0:root:/root:/bin/sh
+nis:::::::
toor:x:0:0:second name of 0:/root:/bin/sh
groucho:x:1004:100:Julius:/home/groucho:/bin/sh
broken:x
bad:x:-3:0::/:
# none:x:7:7::/:
20231:x:20231:20231::/home/20231:
20232:x:1020:20231::/home/20232:
last:x:4294967294:0::/last:`

// id is as that of coreutils: a name first, then the uid of some account.
const id = `[ "$1 $2" = "-u --" ] || exit 2
case $3 in
20231777) echo 3501 ;;
4711) echo 3000 ;;
2000 | 3000 | 3501 | 1004) echo "$3" ;;
9999) sleep 20 ;;
*) exit 1 ;;
esac`

// ldap is a getent that knows harpo, 2000, and two whose names are digits, 3000 and
// 3501.
const ldap = `shift
status=2
for key; do
	case $key in
	harpo | 2000) echo harpo:x:2000:100:Adolph:/home/harpo:/bin/sh ;;
	3000) echo 4711:x:3000:100::/home/4711: ;;
	3501) echo 20231777:x:3501:100::/home/20231777: ;;
	1004) echo shadowed:x:1004:1::/: ;;
	esac
done
exit $status`

func TestByUIDs(t *testing.T) {
	services(t, file, `echo "$*" >>"${0%/*}/asked"
`+ldap)
	got, err := ByUIDs([]uint32{0, 1004, 2000, 3000, 5000, 4294967294})
	want := map[uint32]Account{
		0:          {"root", 0, "/root", "/bin/sh"},
		1004:       {"groucho", 1004, "/home/groucho", "/bin/sh"},
		2000:       {"harpo", 2000, "/home/harpo", "/bin/sh"},
		3000:       {"4711", 3000, "/home/4711", ""},
		4294967294: {"last", 4294967294, "/last", ""},
	}
	if !maps.Equal(got, want) || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if asked := asked(); !slices.Equal(asked, []string{"passwd 2000 3000 5000"}) { // only for what isn't in the file, and in one question
		t.Errorf("asked %q", asked)
	}
	if again, err := ByUIDs([]uint32{5000, 2000}); len(again) != 1 || err != nil || len(asked()) != 1 {
		t.Errorf("again: %v, %v, asked %q", again, err, asked())
	}
	forgotten(answerLasts)
	if again, err := ByUIDs([]uint32{5000, 2000}); len(again) != 1 || err != nil || len(asked()) != 2 {
		t.Errorf("a minute later: %v, %v, asked %q", again, err, asked())
	}
}

// asked returns in order what a getent was asked that writes its arguments to that file.
func asked() []string {
	text, _ := os.ReadFile(filepath.Dir(passwd) + "/asked")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(lines)
	return lines
}

// forgotten makes all that is remembered older.
func forgotten(by time.Duration) {
	for k, a := range memory.answers {
		a.at = a.at.Add(-by)
		memory.answers[k] = a
	}
}

// Keys that the name service is slow to answer don't take the time of those before them.
func TestSlowKeysDelayThemselves(t *testing.T) {
	defer func(before time.Duration) { Deadline = before }(Deadline)
	// Two minutes for all. As getent does into a pipe, it prints what it has found at its end.
	services(t, file, `shift
for key; do [ "$key" = 2000 ] && found=harpo:x:2000:1::/: || sleep .3; done; echo "$found"; exit 2`)
	uids := []uint32{2000}
	for uid := range uint32(400) {
		uids = append(uids, 700000+uid)
	}
	for place := range 3 { // the first, the second and the third
		memory.answers = nil
		uids[0], uids[place] = uids[place], uids[0]
		Deadline = 3 * time.Second
		found, err := ByUIDs(uids)
		if found[2000].Name != "harpo" || err == nil || err.Error() != "name service: no answer within 3s" {
			t.Errorf("at place %d: %v, %v", place, found, err)
		}
		// Who had no answer isn't asked for again at once, one by one.
		start := time.Now()
		if _, err := Resolve("700399", 700399, true); err == nil || time.Since(start) > time.Second {
			t.Errorf("asked again: %v in %s", err, time.Since(start))
		}
		uids[0], uids[place] = uids[place], uids[0]
	}
	forgotten(silenceLasts)
	if _, known := remembered([]query{{uid: 2000}, {uid: 700399}}); !slices.Equal(known, []query{{uid: 700399}}) {
		t.Errorf("to be asked again: %v", known)
	}
}

// Made-up keys can't fill the memory.
func TestMemoryIsBounded(t *testing.T) {
	services(t, "", "")
	for part := range uint32(5) {
		var uids []uint32
		for uid := range uint32(30000) {
			uids = append(uids, part*30000+uid)
		}
		if _, err := ByUIDs(uids); err != nil || len(memory.answers) > mostAnswers {
			t.Fatalf("%v; %d answers", err, len(memory.answers))
		}
	}
}

func TestByUIDsAsksInParts(t *testing.T) {
	services(t, "", `shift; for key; do echo "u$key:x:$key:1::/:"; done`)
	var uids []uint32
	for uid := range uint32(2500) {
		uids = append(uids, uid)
	}
	got, err := ByUIDs(uids)
	if len(got) != 2500 || got[2499].Name != "u2499" || err != nil {
		t.Errorf("%d names, %v", len(got), err)
	}
}

func TestNoAnswer(t *testing.T) {
	defer func(before time.Duration) { Deadline = before }(Deadline)
	for script, want := range map[string]string{
		"sleep 80 & sleep 80":               "name service: no answer within 2s",
		"exit 1":                            "name service: getent: exit status 1",
		"kill -9 $$":                        "name service: getent: signal: killed",
		"echo gummo:x:2001:1::/: ; exit 70": "name service: getent: exit status 70",
	} {
		if Deadline = time.Minute; strings.HasSuffix(want, "within 2s") {
			Deadline = 2 * time.Second
		}
		services(t, file, `echo $$ >>"${0%/*}/groups"; `+script)
		start := time.Now()
		got, err := ByUIDs([]uint32{0, 2000})
		if got[0].Name != "root" || err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want %s", script, got, err, want)
		}
		memory.answers = nil
		if _, err := ByName("zeppo"); err == nil || errors.Is(err, ErrNone) {
			t.Errorf("%s: ByName: %v", script, err)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%s: took %s", script, took)
		}
		groups, _ := os.ReadFile(filepath.Dir(passwd) + "/groups")
		for _, group := range strings.Fields(string(groups)) {
			n, _ := strconv.Atoi(group)
			for try := 0; syscall.Kill(-n, 0) == nil; try++ {
				if time.Sleep(10 * time.Millisecond); try > 500 {
					t.Fatalf("%s: something of it lives on", script)
				}
			}
		}
	}
}

func TestNoGetent(t *testing.T) {
	services(t, file, "")
	if got, err := ByUIDs([]uint32{0, 2000}); len(got) != 1 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ByName("harpo"); err != ErrNone {
		t.Error(err)
	}
	if err := os.Symlink(getents[0], getents[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := ByName("chico"); err == nil || err == ErrNone {
		t.Errorf("with a getent that can't be looked at: %v", err)
	}
	passwd += "/none"
	if _, err := ByUIDs([]uint32{0}); err == nil {
		t.Error("no error where passwd can't be read")
	}
}

func TestByName(t *testing.T) {
	services(t, file, ldap)
	for name, want := range map[string]Account{
		"root":    {"root", 0, "/root", "/bin/sh"},
		"toor":    {"toor", 0, "/root", "/bin/sh"},
		"groucho": {"groucho", 1004, "/home/groucho", "/bin/sh"},
		"harpo":   {"harpo", 2000, "/home/harpo", "/bin/sh"},
		// All digits: in the file with its own uid and with another, and in the service.
		"20231":    {"20231", 20231, "/home/20231", ""},
		"20232":    {"20232", 1020, "/home/20232", ""},
		"20231777": {"20231777", 3501, "/home/20231777", ""},
		"4711":     {"4711", 3000, "/home/4711", ""},
	} {
		if got, err := ByName(name); got != want || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "zeppo", "2000", "3501", "1004", "1020", "77", "-n", "--help", "+nis", "x:x", "harpo\n", "gr"} {
		if got, err := ByName(name); err != ErrNone {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

// The file is read again when it has changed, and only then.
func TestReadsAgain(t *testing.T) {
	const entry = "groucho:x:1004:100::/home/groucho:/bin/sh\n"
	services(t, entry, "")
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	uid := func(change func()) uint32 {
		t.Helper()
		if change(); t.Failed() {
			t.FailNow()
		}
		a, err := ByName("groucho")
		if err != nil {
			t.Fatal(err)
		}
		return a.UID
	}
	write := func(path, uid string, at time.Time) {
		if err := os.WriteFile(path, []byte(strings.Replace(entry, "1004", uid, 1)), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		why    string
		change func()
		want   uint32
	}{
		{"just written", func() {}, 1004},
		{"again at once", func() { write(passwd, "1005", time.Now()) }, 1005},
		{"in the future", func() { write(passwd, "1020", old.Add(2*time.Hour)) }, 1020},
		{"again, without a sign", func() { write(passwd, "1021", old.Add(2*time.Hour)) }, 1021},
		{"at rest", func() { write(passwd, "1006", old) }, 1006},
		{"nothing shows", func() { write(passwd, "1007", old) }, 1006},
		{"another mtime", func() { write(passwd, "1008", old.Add(time.Second)) }, 1008},
		{"another size", func() { write(passwd, "10009", old.Add(time.Second)) }, 10009},
		{"another file", func() {
			write(passwd+".new", "10010", old.Add(time.Second))
			if err := os.Rename(passwd+".new", passwd); err != nil {
				t.Error(err)
			}
		}, 10010},
	} {
		if got := uid(c.change); got != c.want {
			t.Errorf("%s: uid %d, want %d", c.why, got, c.want)
		}
	}
	write(passwd, "10011", old.Add(time.Second))
	lastRead.at = lastRead.at.Add(-fresh)
	if got := uid(func() {}); got != 10011 {
		t.Errorf("a minute later: uid %d", got)
	}
}

func TestResolve(t *testing.T) {
	const unknown = ^uint32(0)
	silent := "exit 1"
	for _, c := range []struct {
		script string
		user   string
		uid    uint32
		want   Account
		err    string
	}{
		{ldap, "groucho", 1004, Account{"groucho", 1004, "/home/groucho", "/bin/sh"}, ""},
		{ldap, "groucho", unknown, Account{"groucho", 1004, "/home/groucho", "/bin/sh"}, ""},
		{ldap, "harpo", 2000, Account{"harpo", 2000, "/home/harpo", "/bin/sh"}, ""},
		{ldap, "toor", 0, Account{"toor", 0, "/root", "/bin/sh"}, ""},
		{ldap, "groucho", 1005, Account{}, "account groucho has uid 1004 and not 1005"},
		{ldap, "groucho", 0, Account{}, "account groucho has uid 1004 and not 0"},
		{ldap, "zeppo", 5000, Account{}, "user zeppo: no such account"},
		{ldap, "zeppo", unknown, Account{}, "user zeppo: no such account"},
		{ldap, "5000", 5000, Account{"5000", 5000, "", ""}, ""},
		{ldap, "20231777", 3501, Account{"20231777", 3501, "/home/20231777", ""}, ""},
		{ldap, "20231777", unknown, Account{"20231777", 3501, "/home/20231777", ""}, ""},
		{ldap, "20231777", 3502, Account{}, "account 20231777 has uid 3501 and not 3502"},
		{ldap, "20231777", 20231777, Account{"20231777", 20231777, "", ""}, ""}, // a uid without an account
		{ldap, "20231", 20231, Account{"20231", 20231, "/home/20231", ""}, ""},
		{ldap, "20231", unknown, Account{"20231", 20231, "/home/20231", ""}, ""},
		{ldap, "20232", 1020, Account{"20232", 1020, "/home/20232", ""}, ""},
		{ldap, "20232", 20232, Account{"20232", 20232, "", ""}, ""}, // the same: the account of that name is another's
		{ldap, "3501", 3501, Account{}, "uid 3501 is account 20231777"},
		{ldap, "2000", 2000, Account{}, "uid 2000 is account harpo"},
		{ldap, "1004", 1004, Account{}, "uid 1004 is account groucho"},
		{ldap, "5000", 5001, Account{}, "user 5000: no such account"},
		{ldap, "5000", unknown, Account{}, "user 5000: no such account"},
		// In silence the uid is enough, but not the uid alone.
		{silent, "groucho", 1004, Account{"groucho", 1004, "/home/groucho", "/bin/sh"}, ""},
		{silent, "harpo", 2000, Account{"harpo", 2000, "", ""}, ""},
		{silent, "harpo", unknown, Account{}, "name service: getent: exit status 1"},
		{silent, "groucho", 1005, Account{}, "account groucho has uid 1004 and not 1005"},
		{silent, "2000", 2000, Account{"2000", 2000, "", ""}, "name service: getent: exit status 1"},
		{silent, "1004", 1004, Account{}, "uid 1004 is account groucho"},
		{silent, "20231", 20231, Account{"20231", 20231, "/home/20231", ""}, ""},
		{silent, "20231777", 3501, Account{"20231777", 3501, "", ""}, ""},
	} {
		services(t, file, c.script)
		got, err := Resolve(c.user, c.uid, c.uid != unknown)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != c.err || got != c.want {
			t.Errorf("%s, %d (%.6s): %+v, %v; want %+v, %s", c.user, c.uid, c.script, got, err, c.want, c.err)
		}
	}
}

// TestHere asks this machine, which knows root whatever it is.
func TestHere(t *testing.T) {
	got, err := ByUIDs([]uint32{0, 4242424242})
	if got[0].Name != "root" || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if a, err := ByName("root"); a.UID != 0 || err != nil {
		t.Errorf("%v, %v", a, err)
	}
	if _, err := ByName("no-such-account"); err != ErrNone {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for line := range strings.Lines(file) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if a, ok := parse(line); ok && (a.Name == "" || strings.Contains(a.Name, ":") || slices.Contains([]byte("+-#"), a.Name[0])) {
			t.Errorf("%q: %+v", line, a)
		}
	})
}

func TestForbidsLogin(t *testing.T) {
	for shell, want := range map[string]bool{
		"/usr/sbin/nologin": true, "/sbin/nologin": true, "/bin/false": true, "/usr/bin/false": true,
		"/bin/bash": false, "": false, "/usr/bin/falsey": false,
	} {
		if (Account{Shell: shell}).ForbidsLogin() != want {
			t.Errorf("%q: forbids login %v; want %v", shell, !want, want)
		}
	}
}
