package rows

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var threshold = []Column{Host, User, Proc, Count}

// readAll returns what a Reader reads from a text: headers as "# names", rows as
// "line: user proc count", faults as "! fault".
func readAll(in io.Reader, need ...Column) (events []string) {
	r := NewReader(in, "<stdin>", func() error { return nil }, need...)
	for {
		record, err := r.Read()
		if err == io.EOF {
			return events
		}
		if err != nil {
			events = append(events, "! "+err.Error())
		}
		var fault *Error
		if err != nil && (!errors.As(err, &fault) || fault.Fatal) {
			if _, again := r.Read(); again != err {
				events = append(events, fmt.Sprintf("! then %v", again))
			}
			return events
		}
		switch {
		case record == nil:
		case record.Header:
			events = append(events, "# "+strings.Join(record.Cells(), ","))
		default:
			events = append(events, fmt.Sprintf("%d: %s %s %s", record.Line, record.Get(User), record.Get(Proc), record.Get(Count)))
		}
	}
}

const head = "host,user,proc,count\n"

func TestReader(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", []string{"! <stdin>: no input, not even a header: the stage before failed"}},
		{"header only", head, []string{"# host,user,proc,count"}},
		{"a row", head + "h,u,p,1\n", []string{"# host,user,proc,count", "2: u p 1"}},
		{"any order", "count,extra,proc,user,host\n1,x,p,u,h\n", []string{"# count,extra,proc,user,host", "2: u p 1"}},
		{"quoted", "host,user,proc,count\r\n\"h\",\"u,v\",\"p\"\"q\",1\r\n", []string{"# host,user,proc,count", `2: u,v p"q 1`}},
		{"byte order mark", "\ufeff" + head + "h,u,p,1\n", []string{"# host,user,proc,count", "2: u p 1"}},
		{"byte order mark, quoted", "\ufeff\"host\",user,proc,count\nh,u,p,1", []string{"# host,user,proc,count", "! <stdin>:2: the last line is cut"}},
		{"missing column", "host,user,proc\nh,u,p\n", []string{`! <stdin>:1: header: no column "count"`}},
		{"renamed column", "host,user,proc,Count\nh,u,p,1\n", []string{`! <stdin>:1: header: no column "count"`}},
		{"repeated column", "host,user,proc,count,count\nh,u,p,1,1\n",
			[]string{`! <stdin>:1: header: column "count" twice`, "# host,user,proc,count,count"}},
		{"repeated unknown column", "host,user,proc,count,x,x\nh,u,p,1,1,1\n",
			[]string{`! <stdin>:1: header: column "x" twice`, "# host,user,proc,count,x,x"}},
		{"a column without a name", "host,user,proc,count,\nh,u,p,1,\n",
			[]string{"! <stdin>:1: header: column 5 has no name", "# host,user,proc,count,"}},
		{"an account and a process named like columns", head + "user,count,proc,20\ncount,user,proc,1\nh,user,proc,1\n",
			[]string{"# host,user,proc,count", "2: count proc 20", "3: user proc 1", "4: user proc 1"}},
		{"ragged", head + "h,u,p\nh,u,p,1,2\nh,u,p,1\n",
			[]string{"# host,user,proc,count", "! <stdin>:2: 3 cells where the header has 4", "! <stdin>:3: 5 cells where the header has 4", "4: u p 1"}},
		{"cut in the last line", head + "h,u,p,1\nh,u,p,12", []string{"# host,user,proc,count", "2: u p 1", "! <stdin>:3: the last line is cut"}},
		{"cut header", "host,user,proc,count", []string{"! <stdin>:1: the last line is cut"}},
		{"numbers", head + "h,u,p,-1\nh,u,p,1e3\nh,u,p,010\nh,u,p,99999999999999999999\nh,u,p,\nh,u,p,1\n",
			[]string{"# host,user,proc,count", `! <stdin>:2: count: "-1" is not a number`, `! <stdin>:3: count: "1e3" is not a number`,
				`! <stdin>:4: count: "010" is not a number`, `! <stdin>:5: count: "99999999999999999999" is too large`,
				`! <stdin>:6: count: "" is not a number`, "7: u p 1"}},
		{"numbers that may be empty", "host,user,proc,count,uid,recent\nh,u,p,1,,\nh,u,p,1,x,\nh,u,p,1,1,+1\n",
			[]string{"# host,user,proc,count,uid,recent", "2: u p 1", `! <stdin>:3: uid: "x" is not a number`, `! <stdin>:4: recent: "+1" is not a number`}},
		{"lines of a record", head + "h,\"u\nv\",p,1\nh,u,p,x\n", []string{"# host,user,proc,count", "2: u\nv p 1", `! <stdin>:4: count: "x" is not a number`}},
		{"bare quote", head + "h,u,p\"q,1\nh,u,p,1\n", []string{"# host,user,proc,count", `! <stdin>:2: bare " in non-quoted-field`}},
		{"two snapshots", head + "h,u,p,1\n" + "user,proc,count,host\nv,q,2,h\n",
			[]string{"# host,user,proc,count", "2: u p 1", "# user,proc,count,host", "4: v q 2"}},
		{"the second unfit, the third fit", head + "h,u,p,1\nuser,proc,count\nv,q,2\nv,q,2,3\n" + head + "h,w,r,3\n",
			[]string{"# host,user,proc,count", "2: u p 1", `! <stdin>:3: header: no column "host"`, "# user,proc,count", "# host,user,proc,count", "7: w r 3"}},
		{"no header at all", "h,u,p,1\nh,u,p,2\n" + head + "h,u,p,3\n",
			[]string{`! <stdin>:1: header: no column "host"`, "# host,user,proc,count", "4: u p 3"}},
		{"NUL and bytes that aren't UTF-8", head + "h,u\x00,\xff,1\n", []string{"# host,user,proc,count", "2: u\x00 \xff 1"}},
		{"empty lines", "\n" + head + "\nh,u,p,1\n\n", []string{"# host,user,proc,count", "4: u p 1"}},
		{"only an empty line", "\n", []string{"! <stdin>:1: no header"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, in := range map[string]io.Reader{
				"whole": strings.NewReader(c.in), "by byte": iotest.OneByteReader(strings.NewReader(c.in)),
				"with EOF": iotest.DataErrReader(strings.NewReader(c.in)),
			} {
				if got := readAll(in, threshold...); !slices.Equal(got, c.want) {
					t.Errorf("%s: got %q\nwant %q", name, got, c.want)
				}
			}
		})
	}
}

