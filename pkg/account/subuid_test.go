package account

import (
	"os"
	"testing"
)

func TestSubuidOwner(t *testing.T) {
	services(t, file, ldap)
	defer func(before string) { subuid = before }(subuid)
	subuid = t.TempDir() + "/subuid"
	const text = "groucho:100000:65536\n" +
		"harpo:200000:65536\n" +
		"4242:300000:10\n" + // a uid
		"20231777:310000:10\n" + // an account whose name is digits
		"groucho:320000:10\n1004:320005:10\n" + // one account twice
		"zeppo:330000:10\n" + // no account
		"harpo:165535:2\n" + // overlaps groucho's
		"last:4294967290:5\n" +
		"# x:400000:10\nnonsense\nharpo:400000\nharpo:-1:5\nharpo:400000:0\nharpo:400000:x\n:400000:10\nharpo:4294967290:7\nharpo:400000:10:1\nharpo: 400000:10\nharpo:0:10\n"
	if err := os.WriteFile(subuid, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSubuid()
	if err != nil {
		t.Fatal(err)
	}
	const none = ^uint32(0)
	for uid, want := range map[uint32]uint32{
		99999: none, 100000: 1004, 165534: 1004, 165535: none, 165536: 2000, 165537: none, 200000: 2000,
		300009: 4242, 300010: none, 310000: 3501, 320000: 1004, 320005: 1004, 320012: 1004, 330000: none, 400000: none,
		4294967289: none, 4294967290: 4294967294, 4294967295: none, 0: none, 1004: none,
	} {
		owner, found := s.Owner(uid)
		if found != (want != none) || found && owner != want {
			t.Errorf("%d: %d, %v; want %d", uid, owner, found, want)
		}
	}
	if !s.Holds(165535) || !s.Holds(330000) || s.Holds(400000) {
		t.Error("which uids are of concern")
	}
	if err := os.Truncate(subuid, mostSubuid); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSubuid(); err == nil {
		t.Error("no error for a file that isn't read to its end")
	}
	subuid += "/none"
	if _, err := ReadSubuid(); err == nil {
		t.Error("no error for a file that can't be opened")
	}
	subuid = t.TempDir() + "/none"
	if s, err := ReadSubuid(); err != nil || s.Holds(0) {
		t.Errorf("no file: %v", err)
	}
}
