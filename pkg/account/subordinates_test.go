package account

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSubordinateUIDsAreOfExactlyOneAccount(t *testing.T) {
	dir := t.TempDir()
	defer func(a, b string) { subuid, passwd = a, b }(subuid, passwd)
	subuid, passwd = filepath.Join(dir, "subuid"), filepath.Join(dir, "passwd")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(passwd, "groucho:x:1001:1001::/home/groucho:/bin/sh\nmail:x:100500:8::/:/bin/false\n")
	write(subuid, "# text\ngroucho:100000:65536\nharpo:165000:1000\n1001:300000:10\n\nx\ngroucho:0:5\ngroucho:7\ngroucho:4294967290:100\ngroucho:x:5\ngroucho:500:-1\n")
	s, err := SubordinatesOf(Account{Name: "groucho", UID: 1001})
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]bool{
		99999: false, 100000: true, 164999: true, 165535: false, 165000: false, 165536: false, // the last is harpo's
		300000: true, 300009: true, 300010: false,
		100500: false, // an account's
		0:      false, 1: false, 500: false, 4294967290: false, 1001: false,
	} {
		if got := s.Hold(uid); got != want {
			t.Errorf("uid %d: %v", uid, got)
		}
	}
	if s, err := SubordinatesOf(Account{Name: "zeppo", UID: 9}); err != nil || s.Hold(100000) {
		t.Errorf("zeppo: %v", err)
	}
	subuid = filepath.Join(dir, "none")
	if s, err := SubordinatesOf(Account{Name: "groucho", UID: 1001}); err != nil || s.Hold(100000) {
		t.Errorf("no file: %v", err)
	}
}
