package mailarchive

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/mailbox"
)

func TestParseName(t *testing.T) {
	for _, c := range []struct {
		user, suffix, name string
		epoch              int64 // -1: not one of the series
		n                  int
	}{
		{"groucho", "", "groucho.956639822", 956639822, 0},
		{"groucho", "", "groucho.956639822.1", 956639822, 1},
		{"groucho", "", "groucho.956639822.999", 956639822, 999},
		{"groucho", "", "groucho.0", 0, 0},
		{"groucho", ".pop", "groucho.956639822.pop", 956639822, 0},
		{"groucho", ".pop", "groucho.956639822.pop.12", 956639822, 12},
		{"groucho", "-in", "groucho.956639822-in.12", 956639822, 12},
		{"gr.oucho", "", "gr.oucho.956639822", 956639822, 0},
		{"groucho", "", "groucho.956639822.pop", -1, 0},
		{"groucho", ".pop", "groucho.956639822", -1, 0},
		{"groucho", "", "groucho.956639822.0", -1, 0},
		{"groucho", "", "groucho.956639822.01", -1, 0},
		{"groucho", "", "groucho.956639822.1000", -1, 0},
		{"groucho", "", "groucho.956639822.", -1, 0},
		{"groucho", "", "groucho.0956639822", -1, 0},
		{"groucho", "", "groucho.+956639822", -1, 0},
		{"groucho", "", "groucho.-1", -1, 0},
		{"groucho", "", "groucho.99999999999999999999", -1, 0},
		{"groucho", "", "groucho.", -1, 0},
		{"groucho", "", "groucho.old", -1, 0},
		{"groucho", "", "groucho2.956639822", -1, 0},
		{"groucho", "", "xgroucho.956639822", -1, 0},
		{"groucho", "", ".groucho.956639822.tmp1", -1, 0},
	} {
		v, ok := series{base: c.user, suffix: c.suffix}.parse(c.name)
		if ok != (c.epoch >= 0) || ok && (v.epoch != c.epoch || v.n != c.n || v.name != c.name) {
			t.Errorf("%s, %q: %s: %+v, %t", c.user, c.suffix, c.name, v, ok)
		}
	}
}

