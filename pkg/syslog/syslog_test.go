package syslog

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen listens as syslogd does.
func listen(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, path
}

func TestLine(t *testing.T) {
	daemon, path := listen(t)
	log := Open(path, "killstorm")
	defer log.Close()
	log.Send(Notice, "killed uid=1004")
	log.Send(Error, "no mailer")
	for _, want := range []string{"<29>%s killstorm\\[%d\\]: killed uid=1004", "<27>%s killstorm\\[%d\\]: no mailer"} {
		_ = daemon.SetReadDeadline(time.Now().Add(time.Minute))
		line := make([]byte, 1024)
		n, err := daemon.Read(line)
		want = fmt.Sprintf("^"+want+"$", "[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]{8}", os.Getpid())
		if err != nil || !regexp.MustCompile(want).Match(line[:n]) {
			t.Errorf("%v, %q; want %s", err, line[:n], want)
		}
	}
	if lost, _ := log.Lost(); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

// A log that nobody reads is not waited for, and what is lost is counted.
func TestNobodyReads(t *testing.T) {
	const lines = 5000 // far above unix(7)'s net.unix.max_dgram_qlen
	daemon, path := listen(t)
	log := Open(path, "killstorm")
	defer log.Close()
	start := time.Now()
	for range lines {
		log.Send(Notice, "killed")
	}
	took := time.Since(start)
	lost, why := log.Lost()
	if lost == 0 || why != unix.EAGAIN || took > 30*time.Second {
		t.Errorf("%d lost, %v, after %s", lost, why, took)
	}
	if again, _ := log.Lost(); again != 0 {
		t.Errorf("%d lost since", again)
	}
	got := 0
	_ = daemon.SetReadDeadline(time.Now().Add(time.Second))
	for _, err := daemon.Read(make([]byte, 1024)); err == nil; _, err = daemon.Read(make([]byte, 1024)) {
		got++
	}
	if got+lost != lines {
		t.Errorf("%d of %d lines came, %d are said to be lost", got, lines, lost)
	}
}

// The daemon may end, or never have been there.
func TestNoDaemon(t *testing.T) {
	daemon, path := listen(t)
	log := Open(path, "killstorm")
	defer log.Close()
	daemon.Close()
	log.Send(Notice, "killed")
	if lost, why := log.Lost(); lost != 1 || why == nil {
		t.Errorf("its daemon has ended: %d lost, %v", lost, why)
	}
	for _, c := range []struct {
		path string
		lost int
	}{
		{t.TempDir() + "/none", 0},
		{"/dev/null", 1},
		{path + "/" + string(make([]byte, 200)), 1},
	} {
		log := Open(c.path, "killstorm")
		log.Send(Notice, "killed")
		if lost, why := log.Lost(); lost != c.lost || (why != nil) != (lost > 0) {
			t.Errorf("%q: %d lost, %v", c.path, lost, why)
		}
		log.Close()
	}
}
