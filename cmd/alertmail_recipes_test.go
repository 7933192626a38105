package cmd_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The messages that storm.mail(5) shows are those that alertmail's tests hold it to.
func TestManMessages(t *testing.T) {
	for file, text := range map[string]string{"killed": "STORM ALERT", "owner": "Processes of your account"} {
		mail, err := os.ReadFile("../testdata/mail/" + file + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(mail), "\n\n")
		if shown := recipe(t, "storm.mail.5", text) + "\n"; shown != body {
			t.Errorf("the page shows\n%s; want\n%s", shown, body)
		}
	}
}

var triedAlertmail = []string{`$1 == "storm"`, "PIKT"}

// The recipes of alertmail(8), as they stand there, and those for alertmail of
// stormcheck-recipes(7).
func TestAlertmailRecipes(t *testing.T) {
	needs(t, "sh", "awk")
	k := newKitchen(t, "alertmail.8")
	k.processes()
	printed := func(script string, words ...string) {
		t.Helper()
		out, err := k.run(script, "")
		for _, word := range words {
			if err != nil || !strings.Contains(out, word) {
				t.Errorf("%s: %v, no %q in\n%s", script, err, word, out)
			}
		}
	}
	var lines []string
	for _, line := range submatches(`(?m)^\.Dl (.*)$`, manPage(t, "alertmail.8")) {
		lines = append(lines, k.place(line))
	}
	if shown := len(displays(t, "alertmail.8")); len(lines) != 2 || shown != 2 {
		t.Fatalf("%d lines and %d displays; want 2 and 2", len(lines), shown)
	}
	printed(lines[0], "150 groucho imapd on ", "\nURGENT:\n")
	printed(lines[1], "To: root,\n ops@example.org\n", "150 groucho imapd on ")

	k.write("mail.log", fmt.Sprintf("%s mx dovecot: imap(groucho): stuck\n", time.Now().Format(time.Stamp)))
	printed(k.recipe("--context"))
	k.has("mail", "150 groucho imapd on ", "| "+k.dir+"/mail.log:", "imap(groucho): stuck")
	k.page = "stormcheck-recipes.7"
	printed(k.recipe(triedAlertmail[0]), " groucho imapd since ", " peak 150")
	printed(k.recipe(triedAlertmail[1]), "PIKT ALERT\n", "    ProcNumChkUrgent\n", "        Report unusually high numbers of per-user procs.\n")
	k.page = "alertmail.8"
	k.write("mail", "")
	printed(k.recipe("--context"))
	if again := k.read("mail"); again != "" {
		t.Errorf("no news is mailed:\n%s", again)
	}
	for _, stage := range []string{"mailarchive", "killstorm"} {
		k.write("bin/"+stage, "#!/bin/sh\nexec cat\n") // nothing is ended here
	}
	printed(k.recipe("--owner-to"))
}