func TestIsTemporary(t *testing.T) {
	for name, want := range map[string]bool{
		".groucho.956639822.tmp4711": true, ".groucho.956639822.pop.tmp1": true, "groucho.956639822.tmp4711": false,
		".groucho.tmp": false, ".groucho.956639822.tmp": false, ".groucho.956639822.tmpx": false, ".groucho.956639822.tmp-1": false,
		".tmp1": false, ".x.tmp1": false, ".groucho.956639822": false, "groucho": false, ".": false,
	} {
		if isTemporary(name) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

// What a killed run left is gone after the next, and nothing else.
func TestWhatAKilledRunLeftIsRemoved(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	old := "." + groucho + "." + epoch + ".tmp4711"
	s.write(s.archive+"/"+old, "From ch")
	s.write(s.archive+"/.x.956639822.pop.tmp1", "")
	s.try(os.Mkdir(s.archive+"/.y.956639822.tmp1", 0o700))
	s.write(s.archive+"/.keep", "")
	s.DryRun = true
	s.gives("", "mailarchive: would archive "+s.mailbox, "")
	s.holds(s.archive+"/"+old, "From ch")
	s.DryRun = false
	s.gives(s.name(night), "", "")
	s.archiveHolds(".keep", ".y.956639822.tmp1", groucho+"."+epoch)
}

// settled returns a time at which what was just written is long written.
func (s *stage) settled(path string) time.Time {
	st := s.stat(path)
	return time.Unix(st.Ctim.Unix()).Add(2 * time.Second).Truncate(time.Second)
}

func TestCopyOfAnUnchangedMailboxStands(t *testing.T) {
	s := newStage(t)
	s.AgainAfter = 10 * time.Minute
	s.write(s.mailbox, "From chico\n")
	first := s.settled(s.mailbox)
	s.at(first)
	s.gives(s.name(first), "", "")
	stands := "mailarchive: unchanged since " + first.UTC().Format(time.RFC3339)
	for _, later := range []time.Duration{0, time.Minute, time.Hour, 240 * time.Hour} {
		s.at(first.Add(later))
		s.gives(s.name(first), stands, "")
		s.DryRun = true
		s.gives(s.name(first), stands, "")
		s.DryRun = false
	}
	s.archiveHolds(fmt.Sprintf("%s.%d", groucho, first.Unix()))

	// Two that are unchanged need their paths.
	s.write(s.pop, "")
	second := s.settled(s.pop)
	s.at(second)
	s.gives(s.name(first)+":"+s.name(second)+".pop", "mailarchive: "+s.mailbox+strings.TrimPrefix(stands, "mailarchive"), "")
}

// Each way in which a mailbox is no longer what was copied makes another copy.
func TestEachKindOfChangeMakesAnotherCopy(t *testing.T) {
	for name, change := range map[string]func(s *stage, before unix.Stat_t){
		"grown": func(s *stage, _ unix.Stat_t) { s.write(s.mailbox, "From chico\n\n") },
		"rewritten with its mtime put back": func(s *stage, before unix.Stat_t) {
			s.write(s.mailbox, "From harpo\n")
			s.try(unix.UtimesNano(s.mailbox, []unix.Timespec{before.Atim, before.Mtim}))
		},
		"replaced with its mtime": func(s *stage, before unix.Stat_t) {
			s.write(s.mailbox+".new", "From harpo\n")
			s.try(unix.UtimesNano(s.mailbox+".new", []unix.Timespec{before.Atim, before.Mtim}))
			s.try(os.Rename(s.mailbox+".new", s.mailbox))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.AgainAfter = 10 * time.Minute
			s.write(s.mailbox, "From chico\n")
			first := s.settled(s.mailbox)
			s.at(first)
			s.gives(s.name(first), "", "")
			// The kernel's clock can't be moved: the copy is made to be from before.
			earlier := first.Add(-time.Hour)
			s.try(os.Rename(s.name(first), s.name(earlier)))
			change(s, s.stat(s.mailbox))

			s.at(earlier.Add(10*time.Minute - 1))
			s.gives(s.name(earlier), "mailarchive: changed since "+earlier.UTC().Format(time.RFC3339)+": not copied again within 10m", "")
			now := earlier.Add(10 * time.Minute)
			s.at(now)
			s.gives(s.name(now), "", "")
		})
	}
}

// A ctime in the second in which a copy began is no proof that nothing was written
// after it.
func TestSameSecondIsNotUnchanged(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	st := s.stat(s.mailbox)
	began := time.Unix(st.Ctim.Unix()).Truncate(time.Second)
	s.at(began)
	s.gives(s.name(began), "", "")
	s.gives(s.name(began)+".1", "", "")
}

func TestCopyFromTheFutureDoesNotCount(t *testing.T) {
	s := newStage(t)
	s.AgainAfter = 10 * time.Minute
	s.Keep = 1
	s.write(s.mailbox, "From chico\n")
	now := s.settled(s.mailbox)
	s.at(now)
	future := now.Add(time.Second)
	s.gives(s.name(now), "", "")
	s.try(os.Rename(s.name(now), s.name(future)))
	s.gives(s.name(now), "", "")
	s.holds(s.name(future), "From chico\n")
}

// What isn't a copy by its name, or not a regular file, doesn't stand for one.
func TestWhatIsNoCopyDoesNotStand(t *testing.T) {
	s := newStage(t)
	s.AgainAfter = 10 * time.Minute
	s.write(s.mailbox, "From chico\n")
	now := s.settled(s.mailbox)
	s.at(now)
	s.try(os.Symlink(s.mailbox, s.name(now.Add(-time.Second))))
	s.write(s.name(now.Add(-time.Second))+".pop", "From chico\n")
	s.gives(s.name(now), "", "")
}

// Mailboxes whose copies are called alike don't stand for each other.
func TestMailboxesCalledAlikeDoNotStandForEachOther(t *testing.T) {
	s := newStage(t)
	s.AgainAfter = 10 * time.Minute
	s.try(os.Mkdir(s.spool+"/more", 0o755))
	s.Mailboxes = nil
	for _, path := range []string{s.spool + "/{user}", s.spool + "/more/{user}"} {
		template, err := mailbox.Parse(path)
		s.try(err)
		s.Mailboxes = append(s.Mailboxes, template)
	}
	more := s.spool + "/more/" + groucho
	s.write(s.mailbox, "From chico\n")
	s.write(more, "From harpo\n\n")
	now := s.settled(more)
	s.at(now)
	archived, notes, errors := s.row()
	first, second, _ := strings.Cut(archived, ":")
	if notes != "" || errors != "" || min(first, second) != s.name(now) || max(first, second) != s.name(now)+".1" {
		t.Errorf("archived %q, notes %q, errors %q", archived, notes, errors)
	}
	s.holds(first, "From chico\n")
	s.holds(second, "From harpo\n\n")
	since := "unchanged since " + now.UTC().Format(time.RFC3339)
	s.gives(archived, "mailarchive: "+s.mailbox+": "+since+"; mailarchive: "+more+": "+since, "")

	s.write(more, "From harpo and his harp\n")
	s.at(now.Add(time.Minute))
	s.gives(first, "mailarchive: "+s.mailbox+": "+since+"; mailarchive: "+more+": changed"+strings.TrimPrefix(since, "unchanged")+": not copied again within 10m", "")
}

func TestKeepRemovesTheOldest(t *testing.T) {
	night := time.Now().Add(time.Hour).Truncate(time.Second)
	minutes := func(all ...int) (names []string) {
		for _, m := range all {
			names = append(names, fmt.Sprintf("%s.%d", groucho, night.Add(-time.Duration(m)*time.Minute).Unix()))
		}
		return names
	}
	for name, c := range map[string]struct {
		keep  int64
		there []int // minutes ago
		stay  []int
	}{
		"all":                    {0, []int{400, 300, 200, 100, 50, 20}, []int{400, 300, 200, 100, 50, 20, 0}},
		"fewer":                  {9, []int{400, 300}, []int{400, 300, 0}},
		"one":                    {1, []int{4000, 300, 200}, []int{0}},
		"one and the first":      {1, []int{4000, 100, 50, 20}, []int{100, 0}},
		"and the first":          {2, []int{180, 121, 80, 60, 30, 20, 10}, []int{180, 10, 0}},
		"of this storm":          {2, []int{300, 181, 120, 61, 20, 10}, []int{120, 10, 0}},
		"the first is among":     {3, []int{300, 20, 10}, []int{20, 10, 0}},
		"an hour is still one":   {1, []int{60}, []int{60, 0}},
		"more than an hour not":  {1, []int{61}, []int{0}},
		"only a storm long gone": {1, []int{5000, 4990, 4980}, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.Keep = c.keep
			s.write(s.mailbox, "From chico\n")
			for _, name := range minutes(c.there...) {
				s.write(s.archive+"/"+name, "")
			}
			others := []string{"x." + epoch, groucho + "2." + epoch, groucho + "." + epoch + ".pop", groucho + ".old", groucho + "." + epoch + ".x"}
			for _, name := range others {
				s.write(s.archive+"/"+name, "")
			}
			s.try(os.Mkdir(s.archive+"/"+groucho+"."+epoch, 0o700))
			s.at(night)
			s.gives(s.name(night), "", "")
			s.archiveHolds(append(append(minutes(c.stay...), others...), groucho+"."+epoch)...)
		})
	}
}

