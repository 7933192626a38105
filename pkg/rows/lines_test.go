package rows

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readLines returns what a lineReader reads from a text, record by record.
func readLines(in io.Reader) (records []string) {
	l := newLineReader(in)
	for {
		raw, err := l.next()
		if err != nil {
			return append(records, endOf(err))
		}
		records = append(records, fmt.Sprintf("%d-%d %q", l.line, l.end, raw.strings()))
	}
}

// readCSV returns the same from encoding/csv, which is right by definition.
func readCSV(text string) (records []string) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord = -1
	for {
		cells, err := r.Read()
		if err != nil {
			return append(records, endOf(err))
		}
		line, _ := r.FieldPos(0)
		records = append(records, fmt.Sprintf("%d-%d %q", line, r.InputOffset(), cells))
	}
}

// endOf returns how a Reader ends.
func endOf(err error) string {
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("%d: %s", syntax.Line, syntax.Err)
	}
	return err.Error()
}

func checkLines(t *testing.T, text string) {
	t.Helper()
	want := readCSV(text)
	for name, in := range map[string]io.Reader{
		"at once":      strings.NewReader(text),
		"byte by byte": iotest.OneByteReader(strings.NewReader(text)),
	} {
		if got := readLines(in); !slices.Equal(got, want) {
			t.Fatalf("%.200q %s:\n%.2000q\nwant\n%.2000q", text, name, got, want)
		}
	}
}

func TestLinesAreThoseOfCSV(t *testing.T) {
	long := strings.Repeat("x", bufferSize-10)
	for _, text := range []string{
		"", "\n", "\r\n\n", "a,b\n\nc\n", "a\r\nb,\r\n,\n", "a\r\r\nb\rc\n",
		"\"a\nb\",c\nd\n\"e\"\nf\n", "\"a\r\nb\"\r\nc\n", "a\n\"\n\n\",x\ny\n\n\"z\"\n",
		"a,\"b\"\"c\"\nd", "a,b\"c\nd\n", "a\n\"b\nc\n", "\"a\"b\n",
		long + ",a\n" + long + ",\"b\n\"\n" + long + ",c\nd\n", strings.Repeat("a,b,c\n", bufferSize/5),
	} {
		checkLines(t, text)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a,b\n\"c\nd\",e\r\n\nf\n")
	f.Fuzz(checkLines)
}

// A gap passes whatever the limits are: it says that rows are missing.
func TestGapIsNotSkipped(t *testing.T) {
	const text = "host,user,proc,count,errors\nh,?,?,0,ssh: no route\nh,harpo,imapd,0,\nh,harpo,imapd,3,\n"
	r := NewReader(strings.NewReader(text), "<stdin>", func() error { return nil }, Host, User, Proc, Count)
	r.Skip = func(Numbers) bool { return true }
	var got []string
	for {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !record.Header {
			reason, isGap := record.Gap()
			got = append(got, fmt.Sprint(record.Line, reason, isGap))
		}
	}
	if want := []string{fmt.Sprint(2, "ssh: no route", true)}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A row that is skipped is still one that must be fit, and the lines after it
// keep their numbers.
func TestSkip(t *testing.T) {
	const text = "host,user,proc,count,recent\nh,u,a,3,\nh,u,\"b\n\",4,\nh,u,c,1,9\nh,u,d,-1,\nh,u,e,2,x\nh,u,f\nh,u,g,5,\nuser,proc,count,host,recent\nu,h,3,h,1\nu,i,9,h,1\n"
	r := NewReader(strings.NewReader(text), "<stdin>", func() error { return nil }, Host, User, Proc, Count)
	var asked, got []string
	r.Skip = func(n Numbers) bool {
		asked = append(asked, fmt.Sprintf("%d+%d", n.Count, n.Recent))
		return n.Count < 4 && n.Recent < 9
	}
	for {
		record, err := r.Read()
		switch {
		case err == io.EOF:
			if want := []string{"3+0", "4+0", "1+9", "5+0", "3+1", "9+1"}; !slices.Equal(asked, want) {
				t.Errorf("asked of %q; want %q", asked, want)
			}
			want := []string{"header", "3 b\n", "5 c", `<stdin>:6: count: "-1" is not a number`, `<stdin>:7: recent: "x" is not a number`,
				"<stdin>:8: 3 cells where the header has 5", "9 g", "header", "12 i"}
			if !slices.Equal(got, want) {
				t.Errorf("got %q; want %q", got, want)
			}
			return
		case err != nil:
			got = append(got, err.Error())
		case record.Header:
			got = append(got, "header")
		default:
			got = append(got, fmt.Sprintf("%d %s", record.Line, record.Get(Proc)))
		}
	}
}
