package cmd_test

import (
	"strings"
	"testing"
)

// The recipes of threshold(8), as they stand there.
func TestThresholdRecipes(t *testing.T) {
	needs(t, "sh", "head", "grep")
	k := newKitchen(t, "threshold.8")
	k.processes()
	if shown := len(displays(t, "threshold.8")); shown != 2 {
		t.Fatalf("%d displays; want a sample, and a recipe", shown)
	}
	for line, want := range map[string]string{
		"procstat | threshold":           ",*/imapd|imap,log=20 alert=60 archive=60 kill=100,",
		"procstat | threshold --all":     ",harpo,,vi,1,",
		"procstat | threshold --explain": "groucho imapd 150: ",
	} {
		if out, err := k.run(k.line(line), ""); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, no %q in\n%s", line, err, want, out)
		}
	}

	k.write("limits.csv", "user,proc,log,alert\n*,sendmail,20,60\n*,imapd|imap,20,60\n")
	status, _, said := runThreshold("host,user,proc,count\nmoscow,groucho,imapd,57\n", "--explain", "--limits", k.dir+"/limits.csv")
	if shown := recipe(t, "threshold.8", "in 3"); status != 0 || strings.ReplaceAll(said, k.dir+"/", "") != shown+"\n" {
		t.Errorf("explains\n%s; the page shows\n%s", said, shown)
	}

	k.write("bin/vi", "#!/bin/sh\necho 'grouch?,imapd,151,,,,' >\"$1\".rows\nsed -i \"1r $1.rows\" \"$1\"\n")
	out, err := k.run(k.recipe("vi new.csv"), "")
	if lines := strings.Count(out, "\n"); err != nil || lines != 1 || strings.Contains(out, "groucho") {
		t.Errorf("a table that exempts groucho's imapd: %v, %s", err, out)
	}
}

// The recipes of killstorm(8), as they stand there. groucho has no account, so killstorm
// reports an error for each row that it would act on.
func TestKillstormRecipes(t *testing.T) {
	needs(t, "sh")
	k := newKitchen(t, "killstorm.8")
	k.processes()
	if shown := len(displays(t, "killstorm.8")); shown != 1 {
		t.Fatalf("%d displays; want 1", shown)
	}
	for script, want := range map[string]string{
		k.line("procstat | threshold | killstorm"): " kill=100,",
		k.recipe("killstorm --dry-run"):            ",kill=20,",
	} {
		if out, _ := k.run(script, ""); !strings.Contains(out, ",groucho,,imapd,150,") || !strings.Contains(out, want) || strings.Contains(out, ",harpo,") {
			t.Errorf("%s: no %q in\n%s", script, want, out)
		}
	}
}