// Of copies of one second the later has the larger number, and not the longer name.
func TestKeepKnowsTheOrderOfNumbers(t *testing.T) {
	s := newStage(t)
	s.Keep = 2
	s.write(s.mailbox, "From chico\n")
	for n := 1; n <= 10; n++ {
		s.write(s.name(night)+"."+strconv.Itoa(n), "")
	}
	s.write(s.name(night), "")
	s.gives(s.name(night)+".11", "", "")
	s.archiveHolds(groucho+"."+epoch, groucho+"."+epoch+".10", groucho+"."+epoch+".11")
}

// The names are read once, and again when another run has changed them.
func TestListFollowsAnotherRun(t *testing.T) {
	s := newStage(t)
	d, err := openDirectory(s.archive)
	s.try(err)
	defer d.Close()
	s.try(d.list())
	write := func(name string) { s.try(os.WriteFile(s.archive+"/"+name, nil, 0o600)) }
	for n := range 100 {
		write(fmt.Sprint("x.", n))
		for end := time.Now().Add(time.Minute); len(d.names) != n+1; time.Sleep(time.Millisecond) {
			s.try(d.list())
			if time.Now().After(end) { // on old kernels a tick may pass unseen, but not two changes
				t.Fatalf("%d names, not %d", len(d.names), n+1)
			}
		}
	}
	s.try(d.remove("x.50"))
	d.add("x.100")
	if len(d.names) != 100 {
		t.Errorf("%d names", len(d.names))
	}
}
