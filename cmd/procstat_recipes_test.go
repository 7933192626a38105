package cmd_test

import (
	"strings"
	"testing"

	"stormcheck/pkg/rows"
)

// The recipes of procstat(8), as they stand there, and the header that it shows.
func TestProcstatRecipes(t *testing.T) {
	needs(t, "sh", "awk", "head")
	k := newKitchen(t, "procstat.8")
	k.processes()
	if shown := len(displays(t, "procstat.8")); shown != 4 {
		t.Fatalf("%d displays; want a header, commands, and 2 recipes", shown)
	}
	header := strings.Join(rows.Header(rows.SnapshotColumns), ",")
	if shown := recipe(t, "procstat.8", "time,host"); shown != header {
		t.Errorf("the page shows the header %s; want %s", shown, header)
	}
	out, err := k.run(k.line("procstat --min"), "")
	if lines := strings.Split(out, "\n"); err != nil || len(lines) != 3 || lines[0] != header || !strings.Contains(lines[1], ",groucho,,imapd,150,0,") {
		t.Errorf("%v:\n%s", err, out)
	}
	k.prints(k.recipe("--total"), "", "150 groucho\n1 harpo\n")
	k.write("bin/ssh", "#!/bin/sh\n[ \"$*\" = 'mail2 ps -eo user:64,stat,comm' ] && cat "+k.dir+"/ps.txt\n")
	out, err = k.run(k.recipe("ssh mail2"), "")
	if err != nil || strings.Count(out, ",mail2,") != 2 {
		t.Errorf("%v:\n%s", err, out)
	}
}

// Each command whose output procstat(8) says that it reads is one whose output it reads.
func TestProcstatReadsTheCommandsOfItsPage(t *testing.T) {
	needs(t, "sh", "ps")
	for _, command := range strings.Split(recipe(t, "procstat.8", "pid,user:64,stat"), "\n") {
		k := newKitchen(t, "procstat.8")
		out, err := k.run(command+" | procstat --host mail2 --input -", "")
		if err != nil || strings.Count(out, "\n") < 2 {
			t.Errorf("%s: %v:\n%s", command, err, out)
		}
	}
}
