package stormplot

import (
	"io"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/filter"
)

// BenchmarkWeek reads a week's log of ten storms, a row each minute for each.
func BenchmarkWeek(b *testing.B) {
	o := options(b)
	s := newStream()
	for minute := range 7 * 24 * 60 {
		for user := range 10 {
			s.row(o.Now.Add(time.Duration(minute-7*24*60)*time.Minute), "moscow", "user"+itoa(user), "imapd", 20+minute%97+user, 0)
		}
	}
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := Run(o, filter.Env{In: strings.NewReader(s.String()), Out: io.Discard, Report: func(error) {}}); err != nil {
			b.Fatal(err)
		}
	}
}
