package mailarchive

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// night is when the rows of these tests are from, and when they are read.
var night = time.Date(2000, 4, 25, 5, 17, 2, 0, time.UTC)

const epoch = "956639822"

// uid is the user of these tests: root gives the files away, and anybody else
// has only their own. It goes by its number, as one without an account does.
var uid = func() int {
	if os.Geteuid() == 0 {
		return 54321
	}
	return os.Geteuid()
}()

var groucho = strconv.Itoa(uid)

// A stage is a spool and an archive directory of a test's own.
type stage struct {
	*testing.T
	top, spool, archive string
	mailbox, pop        string // the user's
	Options
	around func(run func()) // runs each run
}

func newStage(t *testing.T) *stage {
	top := t.TempDir()
	s := &stage{T: t, top: top, spool: top + "/mail", archive: top + "/archive"}
	s.around = func(run func()) { run() }
	s.mailbox, s.pop = s.spool+"/"+groucho, s.spool+"/."+groucho+".pop"
	s.try(os.Mkdir(s.spool, 0o755))
	s.try(os.Mkdir(s.archive, 0o700))
	s.Options = Options{Dir: s.archive, Timeout: time.Minute, Host: func() string { return "moscow" }, Now: func() time.Time { return night }}
	s.boxes("{user}", ".{user}.pop")
	return s
}

// boxes makes the templates, beneath the spool, those of the run.
func (s *stage) boxes(templates ...string) {
	s.Mailboxes = nil
	for _, text := range templates {
		template, err := mailbox.Parse(s.spool + "/" + text)
		s.try(err)
		s.Mailboxes = append(s.Mailboxes, template)
	}
}

func (s *stage) try(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// write makes a file of the user's.
func (s *stage) write(path, text string) {
	s.Helper()
	s.try(os.WriteFile(path, []byte(text), 0o600))
	s.try(os.Chown(path, uid, os.Getegid()))
}

func (s *stage) stat(path string) (st unix.Stat_t) {
	s.Helper()
	if err := unix.Lstat(path, &st); err != nil {
		s.Fatalf("%s: %v", path, err)
	}
	return st
}

// holds checks a file's contents.
func (s *stage) holds(path, want string) {
	s.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		s.Errorf("%s holds %.60q, %v; want %.60q", path, got, err, want)
	}
}

// archiveHolds checks the names in the archive directory, but for its lock and the list
// of mailboxes that failed.
func (s *stage) archiveHolds(want ...string) {
	s.Helper()
	if names := s.names(); !slices.Equal(names, slices.Sorted(slices.Values(want))) {
		s.Errorf("the archive holds %q, want %q", names, want)
	}
}

// names returns those in the archive directory, sorted.
func (s *stage) names() []string {
	s.Helper()
	entries, err := os.ReadDir(s.archive)
	s.try(err)
	names := []string{}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != failedName {
			names = append(names, e.Name())
		}
	}
	return names
}

const header = "time,host,user,uid,proc,count,actions,archived,notes,errors\n"

// due is a row that is due for a copy.
func due(user, uid string) string {
	return "2000-04-25T05:17:02Z,moscow," + user + "," + uid + ",imapd,404,archive=60,,,\n"
}

// pass takes a stream through Run and returns the output and the reports.
func (s *stage) pass(in string) (out string, reports []string) {
	s.Helper()
	var buffer bytes.Buffer
	var err error
	s.around(func() {
		err = Run(s.Options, filter.Env{
			In: strings.NewReader(in), Out: &buffer,
			Report: func(err error) { reports = append(reports, err.Error()) },
		})
	})
	s.try(err)
	return buffer.String(), reports
}

// row takes a row of the user's through Run and returns three cells of it. Errors must be
// reported too, in the same words.
func (s *stage) row() (archived, notes, errors string) {
	s.Helper()
	now := s.Now().UTC().Format(time.RFC3339)
	return s.cells(strings.Replace(due(groucho, groucho), "2000-04-25T05:17:02Z", now, 1))
}

// at sets the clock.
func (s *stage) at(now time.Time) { s.Now = func() time.Time { return now } }

// name is the path of the user's copy that began then.
func (s *stage) name(began time.Time) string {
	return fmt.Sprintf("%s/%s.%d", s.archive, groucho, began.Unix())
}

