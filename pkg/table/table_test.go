package table

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// read returns the cells of a table without faults, a line for each record, or its
// faults.
func read(text string) (records, faults string) {
	collect := func(_ int, cells []string) []error {
		records += strings.Join(cells, "|") + "\n"
		return nil
	}
	for _, fault := range Read("t.csv", text, collect, collect) {
		faults += fault.Error() + "\n"
	}
	return records, faults
}

func TestReadIsGenerous(t *testing.T) {
	const want = "user,proc|log\na\"b|1\n"
	for name, text := range map[string]string{
		"RFC 4180":        "\"user,proc\",log\n\"a\"\"b\",1\n",
		"CRLF":            "\"user,proc\",log\r\n\"a\"\"b\",1\r\n",
		"byte order mark": "\ufeff\"user,proc\",log\n\"a\"\"b\",1\n",
		"both":            "\ufeff# comment\r\n\r\n\"user,proc\",log\r\n# comment\r\n\"a\"\"b\",1\r\n",
		"no last newline": "\"user,proc\",log\n\"a\"\"b\",1",
		"Latin-1 comment": "# M\xfcller\n\"user,proc\",log\n\"a\"\"b\",1\n",
	} {
		if records, faults := read(text); records != want || faults != "" {
			t.Errorf("%s: %q, %s", name, records, faults)
		}
	}
}

func inUTF16(text, order string) string {
	var out strings.Builder
	for _, unit := range utf16.Encode([]rune(text)) {
		low, high := byte(unit), byte(unit>>8)
		if order == "big" {
			low, high = high, low
		}
		out.Write([]byte{low, high})
	}
	return out.String()
}

// A table as another program writes it has one fault, which names the cause.
func TestReadNamesLikelyCause(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"semicolons":            {"user;proc;log\n*;*;20\n", "t.csv:1: semicolons between the cells: write commas"},
		"semicolons and commas": {"# a\nuser;proc;log\n*,*,20\n", "t.csv:2: semicolons between the cells: write commas"},
		"semicolons in a row":   {"user,proc,log\na,b,3\n*;*;20\n", "t.csv:3: semicolons between the cells: write commas"},
		"tabs":                  {"user\tproc\tlog\n*\t*\t20\n", "t.csv:1: tabs between the cells: write commas"},
		"spaces":                {"user proc log\n* * 20\n", "t.csv:1: spaces between the cells: write commas"},
		"UTF-16LE":              {"\xff\xfe" + inUTF16("user,proc,log\r\n", "little"), "t.csv:1: UTF-16, or no text: save the table as UTF-8"},
		"UTF-16BE":              {"\xfe\xff" + inUTF16("user,proc,log\r\n", "big"), "t.csv:1: UTF-16, or no text: save the table as UTF-8"},
		"UTF-16 without a mark": {inUTF16("user,proc,log\n", "little"), "t.csv:1: UTF-16, or no text: save the table as UTF-8"},
		"Latin-1":               {"user,proc,log\n*,*,20\nm\xfcller,*,20\nm\xfcller,b,20\n", "t.csv:3: not UTF-8: save the table as UTF-8"},
		"capitals":              {"User,Proc,log\n*,*,20\n", "t.csv:1: the header is in small letters without spaces: user,proc,log"},
		"spaces after commas":   {"user, proc, log\n*,*,20\n", "t.csv:1: the header is in small letters without spaces: user,proc,log"},
		"a repeated column":     {"user,proc,log,log\n*,*,1,1\n", `t.csv:1: column "log" twice`},
		"old Macintosh":         {"user,proc,log\r*,*,20\r", "t.csv:1: a line end within the header: lines end with \\n or \\r\\n"},
	} {
		if _, faults := read(c.text); faults != c.want+"\n" {
			t.Errorf("%s: %swant %s", name, faults, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("\ufeffuser,proc,\"log\"\r\n# comment\n*,\"a\"\"b\",20\n")
	f.Add("user;proc\n")
	f.Add(inUTF16("user,proc\n", "big"))
	f.Add("a,b\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		headers, width := 0, 0
		start := time.Now()
		faults := Read("t.csv", text,
			func(_ int, cells []string) []error {
				headers, width = headers+1, len(cells)
				return nil
			},
			func(line int, cells []string) []error {
				if headers != 1 || len(cells) != width || line < 1 || line > strings.Count(text, "\n")+1 {
					t.Errorf("%q: %d headers, line %d, row %q", text, headers, line, cells)
				}
				return nil
			})
		if headers > 1 {
			t.Errorf("%q: %d headers", text, headers)
		}
		for _, fault := range faults {
			var line int
			if n, err := fmt.Sscanf(fault.Error(), "t.csv:%d: ", &line); n != 1 || err != nil || line < 1 || line > strings.Count(text, "\n")+1 {
				t.Errorf("%q: fault %q", text, fault)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%d bytes took %s", len(text), took)
		}
	})
}
