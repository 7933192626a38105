package trusted

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestRotated(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.csv")
	if _, err := Rotated(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	if _, err := Rotated(filepath.Join(dir, "none", "log.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("third\n"))
	w.Close()
	now := time.Now()
	for i, file := range []struct{ name, text string }{
		{"log.csv", "first\n"}, {"log.csv.1795965269", "second\n"}, {"log.csv.2.gz", packed.String()}, {"log.csv-20261129-1795965269", "fourth\n"},
		{"log.csv.lock", ""}, {"log.csv.bad", ""}, {"log.csv.1.new", ""}, {"log.csv.gz", ""}, {"other.csv.1", ""},
	} {
		if err := os.WriteFile(filepath.Join(dir, file.name), []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, file.name), now, now.Add(-time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	future := now.Add(time.Hour) // the clock was wrong then
	if err := os.Chtimes(path+".1795965269", future, future); err != nil {
		t.Fatal(err)
	}
	paths, err := Rotated(path)
	want := []string{path, path + ".1795965269", path + ".2.gz", path + "-20261129-1795965269"}
	if err != nil || !slices.Equal(paths, want) {
		t.Fatalf("%q, %v; want %q", paths, err, want)
	}
	for i, want := range []string{"first\n", "second\n", "third\n", "fourth\n"} {
		f, err := OpenRotated(paths[i])
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if string(text) != want || err != nil {
			t.Errorf("%s: %q, %v", paths[i], text, err)
		}
		f.Close()
	}
	if err := os.WriteFile(path+".3.gz", []byte("not packed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRotated(path + ".3.gz"); err == nil {
		t.Error("what isn't compressed is opened as if it were")
	}
}