// TestMain makes this test binary mailarchive, where MAILARCHIVE says so.
func TestMain(m *testing.M) {
	if os.Getenv("MAILARCHIVE") != "" {
		filter.Main(App())
	}
	os.Exit(m.Run())
}

// command is mailarchive as a process of its own, with a row of now on its input.
func (s *stage) command(flags ...string) *exec.Cmd {
	args := []string{"--dir", s.archive, "--host", "moscow", "--mailbox", s.spool + "/{user}", "--mailbox", s.spool + "/.{user}.pop"}
	cmd := exec.Command("/proc/self/exe", append(args, flags...)...)
	cmd.Env = append(os.Environ(), "MAILARCHIVE=1", "GORACE=atexit_sleep_ms=10")
	now := time.Now().UTC().Format(time.RFC3339)
	cmd.Stdin = strings.NewReader(header + strings.Replace(due(groucho, groucho), "2000-04-25T05:17:02Z", now, 1))
	return cmd
}

func (s *stage) cells(row string) (archived, notes, errors string) {
	s.Helper()
	out, reports := s.pass(header + row)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	cells := strings.Split(lines[len(lines)-1], ",")
	if len(lines) != 2 || len(cells) != 10 {
		s.Fatalf("out: %q", out)
	}
	var messages []string
	for _, report := range reports {
		what, ok := strings.CutPrefix(report, "<stdin>:2: "+cells[2]+": ")
		if !ok {
			s.Errorf("report %q", report)
		}
		messages = append(messages, "mailarchive: "+rows.EscapeMessage(what))
	}
	if joined := strings.Join(messages, "; "); joined != cells[9] {
		s.Errorf("errors %q, reports %q", cells[9], reports)
	}
	return cells[7], cells[8], cells[9]
}

// gives checks what a row of the user's comes out with.
func (s *stage) gives(archived, notes, errors string) {
	s.Helper()
	if a, n, e := s.row(); a != archived || n != notes || e != errors {
		s.Errorf("archived %q\n   notes %q\n  errors %q\nwant %q, %q, %q", a, n, e, archived, notes, errors)
	}
}

func TestRowHasItsCopy(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.write(s.pop, "From harpo\n")
	s.gives(s.archive+"/"+groucho+"."+epoch+":"+s.archive+"/"+groucho+"."+epoch+".pop", "", "")
	s.archiveHolds(groucho+"."+epoch, groucho+"."+epoch+".pop")
	s.holds(s.archive+"/"+groucho+"."+epoch, "From chico\n")
	s.holds(s.archive+"/"+groucho+"."+epoch+".pop", "From harpo\n")
}

func TestOneMailbox(t *testing.T) {
	s := newStage(t)
	s.write(s.pop, "")
	s.gives(s.archive+"/"+groucho+"."+epoch+".pop", "", "")
}

func TestNoMailboxIsNoted(t *testing.T) {
	s := newStage(t)
	s.gives("", "mailarchive: no mailbox", "")
	s.boxes("{user}/mbox")
	s.gives("", "mailarchive: no mailbox", "")
	s.boxes("nowhere/{user}")
	s.gives("", "", "mailarchive: "+s.spool+"/nowhere/"+groucho+": its directory doesn't exist")
	s.archiveHolds()
}

