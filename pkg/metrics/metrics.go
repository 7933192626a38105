// Package metrics writes files for the textfile collector of Prometheus's node_exporter:
// numbers in the text exposition format 0.0.4, see
// https://prometheus.io/docs/instrumenting/exposition_formats/. A file is written whole or
// not at all, because half of one would be collected too.
package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"stormcheck/pkg/trusted"
	"strconv"
	"strings"
	"time"
)

// Kinds of a metric.
const (
	Counter = "counter"
	Gauge   = "gauge"
)

// A Text is what a file holds. The zero Text is empty.
type Text struct {
	buffer bytes.Buffer
	name   string
}

// Metric begins a metric, of which Add gives the samples. help is plain text.
func (t *Text) Metric(name, kind, help string) {
	t.name = name
	fmt.Fprintf(&t.buffer, "# HELP %s %s\n# TYPE %s %s\n", name, escapeHelp.Replace(help), name, kind)
}

// Add adds a sample of the metric begun last, with labels as name, value, name,
// value. A value must be UTF-8; otherwise any text will do. No two samples of a
// metric may have the same labels: the collector would refuse the whole file.
func (t *Text) Add(value float64, labels ...string) {
	t.buffer.WriteString(series(t.name, labels))
	t.buffer.WriteByte(' ')
	t.buffer.WriteString(strconv.FormatFloat(value, 'f', -1, 64)) // no exponents: people read it too
	t.buffer.WriteByte('\n')
}

// Bytes returns the text.
func (t *Text) Bytes() []byte { return t.buffer.Bytes() }

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// series returns a metric's name with its labels.
func series(name string, labels []string) string {
	var s strings.Builder
	s.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		s.WriteByte("{,"[min(i, 1)])
		s.WriteString(labels[i])
		s.WriteString(`="`)
		_, _ = escapeLabel.WriteString(&s, labels[i+1]) // a Builder takes all
		s.WriteByte('"')
	}
	if len(labels) > 1 {
		s.WriteByte('}')
	}
	return s.String()
}

// A Past is what an earlier file of the same program said, by series.
type Past map[string]float64

// Value returns what the series was, 0 if there was none.
func (p Past) Value(name string, labels ...string) float64 { return p[series(name, labels)] }

// Labels returns the values that the one label of the metric has had.
func (p Past) Labels(name, label string) (values []string) {
	for s := range p {
		rest, ours := strings.CutPrefix(s, name+"{"+label+`="`)
		if value, plain := strings.CutSuffix(rest, `"}`); ours && plain && !strings.ContainsAny(value, `"\`) {
			values = append(values, value)
		}
	}
	return values
}

// parse reads what this package has written. A line that it hasn't, or that isn't a
// non-negative finite number, is passed over: a counter that begins anew is
// something that Prometheus knows about.
func parse(text []byte) Past {
	past := Past{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		at := strings.LastIndexByte(line, ' ')
		if at < 1 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(line[at+1:], 64); err == nil && value >= 0 && !math.IsInf(value, 1) {
			past[line[:at]] = value
		}
	}
	return past
}

// lockWait is how long another process may take that writes the same file: a variable for
// tests.
var lockWait = 5 * time.Second

// Update replaces the file path by what next makes of its past, which is empty
// where there is no file. It has mode 0644, for the collector is another user, and
// is on the disk when Update returns nil; otherwise it is as it was. path and what
// is used beside it, path.lock and path.new, must be as trusted.Open wants
// them. The collector passes over what doesn't end in .prom.
func Update(path string, next func(Past) *Text) error {
	lock, err := trusted.Open(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := trusted.Lock(lock, lockWait); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	there, err := read(path)
	if err != nil {
		return err
	}
	return trusted.Replace(path, next(parse(there)).Bytes(), 0o644)
}

// maxSize is the size in bytes above which a file isn't one of ours.
const maxSize = 1 << 20

// read returns the contents of a file, nil where there is none or too much.
func read(path string) ([]byte, error) {
	f, err := trusted.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, trusted.Cause(err))
	}
	if len(text) > maxSize {
		return nil, nil
	}
	return text, nil
}
