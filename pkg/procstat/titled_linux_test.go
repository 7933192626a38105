package procstat

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/internal/testproc"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/titles"
)

// speaking starts processes of this account whose titles name the user groucho and the
// program duck, and returns their comm, the account, and a table that reads the titles.
func speaking(t *testing.T, all int) (comm, owner string, table *titles.Table) {
	t.Helper()
	uid := uint32(os.Geteuid())
	known, _ := account.ByUIDs([]uint32{uid})
	if known[uid].Name == "" {
		t.Skipf("uid %d has no account", uid)
	}
	comm = "t" + strconv.Itoa(os.Getpid()%100000)
	for range all {
		cmd := testproc.Victim(uid, comm)
		cmd.Args = []string{"imap groucho duck"}
		testproc.Start(t, cmd)
	}
	text := "account,proc,title\n" + known[uid].Name + "," + comm + ",^imap (?P<user>[^ ]*) (?P<proc>.*)$\n"
	table, faults := titles.Parse("titles.csv", text)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return comm, known[uid].Name, table
}

// A name that a title gives is in the rows, but is no label: anybody can think of a
// thousand.
func TestTitlesAreNoLabelsOfMetrics(t *testing.T) {
	const all = 20
	comm, owner, table := speaking(t, all)
	processes := openTable(t)
	for _, least := range []int64{1, 1e6} { // metrics count all processes whatever --min says
		o := Options{Min: least, Host: "moscow", Now: time.Now, Titles: table, Metrics: t.TempDir() + "/x.prom"}
		var found scan
		for deadline, late := time.Now().Add(time.Minute), error(errors.New("not tried")); late != nil; {
			late = nil
			o.Report = func(err error) { late = err } // a title or a name was not there in time
			var err error
			if found, err = o.fromTable(processes, &titleReader{titles: table, report: o.Report}, account.ByUIDs); err != nil {
				t.Fatal(err)
			}
			if late != nil && time.Now().After(deadline) {
				t.Fatal(late)
			}
		}
		if err := o.export(found); err != nil {
			t.Fatal(err)
		}
		if least == 1 && !slices.ContainsFunc(found.rows, func(row rows.Row) bool {
			return row.User == "groucho" && row.Proc == "duck" && row.Account == owner && row.Count.N == all
		}) {
			t.Errorf("no titles in %v", found.rows)
		}
		text, err := os.ReadFile(o.Metrics)
		want := fmt.Sprintf("stormcheck_processes{host=\"moscow\",user=%q,proc=%q} %d\n", owner, comm, all)
		if err != nil || !strings.Contains(string(text), want) || strings.Contains(string(text), "groucho") || strings.Contains(string(text), "duck") {
			t.Errorf("%v, want %s in\n%s", err, want, text)
		}
	}
}

// What isn't read in time counts as the account's own, nothing is lost, and its number is
// reported.
func TestTitlesNotInTime(t *testing.T) {
	const all = 20
	comm, owner, table := speaking(t, all)
	processes := openTable(t)
	defer func(before time.Duration) { titlesTake = before }(titlesTake)
	for _, titlesTake = range []time.Duration{time.Minute, -1} {
		for patience := 200; ; patience-- {
			var reports []string
			report := func(err error) { reports = append(reports, err.Error()) }
			o := Options{Min: 1, Now: time.Now, Titles: table, Report: report}
			found, err := o.fromTable(processes, &titleReader{titles: table, report: report}, account.ByUIDs)
			if err != nil {
				t.Fatal(err)
			}
			named, own := int64(0), int64(0)
			for _, row := range found.rows {
				switch {
				case row.User == "groucho" && row.Proc == "duck" && row.Account == owner:
					named += row.Count.N
				case row.Proc == comm:
					own += row.Count.N
				}
			}
			if named+own != all {
				t.Fatalf("%d named and %d others of %d", named, own, all)
			}
			if own == 0 && len(reports) == 0 && titlesTake > 0 {
				break
			}
			var late int64 // one may have been read before the clock was
			_, err = fmt.Sscanf(strings.Join(reports, "\n"), "%d process titles not read within -1ns: counted as their account's", &late)
			if err == nil && len(reports) == 1 && late <= own && late >= own-1 {
				break
			}
			if own > 0 || patience == 0 {
				t.Fatalf("within %s: %d named, reported %q", titlesTake, named, reports)
			}
		}
	}
}