// What isn't the user's mailbox is refused, and a good one beside it copied.
func TestWhatIsNotTheUsersMailboxIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make   func(s *stage)
		note   string
		failed string
	}{
		"link": {failed: "refused: a symbolic link", make: func(s *stage) {
			s.write(s.top+"/secret", "root::")
			s.try(os.Symlink(s.top+"/secret", s.mailbox))
		}},
		"dangling link": {failed: "refused: a symbolic link", make: func(s *stage) {
			s.try(os.Symlink("nowhere", s.mailbox))
		}},
		"FIFO": {failed: "refused: not a regular file", make: func(s *stage) {
			s.try(unix.Mkfifo(s.mailbox, 0o666))
		}},
		"device": {failed: "refused: not a regular file", make: func(s *stage) {
			if err := unix.Mknod(s.mailbox, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
				s.Skipf("mknod: %v", err)
			}
		}},
		"Maildir": {note: "a directory: a kill doesn't tear a Maildir", make: func(s *stage) {
			s.try(os.Mkdir(s.mailbox, 0o700))
		}},
		"another's": {note: "belongs to somebody else (uid 4242)", make: func(s *stage) {
			s.write(s.mailbox, "")
			if err := os.Chown(s.mailbox, 4242, 4242); err != nil {
				s.Skipf("chown: %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			c.make(s)
			s.write(s.pop, "From harpo\n")
			message := func(what string) string {
				if what == "" {
					return ""
				}
				return "mailarchive: " + s.mailbox + ": " + what
			}
			s.gives(s.archive+"/"+groucho+"."+epoch+".pop", message(c.note), message(c.failed))
			s.DryRun = true
			note := "mailarchive: would archive " + s.pop
			if c.note != "" {
				note = message(c.note) + "; " + note
			}
			s.gives("", note, message(c.failed))
			s.archiveHolds(groucho + "." + epoch + ".pop")
		})
	}
}

// Another's file needs no root where the row has another's uid.
func TestMailboxOfAnotherUIDIsRefused(t *testing.T) {
	s := newStage(t)
	s.write(s.spool+"/4242", "From chico\n")
	_, notes, errors := s.cells(due("4242", "4242"))
	if want := fmt.Sprintf("mailarchive: %s/4242: belongs to somebody else (uid %d)", s.spool, uid); notes != want || errors != "" {
		t.Errorf("notes %q, errors %q", notes, errors)
	}
	s.archiveHolds()
}

func TestRootsMailboxLinked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a file of root's")
	}
	s := newStage(t)
	s.try(os.WriteFile(s.top+"/shadow", []byte("root::"), 0o600))
	s.try(os.Link(s.top+"/shadow", s.spool+"/root"))
	if _, _, errors := s.cells(due("root", "0")); !strings.Contains(errors, "2 links") {
		t.Errorf("errors %q", errors)
	}
	s.archiveHolds()
	s.try(os.Remove(s.top + "/shadow"))
	if archived, _, errors := s.cells(due("root", "0")); archived == "" || errors != "" {
		t.Errorf("archived %q, errors %q", archived, errors)
	}
}

