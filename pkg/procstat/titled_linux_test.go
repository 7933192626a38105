package procstat

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/titles"
)

// What isn't read in time counts as the account's own, nothing is lost, and it is told
// how much.
func TestTitlesNotInTime(t *testing.T) {
	uid := uint32(os.Geteuid())
	known, _ := account.ByUIDs([]uint32{uid})
	if known[uid].Name == "" {
		t.Skipf("uid %d has no account", uid)
	}
	comm := "t" + strconv.Itoa(os.Getpid()%100000)
	self, err := os.ReadFile("/proc/self/exe")
	path := t.TempDir() + "/" + comm
	if err == nil {
		err = os.WriteFile(path, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	const all = 20
	for range all {
		cmd := exec.Command(path)
		cmd.Args = []string{"imap groucho"}
		cmd.Env = append(os.Environ(), "PROCSTAT_ARGS=--every 1h --no-realtime", "GORACE=atexit_sleep_ms=10")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		if _, err := out.Read(make([]byte, 1)); err != nil { // it runs
			t.Fatal(err)
		}
	}
	table, faults := titles.Parse("titles.csv", "account,proc,title\n"+known[uid].Name+","+comm+",^imap (?P<user>.*)$\n")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	processes, err := proc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer processes.Close()
	defer func(before time.Duration) { titlesTake = before }(titlesTake)
	for _, titlesTake = range []time.Duration{time.Minute, -1} {
		for patience := 200; ; patience-- {
			var reports []string
			report := func(err error) { reports = append(reports, err.Error()) }
			o := Options{Min: 1, Now: time.Now, Titles: table, Report: report}
			found, err := o.fromTable(processes, &speakers{titles: table, report: report}, account.ByUIDs)
			if err != nil {
				t.Fatal(err)
			}
			named, own := int64(0), int64(0)
			for _, row := range found.rows {
				switch {
				case row.Proc != comm:
				case row.User == "groucho" && row.Account == known[uid].Name:
					named += row.Count.N
				default:
					own += row.Count.N
				}
			}
			if named+own != all {
				t.Fatalf("%d named and %d others of %d", named, own, all)
			}
			if own == 0 && len(reports) == 0 && titlesTake > 0 {
				break
			}
			if want := fmt.Sprintf("%d process titles not read within -1ns: counted as their account's", own); own > 0 && strings.Join(reports, "") == want {
				break
			}
			if own > 0 || patience == 0 {
				t.Fatalf("within %s: %d named, reported %q", titlesTake, named, reports)
			}
		}
	}
}
