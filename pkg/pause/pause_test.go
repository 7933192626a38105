package pause

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)

func TestPausedNamesTheLatestEndThatHolds(t *testing.T) {
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	list := List{
		{hour(2), "groucho", "imapd"}, {hour(1), "groucho", Any}, {hour(3), Any, "sendmail"},
		{hour(-1), "harpo", "imapd"}, {now, "zeppo", "imapd"}, {hour(4), `\x2a`, "imapd"},
	}
	for _, c := range []struct {
		user, proc string
		until      time.Time
		paused     bool
	}{
		{"groucho", "imapd", hour(2), true},
		{"groucho", "perl", hour(1), true},
		{"groucho", "sendmail", hour(3), true},
		{"chico", "sendmail", hour(3), true},
		{"chico", "imapd", time.Time{}, false},
		{"harpo", "imapd", time.Time{}, false}, // over
		{"zeppo", "imapd", time.Time{}, false}, // over at this moment
		{`\x2a`, "imapd", hour(4), true},       // an account whose name is a star
		{"Groucho", "imapd", time.Time{}, false},
	} {
		if until, paused := list.Paused(c.user, c.proc, now); paused != c.paused || !until.Equal(c.until) {
			t.Errorf("%s %s: until %s, paused %v; want %s, %v", c.user, c.proc, until, paused, c.until, c.paused)
		}
	}
	if _, paused := (List{{hour(1), Any, Any}}).Paused("anybody", "", now); !paused {
		t.Error("*,* doesn't pause everything")
	}
}

func TestWriteIsReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	want := List{{now.Add(time.Hour), Any, Any}, {now.Add(time.Minute), `CORP\\alice`, `a\x2cb`}, {now, "groucho", ""}}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := Read(path)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range want {
		if !got[i].Until.Equal(want[i].Until) || got[i].User != want[i].User || got[i].Proc != want[i].Proc {
			t.Errorf("entry %d: %v; want %v", i, got[i], want[i])
		}
	}
	if err := Write(path, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("an empty list leaves a file: %v", err)
	}
	if err := Write(path, nil); err != nil {
		t.Errorf("an empty list twice: %v", err)
	}
	if err := Write(path, List{{now, `bad\escape`, "imapd"}}); err == nil {
		t.Error("a list that can't be read back was written")
	}
}

func TestUnfitFileIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	if list, err := Read(path); len(list) > 0 || err != nil {
		t.Errorf("no file: %v, %v", list, err)
	}
	const header = "until,user,proc\n"
	for text, want := range map[string]string{
		"":                                      "no header",
		"until,user\n":                          `no column "proc"`,
		header[:15] + ",host\n":                 `column "host"`,
		"until,user,proc,proc\n":                `column "proc" twice`,
		header + "tomorrow,*,*\n":               `until: "tomorrow" is not an RFC 3339 time`,
		header + ",*,*\n":                       "until",
		header + "2000-04-25T05:17:02Z,*\n":     "2 cells",
		header + "2000-04-25T05:17:02Z,,*\n":    "user: empty",
		header + "2000-04-25T05:17:02Z,*,\\x\n": "proc: bad escape",
		header + "2000-04-25T05:17:02Z,\\q,*\n": "user: bad escape",
		header + "2000-04-25T05:17:02Z,\"*,*\n": "",
		"\x00\x01":                              "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", text, list, err, want)
		}
	}
	if err := os.WriteFile(path, []byte(header), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := Read(path); len(list) > 0 || err != nil {
		t.Errorf("header only: %v, %v", list, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if list, err := Read(path); os.Geteuid() == 0 && err == nil {
		t.Errorf("writable by others: %v", list)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", path); err != nil {
		t.Fatal(err)
	}
	if list, err := Read(path); err == nil {
		t.Errorf("a link: %v", list)
	}
}