func TestUserNamesThatAreNoPathAreRefused(t *testing.T) {
	s := newStage(t)
	s.write(s.top+"/passwd", "root:")
	s.write(s.spool+"/x.lock", "")
	s.write(s.spool+"/x.123", "")
	s.write(s.spool+"/-rf", "")
	s.try(os.Mkdir(s.spool+"/a", 0o755))
	s.write(s.spool+"/a/b", "")
	for _, user := range []string{
		"../passwd", "../../etc/passwd", "a/b", "", ".", "..", "-rf", "x.lock",
		`\x00`, `\x1b[2J`, `x\x0ay`, `x\x2f..`, "a:b",
	} {
		if archived, _, errors := s.cells(due(user, groucho)); archived != "" || errors != "mailarchive: user: not fit for a path" {
			t.Errorf("%q: archived %q, errors %q", user, archived, errors)
		}
	}
	for _, user := range []string{`x\`, `\x2F`, `\xf`} {
		if archived, _, errors := s.cells(due(user, groucho)); archived != "" || !strings.Contains(errors, "bad escape") {
			t.Errorf("%q: archived %q, errors %q", user, archived, errors)
		}
	}
	for _, user := range []string{strings.Repeat("x", 255), "nobody-of-this-name", "x.123"} {
		if archived, _, errors := s.cells(due(user, groucho)); archived != "" || errors != "mailarchive: user "+user+": no such account" {
			t.Errorf("%q: archived %q, errors %q", user, archived, errors)
		}
	}
	s.archiveHolds()
}

// lineWith returns the line that has text in it: each row leaves when it is done.
func lineWith(out, text string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// sortedRows sorts the rows of the first snapshot.
func sortedRows(out string) string {
	lines := strings.SplitAfter(out, "\n")
	end := slices.IndexFunc(lines[1:], func(line string) bool { return strings.HasPrefix(line, "user,") }) + 1
	slices.Sort(lines[1:end])
	return strings.Join(lines, "")
}

// Mailboxes of people behind one uid have to be that uid's. Their copies aren't those of
// an account that has the name of one.
func TestMailboxesBehindAnAccountAreItsUIDs(t *testing.T) {
	s := newStage(t)
	s.boxes("{domain}/{name}/mbox", "{user}")
	for _, dir := range []string{"example.org", "example.org/harpo", "example.org/chico", "example.org/zeppo", "example.org/root"} {
		s.try(os.Mkdir(s.spool+"/"+dir, 0o755))
	}
	s.write(s.spool+"/example.org/harpo/mbox", "From harpo\n")
	s.try(os.Mkdir(s.spool+"/example.org/chico/mbox", 0o755)) // a Maildir
	s.try(os.Symlink("../harpo/mbox", s.spool+"/example.org/zeppo/mbox"))
	if os.Geteuid() == 0 {
		s.try(os.WriteFile(s.spool+"/example.org/root/mbox", nil, 0o600))
	}
	s.write(s.mailbox, "From gummo\n")
	in := strings.Replace(header, "proc,", "account,proc,", 1)
	behind := func(user string) string {
		return strings.Replace(due(user, groucho), ",imapd", ","+groucho+",imapd", 1)
	}
	users := []string{"harpo@example.org", "chico@example.org", "zeppo@example.org", "root@example.org", groucho, "x@..", "../x@example.org"}
	for _, user := range users {
		in += behind(user)
	}
	in += strings.Replace(due(groucho, groucho), ",imapd", ",,imapd", 1) // the account itself
	out, _ := s.pass(in)
	end := "." + groucho + "." + epoch
	for i, want := range []string{
		s.archive + "/harpo@example.org" + end,
		"chico/mbox: a directory",
		"zeppo/mbox: refused: a symbolic link",
		"",
		s.archive + "/" + groucho + end,
		"not fit for a path",
		"not fit for a path",
		s.archive + "/" + groucho + "." + epoch + ",",
	} {
		account := groucho
		if i == len(users) {
			users, account = append(users, groucho), ""
		}
		of := ",moscow," + users[i] + "," + groucho + "," + account + ",imapd"
		if row := lineWith(out, of); !strings.Contains(row, want) {
			t.Errorf("row %q; want %q", row, want)
		}
	}
	s.archiveHolds(groucho+"."+epoch, groucho+end, "harpo@example.org"+end)
}

// The uid of a row may be empty, and must not be another's.
func TestUIDOfTheRowMustBeTheAccounts(t *testing.T) {
	me, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		t.Skipf("who runs this has no account: %v", err)
	}
	s := newStage(t)
	s.try(os.WriteFile(s.spool+"/"+me.Username, nil, 0o600))
	if archived, _, errors := s.cells(due(me.Username, "")); archived == "" || errors != "" {
		t.Errorf("archived %q, errors %q", archived, errors)
	}
	if archived, _, errors := s.cells(due(me.Username, "4242")); archived != "" || !strings.Contains(errors, "and not 4242") {
		t.Errorf("archived %q, errors %q", archived, errors)
	}
}

func TestRowsThatAreNotOfNowAreNotArchived(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "")
	for _, c := range []struct{ time, want string }{
		{"2000-04-25T05:07:02Z", ""},
		{"2000-04-25T05:18:02Z", ""},
		{"2000-04-25T07:17:02+02:00", ""},
		{"2000-04-25T05:07:01Z", "mailarchive: the row is 10m1s old"},
		{"2000-04-25T05:18:03Z", "mailarchive: the row is 1m1s in the future"},
		{"", "mailarchive: time: empty"},
		{"yesterday", `mailarchive: time: 'yesterday' is not an RFC 3339 time`},
	} {
		row := c.time + strings.TrimPrefix(due(groucho, groucho), "2000-04-25T05:17:02Z")
		if archived, _, errors := s.cells(row); (archived != "") != (c.want == "") || errors != c.want {
			t.Errorf("%q: archived %q, errors %q", c.time, archived, errors)
		}
	}
	s.archiveHolds(groucho+"."+epoch, groucho+"."+epoch+".1", groucho+"."+epoch+".2")
}

// Rows that aren't due pass as they came, and those of each snapshot are found by
// its own header.
func TestRowsThatAreNotDuePassUnchanged(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "")
	at := "2000-04-25T05:17:02Z"
	out, reports := s.pass("time,host,user,uid,proc,count,actions,own,archived,notes,errors\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,20,log=20 archived=20,\"a,b\",,,\n" +
		at + ",mail2," + groucho + "," + groucho + ",imapd,404,archive=60,,,threshold: so,\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,404,archive=60,,/old,,\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,404,archive,,,,procstat: so\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,404,archive=60 archive=70,,,,\n" +
		"user,actions,proc,count,host,time\n" +
		groucho + ",archive=60,imapd,404,moscow," + at + "\n" +
		"user,actions,proc,count\n" +
		groucho + ",archive=60,imapd,404\n")
	want := "time,host,user,uid,proc,count,actions,own,archived,notes,errors\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,20,log=20 archived=20,\"a,b\",,,\n" +
		at + ",mail2," + groucho + "," + groucho + ",imapd,404,archive=60,,,threshold: so; mailarchive: not this host,\n" +
		at + ",moscow," + groucho + "," + groucho + ",imapd,404,archive=60,,/old:" + s.archive + "/" + groucho + "." + epoch + ",,\n" +
		at + ",moscow," + groucho + "," + groucho + `,imapd,404,archive,,,,procstat: so; mailarchive: actions: archive has no limit` + "\n" +
		at + ",moscow," + groucho + "," + groucho + `,imapd,404,archive=60 archive=70,,,,mailarchive: actions: archive twice` + "\n" +
		"user,actions,proc,count,host,time,archived,notes,errors\n"
	_, err := user.LookupId(groucho)
	if err != nil {
		want += groucho + ",archive=60,imapd,404,moscow," + at + ",,,mailarchive: user " + groucho + ": no such account\n"
	} else {
		out, _, _ = strings.Cut(out, groucho+",archive=60,imapd,404,moscow,")
	}
	if got, _ := strings.CutSuffix(out, "user,actions,proc,count\n"); sortedRows(got) != sortedRows(want) {
		t.Errorf("out:\n%s\nwant:\n%s", out, want)
	}
	unfit := `<stdin>:9: header: no column "time"`
	if !slices.Contains(reports, unfit) || !slices.Contains(reports, "<stdin>:5: "+groucho+`: actions: archive has no limit`) {
		t.Errorf("reports: %q", reports)
	}
}

// What was read before a row is out before the work on it begins.
func TestRowsAreOutBeforeWorkBegins(t *testing.T) {
	s := newStage(t)
	var out bytes.Buffer
	s.Now = func() time.Time {
		if out.String() != header+"2000-04-25T05:17:02Z,moscow,chico,,imapd,1,,,,\n" {
			t.Errorf("out before the work: %q", out.String())
		}
		return night
	}
	in := header + "2000-04-25T05:17:02Z,moscow,chico,,imapd,1,,,,\n" + due(groucho, groucho)
	s.try(Run(s.Options, filter.Env{In: strings.NewReader(in), Out: &out, Report: func(err error) { t.Error(err) }}))
}

func TestDryRunCopiesNothing(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	s.DryRun = true
	before := s.stat(s.mailbox)
	s.gives("", "mailarchive: would archive "+s.mailbox, "")
	s.archiveHolds()
	if after := s.stat(s.mailbox); after != before {
		t.Errorf("the mailbox was %+v, is %+v", before, after)
	}
	s.try(os.Remove(s.archive)) // nothing would be archived then
	s.gives("", "", "mailarchive: "+s.archive+": no such file or directory")
}

// However many names a user has for his processes, his mailbox is copied once in
// a snapshot.
func TestOneCopyForAllRows(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	row := due(groucho, groucho)
	out, _ := s.pass(header + row + strings.Replace(row, ",imapd,", ",x/imapd,", 1) + strings.Replace(row, "05:17:02", "05:17:03", 1))
	first := s.archive + "/" + groucho + "." + epoch
	if strings.Count(out, ","+first+",") != 2 || strings.Count(out, ","+first+".1,") != 1 {
		t.Errorf("out:\n%s", out)
	}
	s.archiveHolds(groucho+"."+epoch, groucho+"."+epoch+".1")
}

// A pipe may stand for weeks: no descriptor must be lost.
func TestNoDescriptorIsLost(t *testing.T) {
	eachWay(t, func(s *stage) {
		count := func() int {
			all, err := os.ReadDir("/proc/self/fd")
			s.try(err)
			return len(all)
		}
		s.write(s.mailbox, "")
		s.try(os.Symlink("x", s.pop))
		before := count()
		later := strings.Replace(due(groucho, groucho), "05:17:02", "05:17:03", 1)
		s.pass(header + strings.Repeat(due(groucho, groucho)+later, 25))
		s.DryRun = true
		s.pass(header + strings.Repeat(due(groucho, groucho)+later, 25))
		s.DryRun = false
		s.try(os.Remove(s.mailbox))
		s.pass(header + strings.Repeat(due(groucho, groucho)+later, 25))
		if after := count(); after > before+2 { // the runtime's own may come up
			s.Errorf("%d descriptors, then %d", before, after)
		}
	})
}

// A colon separates copies, a comma cells.
func TestArchivedIsEscaped(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "")
	dir := s.top + `/a,b:c\d`
	s.try(os.Rename(s.archive, dir))
	s.Dir = dir
	s.gives(s.top+`/a\x2cb\x3ac\\d/`+groucho+"."+epoch, "", "")
}

func TestMailboxInAHome(t *testing.T) {
	s := newStage(t)
	template, err := mailbox.Parse("{home}/mbox")
	s.try(err)
	s.Mailboxes = []mailbox.Template{template}
	if _, err := user.LookupId(groucho); err == nil {
		t.Skip("who runs this has a home directory")
	}
	s.gives("", "", "mailarchive: {home}/mbox: home directory unknown")
}

func TestFlagsOfTheCommand(t *testing.T) {
	s := newStage(t)
	s.write(s.mailbox, "From chico\n")
	app := func(in string, args ...string) (status int, out, errors string) {
		var stdout, stderr bytes.Buffer
		app := App()
		app.Reader, app.Writer, app.ErrWriter = strings.NewReader(in), &stdout, &stderr
		status = filter.Status(app, append([]string{"mailarchive"}, args...))
		return status, stdout.String(), stderr.String()
	}
	usage := "usage: " + App().UsageText + "\n"
	for _, args := range [][]string{
		{"--dir", ""}, {"--mailbox", ""}, {"--mailbox", "/var/mail"}, {"--host", ""}, {"-n", "-n"},
		{"--dir", s.archive, "--dir", s.archive}, {"operand"},
		{"--lock-timeout", "1"}, {"--timeout", "0s"}, {"--again-after", "-1m"}, {"--keep", "1.5"}, {"--keep", ""},
		{"--max-size", ""}, {"--max-size", "5%"}, {"--max-size", "1k"}, {"--min-free", "101%"}, {"--min-free", "-1"},
		{"--mailbox", "/var/mail/{user}.1"}, {"--mailbox", "/var/mail/{user}5"}, {"--mailbox", "/var/mail/{user}5.x"},
	} {
		status, out, errors := app(header, args...)
		if status != 2 || out != "" || !strings.HasPrefix(errors, "mailarchive: ") || !strings.HasSuffix(errors, usage) {
			t.Errorf("%q: status %d, out %q, errors %q", args, status, out, errors)
		}
	}
	now := time.Now().UTC().Format(time.RFC3339)
	in := header + now + strings.TrimPrefix(due(groucho, groucho), "2000-04-25T05:17:02Z")
	flags := []string{"--host", "moscow", "--mailbox", s.spool + "/{user}", "--mailbox", s.spool + "/.{user}.pop"}
	status, out, errors := app(in, append(flags, "--dir", s.archive)...)
	if status != 0 || errors != "" || !strings.Contains(out, s.archive+"/"+groucho+".") {
		t.Errorf("status %d, out %q, errors %q", status, out, errors)
	}
	// A slash at the end is no way round the check for a link.
	s.try(os.Symlink("archive", s.top+"/link"))
	status, out, errors = app(in, append(flags, "--dir", s.top+"/link/")...)
	want := "mailarchive: <stdin>:2: " + groucho + ": " + s.top + "/link: not a directory or a symbolic link to one\n"
	if status != 1 || errors != want {
		t.Errorf("status %d, out %q, errors %q", status, out, errors)
	}
	if status, _, errors := app(""); status != 1 || !strings.Contains(errors, "no input") {
		t.Errorf("no input: status %d, errors %q", status, errors)
	}
	if status, out, errors := app(header, "--dir", filepath.Join(s.top, "none")); status != 0 || out != header || errors != "" {
		t.Errorf("header only: status %d, out %q, errors %q", status, out, errors)
	}
}