func TestReaderEmptyCountWhereNotNeeded(t *testing.T) {
	got := readAll(strings.NewReader(head+"h,u,p,\n"), Host, User)
	if want := []string{"# host,user,proc,count", "2: u p "}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

// An unterminated quote must not take the input into memory: reading stops soon
// after a record's bound.
func TestReaderBoundsRecords(t *testing.T) {
	in := &counter{in: io.MultiReader(strings.NewReader(head+"h,u,p,1\n\""), io.LimitReader(endless{}, 300<<20))}
	got := readAll(in, threshold...)
	if want := []string{"# host,user,proc,count", "2: u p 1", "! <stdin>:3: record over 1048576 bytes"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if in.n > 2<<20 {
		t.Errorf("read %d bytes", in.n)
	}
	long := strings.Repeat("x", maxRecord)
	got = readAll(strings.NewReader(head+"h,u,"+long+",1\nh,u,p,1\n"), threshold...)
	if want := []string{"# host,user,proc,count", "! <stdin>:2: record over 1048576 bytes"}; !slices.Equal(got, want) {
		t.Errorf("got %.200q; want %q", got, want)
	}
	if got = readAll(strings.NewReader(head+"h,u,"+long[:maxRecord-20]+",1\n"), threshold...); len(got) != 2 {
		t.Errorf("a record just below the bound: got %.200q", got)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

type counter struct {
	in io.Reader
	n  int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += n
	return n, err
}

func TestReaderFailure(t *testing.T) {
	broken := errors.New("the disk is on fire")
	got := readAll(io.MultiReader(strings.NewReader(head+"h,u,p,1\n"), iotest.ErrReader(broken)), threshold...)
	if want := []string{"# host,user,proc,count", "2: u p 1", "! <stdin>: the disk is on fire"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A filter writes what it has before each read: so a row that has come whole is
// out before the next is waited for.
func TestReaderCallsBeforeEachRead(t *testing.T) {
	in, feed := io.Pipe()
	events := make(chan string, 100)
	go func() {
		defer close(events)
		r := NewReader(in, "<stdin>", func() error { events <- "idle"; return nil }, threshold...)
		for {
			record, err := r.Read()
			if err != nil {
				return
			}
			events <- fmt.Sprint(record.Line)
		}
	}()
	until := func(want string) {
		for event := range events {
			if event == want {
				return
			}
		}
		t.Fatalf("no %q", want)
	}
	for i, line := range []string{head, "h,u,p,1\n", "h,u,p,2\n"} {
		io.WriteString(feed, line)
		until(fmt.Sprint(i + 1))
		until("idle")
	}
	feed.Close()
	for range events {
	}
	stop := errors.New("stdout is full")
	r := NewReader(strings.NewReader(head), "<stdin>", func() error { return stop }, threshold...)
	if _, err := r.Read(); !errors.Is(err, stop) {
		t.Errorf("got %v; want %v", err, stop)
	}
}

func TestRecord(t *testing.T) {
	r := NewReader(strings.NewReader("mine,count,proc,user,host\nx,404,imapd,groucho,moscow\ny,1,imapd,harpo,moscow\n"), "<stdin>",
		func() error { return nil }, threshold...)
	header, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	header.Add(Count, Notes, Errors)
	if got := strings.Join(header.Cells(), ","); got != "mine,count,proc,user,host,notes,errors" {
		t.Fatalf("header %s", got)
	}
	record, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	record.Note("killstorm", "subsided to %d, %s", 3, "a;b\n\"")
	record.Note("mine", "so")
	record.Fail("mailarchive", "no space")
	want := `x,404,imapd,groucho,moscow,killstorm: subsided to 3\x2c a\x3bb\x0a'; mine: so,mailarchive: no space`
	if got := strings.Join(record.Cells(), ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := record.Get(Archived); got != "" {
		t.Errorf("a column that isn't there: %q", got)
	}
	row, err := record.Row()
	if err != nil || row.User != "groucho" || row.Count != Known(404) || row.UID.Known || row.Notes != record.Get(Notes) {
		t.Errorf("Row: %+v, %v", row, err)
	}
	if record, err = r.Read(); err != nil || strings.Join(record.Cells(), ",") != "y,1,imapd,harpo,moscow,," {
		t.Errorf("the next record: %v, %v", record, err)
	}
}

func TestRowTime(t *testing.T) {
	read := func(cell string) (Row, error) {
		r := NewReader(strings.NewReader("time,user,proc,count, count,COUNT\n"+cell+",u,p,1,7,8\n"), "<stdin>", func() error { return nil })
		r.Read()
		record, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		return record.Row()
	}
	row, err := read("2000-04-25T05:17:02Z")
	if err != nil || row.Time.Unix() != 956639822 || row.Count != Known(1) {
		t.Errorf("got %+v, %v", row, err)
	}
	if row, err = read(""); err != nil || !row.Time.IsZero() {
		t.Errorf("empty: %v, %v", row.Time, err)
	}
	if _, err = read("yesterday"); err == nil || err.Error() != `time: "yesterday" is not an RFC 3339 time` {
		t.Errorf("yesterday: %v", err)
	}
}

func TestEncode(t *testing.T) {
	var out strings.Builder
	w := NewWriter(&out)
	row := Row{Host: "moscow", User: "groucho", UID: Known(4294967294), Proc: "imapd", Count: Known(404), Notes: "x"}
	row.Parent, row.Started = Parentage{404, 812, "imap-login"}, Known(9)
	if err := Encode(w, SnapshotColumns, row, row); err != nil {
		t.Fatal(err)
	}
	if err := Encode(w, AllColumns, row); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	const nine, behind = ",moscow,groucho,4294967294,imapd,404,,,", ",404:812:imap-login,,9\n"
	if want := nine + behind + nine + behind + nine + ",,,,,,x," + behind; out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(head + "h,u,p,1\n")
	f.Add("\ufeff" + head + "h,\"u\n\",p,1\r\nuser,proc,count\nx\n" + head)
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(strings.NewReader(text), "<stdin>", func() error { return nil }, threshold...)
		var fault *Error
		for {
			record, err := r.Read()
			if err != nil && (!errors.As(err, &fault) || fault.Fatal) {
				return
			}
			if record == nil || record.Header {
				continue
			}
			if _, err := ParseNumber(record.Get(Count)); err != nil {
				t.Fatalf("row with count %q", record.Get(Count))
			}
			var again strings.Builder
			w := NewWriter(&again)
			w.Write(record.Names())
			w.Write(record.Cells())
			w.Flush()
			if got := readAll(strings.NewReader(again.String()), threshold...); len(got) != 2 || strings.HasPrefix(got[1], "!") {
				t.Fatalf("%q written and read again: %q", again.String(), got)
			}
		}
	})
}

// Standard puts AllColumns first and keeps the columns that it doesn't know after them.
func TestStandardLayout(t *testing.T) {
	for in, want := range map[string]string{
		"user,proc,count\na,b,1\n":                        ",,a,,b,1,,,,,,,,,,,,,\n",
		"mine,count,user,started,his,proc\nm,1,a,7,h,b\n": ",,a,,b,1,,,,,,,,,,,,,7,m,h\n",
		"count,user,mine,proc\n1,a,\"m,\"\"\",b\n":        ",,a,,b,1,,,,,,,,,,,,,,\"m,\"\"\"\n",
	} {
		reader := NewReader(strings.NewReader(in), "in", func() error { return nil }, User)
		header, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		header.Standard()
		row, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		w := NewWriter(&out)
		_ = w.Write(row.Cells())
		w.Flush()
		if out.String() != want || row.Get(User) != "a" || row.Get(Count) != "1" || len(header.Cells()) != len(row.Cells()) {
			t.Errorf("%q: %q, header %q; want %q", in, out.String(), header.Cells(), want)
		}
	}
}
