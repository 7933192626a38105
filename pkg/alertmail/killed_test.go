package alertmail_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// TestMain makes this test binary alertmail itself where that is asked for.
func TestMain(m *testing.M) {
	if args := os.Getenv("ALERTMAIL_ARGS"); args != "" {
		os.Args = strings.Split(args, "\n")
		filter.Main(alertmail.App())
	}
	os.Exit(m.Run())
}

// command is alertmail as a process of its own.
func command(in string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "ALERTMAIL_ARGS=alertmail\n"+strings.Join(args, "\n"))
	cmd.Stdin = strings.NewReader(in)
	return cmd
}

// sentIDs returns for each user the ids of the mails that report that user.
func sentIDs(t *testing.T, dir string) map[string]map[string]int {
	t.Helper()
	ids := map[string]map[string]int{}
	paths, _ := filepath.Glob(dir + "/mail.*")
	for _, path := range paths {
		p := parse(t, contents(t, path))
		for _, match := range regexp.MustCompile(`(?m)^ +404 (u\d+) `).FindAllStringSubmatch(p.body, -1) {
			if ids[match[1]] == nil {
				ids[match[1]] = map[string]int{}
			}
			ids[match[1]][p.header.Get("Message-Id")]++
		}
	}
	return ids
}

// TestKilledAtAnyMoment: whenever it is killed, the next run reports what wasn't
// reported, and what it reports twice has the same id. Like cron's next run, the one after a
// kill reads the same rows. ALERTMAIL_ROUNDS says how many.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	rounds, err := strconv.Atoi(os.Getenv("ALERTMAIL_ROUNDS"))
	if err != nil {
		rounds = 25
	}
	o, dir := mailing(t, `cat >draft.$$ && ln draft.$$ mail.$(date +%s%N) && rm draft.$$`)
	state := filepath.Join(dir, "state.csv")
	args := []string{"--to", "root", "--state", state, "--sendmail", o.Sendmail, "--over-after", "1000000"}
	killed := 0
	for round := range rounds {
		user := fmt.Sprintf("u%d", round)
		in := stream(cells{rows.User: user, rows.Actions: "alert=60"})
		for try := 0; ; try++ {
			cmd := command(in, args...)
			var problems bytes.Buffer
			cmd.Stderr = &problems
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if try < 3 {
				time.AfterFunc(time.Duration(rand.IntN(40_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
			if cmd.Wait() == nil {
				break
			}
			if killed++; try == 3 {
				t.Fatalf("%s: %s", cmd.ProcessState, &problems)
			}
		}
	}
	// A mailer that has outlived its alertmail may still be at work.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if drafts, _ := filepath.Glob(dir + "/draft.*"); len(drafts) == 0 || time.Now().After(deadline) {
			break
		}
	}
	ids, twice := sentIDs(t, dir), 0
	for round := range rounds {
		user := fmt.Sprintf("u%d", round)
		if len(ids[user]) != 1 {
			t.Errorf("%s was reported with the ids %v", user, ids[user])
		}
		for _, n := range ids[user] {
			if n > 1 {
				twice++
			}
		}
	}
	t.Logf("%d rounds, %d kills, %d reported twice under one id", rounds, killed, twice)
	if text := contents(t, state); strings.Count(text, "\nstorm,") != rounds {
		t.Errorf("the state:\n%s", text)
	}
	if left, _ := filepath.Glob(state + "*"); len(left) != 2 {
		t.Errorf("left %q", left)
	}
}

// TestManyRunsAtOnceMailEachStormOnce: of many that start at once on one state, each storm is mailed once.
func TestManyRunsAtOnceMailEachStormOnce(t *testing.T) {
	o, dir := mailing(t, `cat >draft.$$ && ln draft.$$ mail.$(date +%s%N) && rm draft.$$`)
	args := []string{"--to", "root", "--state", filepath.Join(dir, "state.csv"), "--sendmail", o.Sendmail, "--over-after", "100"}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			in := stream(cells{rows.User: "u0", rows.Actions: "alert=60"}, cells{rows.User: fmt.Sprintf("u%d", 1+i%4), rows.Actions: "alert=60"})
			if out, err := command(in, args...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		}()
	}
	wait.Wait()
	ids := sentIDs(t, dir)
	for i := range 5 {
		total := 0
		for _, n := range ids[fmt.Sprintf("u%d", i)] {
			total += n
		}
		if total != 1 {
			t.Errorf("u%d was mailed %d times", i, total)
		}
	}
}

// TestMessageOfADeadRunIsResentUnderItsID: whether a message was taken that it died over nobody knows. It
// goes again, under its id, and what came up since goes by itself: whoever drops a
// mail that he has loses nothing.
func TestMessageOfADeadRunIsResentUnderItsID(t *testing.T) {
	o, dir := mailing(t, `n=$(ls mail.* 2>/dev/null | wc -l); cat >mail.$n; test ! -e deadly || kill -KILL $PPID`)
	args := []string{"--to", "root", "--state", filepath.Join(dir, "state.csv"), "--sendmail", o.Sendmail}
	if err := os.WriteFile(filepath.Join(dir, "deadly"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first := cells{rows.User: "u1", rows.Actions: "alert=60", rows.Errors: "mine: odd"}
	if err := command(stream(first), args...).Run(); err == nil {
		t.Fatal("it lives")
	}
	if err := os.Remove(filepath.Join(dir, "deadly")); err != nil {
		t.Fatal(err)
	}
	worse := cells{rows.User: "u1", rows.Actions: "alert=60 kill=100"}
	for range 2 {
		in := stream(worse, cells{rows.User: "u2", rows.Actions: "alert=60"})
		if out, err := command(in, args...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	var ids, subjects []string
	for n := range 3 {
		p := parse(t, contents(t, dir, fmt.Sprintf("mail.%d", n)))
		ids, subjects = append(ids, p.header.Get("Message-Id")), append(subjects, p.subject)
		if !strings.Contains(p.body, "FAILED mine: odd") { // with all that belongs to it
			t.Error(p.body)
		}
	}
	if ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("ids %q", ids)
	}
	if want := "404 u1 imapd on moscow: FAILED (and 1 more)"; subjects[2] != want {
		t.Errorf("subjects %q", subjects)
	}
	if _, err := os.Stat(filepath.Join(dir, "mail.3")); err == nil {
		t.Error("reported again")
	}
}
