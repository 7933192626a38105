// Package context times what alertmail --context costs beside other ways to get a user's
// last lines out of a mail log:
//
//	go run ./testdata/bench context [MIB [ROUNDS]]
//
// It makes a log of MIB MiB (4096) over a day, ending now, of which one line in
// fifty thousand is about the user of a storm, too few to end the search before the
// window does, and runs alertmail with and without
// --context, grep over the file, and tac with awk that stops at the window's start,
// in turn, ROUNDS rounds (7). It prints medians, and the first as the unit.
package context

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"stormcheck/testdata/bench/timing"
)

const row = "host,user,proc,count,actions\nmoscow,groucho,imapd,404,alert=60\n"

// Main runs the benchmark.
func Main() {
	mib, rounds := timing.Argument(1, 4096), timing.Argument(2, 7)
	dir, err := os.MkdirTemp("", "context")
	timing.Check(err)
	defer os.RemoveAll(dir)
	log, rows, tool := filepath.Join(dir, "mail.log"), filepath.Join(dir, "rows.csv"), filepath.Join(dir, "alertmail")
	timing.Check(os.WriteFile(rows, []byte(row), 0o600))
	timing.Check(timing.Build(dir, "alertmail"))
	write(log, int64(mib)<<20)

	since := time.Now().Add(-10 * time.Minute).Format(time.Stamp)
	programs := []struct{ name, script string }{
		{"alertmail --context", tool + " --context " + log + " <" + rows},
		{"alertmail", tool + " <" + rows},
		{"grep", "LC_ALL=C grep -F groucho " + log + " | tail -n 20"},
		{"tac, awk", "tac " + log + ` | mawk -v since="` + since + `" 'substr($0, 1, 15) < since { exit } /groucho/ && n++ < 20'`},
	}
	took := make([][]time.Duration, len(programs))
	for range rounds {
		for i, p := range programs {
			start := time.Now()
			out, err := exec.Command("sh", "-c", p.script).Output()
			took[i] = append(took[i], time.Since(start))
			if err != nil || len(out) == 0 {
				timing.Check(fmt.Errorf("%s: %d bytes, %v", p.name, len(out), err))
			}
		}
	}
	fmt.Printf("%d MiB, medians of %d rounds\n", mib, rounds)
	for i, p := range programs {
		slices.Sort(took[i])
		median := took[i][rounds/2]
		slices.Sort(took[0])
		fmt.Printf("%-20s %10s %8.2f\n", p.name, median.Round(10*time.Microsecond), float64(median)/float64(took[0][rounds/2]))
	}
}

// write makes a log of size bytes, whose last line is of now.
func write(path string, size int64) {
	const line = "%s moscow dovecot: imap(%s)<%d><AbCdEf0123456789>: Disconnected: Logged out in=%d out=%d deleted=0 expunged=0\n"
	f, err := os.Create(path)
	timing.Check(err)
	w := bufio.NewWriterSize(f, 1<<20)
	length := int64(len(fmt.Sprintf(line, time.Now().Format(time.Stamp), "harpo12", 12345, 1234, 123456)))
	lines := size / length
	start, last, stamp := time.Now().Add(-24*time.Hour), int64(-1), ""
	for i := range lines {
		if second := i * 24 * 3600 / lines; second != last {
			last, stamp = second, start.Add(time.Duration(second+1)*time.Second).Format(time.Stamp)
		}
		user := "harpo" + strconv.FormatInt(10+i%89, 10)
		if i%50000 == 0 {
			user = "groucho"
		}
		fmt.Fprintf(w, line, stamp, user, 10000+i%89999, 1000+i%8999, 100000+i%899999)
	}
	timing.Check(w.Flush())
	timing.Check(f.Close())
}
