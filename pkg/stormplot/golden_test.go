package stormplot

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

// wellFormed reads an SVG to its end.
func wellFormed(t testing.TB, svg string) {
	t.Helper()
	in := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := in.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
