package cmd_test

import (
	"os"
	"strings"
	"testing"
)

// The recipes of mailarchive(8) and storm.archive(5), as they stand there.
func TestMailarchiveRecipes(t *testing.T) {
	needs(t, "sh", "cp")
	k := newKitchen(t, "mailarchive.8")
	k.processes()
	if shown := len(displays(t, "mailarchive.8")); shown != 0 {
		t.Fatalf("%d displays; want none", shown)
	}
	if shown := len(displays(t, "storm.archive.5")); shown != 2 {
		t.Fatalf("%d displays; want 2", shown)
	}
	// groucho has no account, so the row passes with an error, and nothing is copied.
	if out, _ := k.run(k.line("procstat"), ""); !strings.Contains(out, ",groucho,,imapd,150,") {
		t.Errorf("a dry run passes on\n%s", out)
	}
	for _, flags := range []string{"mailarchive --mailbox /var/spool", "mailarchive --mailbox /srv"} {
		k.prints(k.line(flags)+" -n", "time,host,user,actions\n", "time,host,user,actions,archived,notes,errors\n")
	}

	k.page = "storm.archive.5"
	place := strings.NewReplacer("/var/mail", k.dir+"/spool").Replace
	k.write("bin/runuser", "#!/bin/sh\nshift 2\n[ \"$1\" != -- ] || shift\nexec \"$@\"\n")
	if err := os.MkdirAll(k.dir+"/state/archive", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(k.dir+"/spool", 0o700); err != nil {
		t.Fatal(err)
	}
	k.write("state/archive/groucho.956639822", "the copy\n")
	k.write("spool/groucho", "torn, and longer than the copy\n")
	before, err := os.Stat(k.dir + "/spool/groucho")
	if err != nil {
		t.Fatal(err)
	}
	k.prints(place(k.recipe("set -C")), "", "")
	after, err := os.Stat(k.dir + "/spool/groucho")
	if err != nil || !os.SameFile(before, after) || k.read("spool/groucho") != "the copy\n" || k.read("root/groucho.now") != "torn, and longer than the copy\n" {
		t.Errorf("%v: put back %q, aside %q", err, k.read("spool/groucho"), k.read("root/groucho.now"))
	}
	if _, err := os.Stat(k.dir + "/spool/groucho.lock"); err == nil {
		t.Error("the lock file is still there")
	}
	if err := os.Remove(k.dir + "/spool/groucho"); err != nil {
		t.Fatal(err)
	}
	k.prints(place(k.recipe("cp -np")), "", "")
	if got := k.read("spool/groucho"); got != "the copy\n" {
		t.Errorf("made again: %q", got)
	}
}
