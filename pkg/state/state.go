// Package state keeps small tables between runs: CSV files with a header, for a
// person to read too. One process at a time has a table, by a lock beside it. It
// is replaced whole or not at all.
package state

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"stormcheck/pkg/trusted"
	"time"
)

// MaxSize is the size in bytes above which a table is neither written nor read.
const MaxSize = 64 << 20

// A Table is a file that this process alone has, until Close.
type Table struct {
	path    string
	columns []string
	lock    *os.File
	there   []byte // what is in the file
}

// Open waits for the lock of the table, path.lock, and returns the rows of path:
// the cells of columns in their order, "" for one that the file lacks (another
// version wrote it). A file that isn't there has no rows. Both files must be as
// trusted.Open wants them.
//
// What can't be read as a table is moved to path.bad. Then there is an error and a
// Table, to begin anew; with any other error the Table is nil.
func Open(path string, columns []string, wait time.Duration) (*Table, [][]string, error) {
	lock, err := trusted.Open(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	t := &Table{path: path, columns: columns, lock: lock}
	if err := trusted.Lock(lock, wait); err != nil {
		lock.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.there, err = read(path); err != nil {
		lock.Close()
		return nil, nil, err
	}
	rows, err := parse(t.there, columns)
	if err != nil {
		err = fmt.Errorf("%s: %w: moved to %s.bad", path, err, path)
		t.there = nil
		if moved := os.Rename(path, path+".bad"); moved != nil {
			lock.Close()
			return nil, nil, moved
		}
	}
	return t, rows, err
}

// read returns what is in the file, nil if it isn't there.
func read(path string) ([]byte, error) {
	f, err := trusted.Open(path, os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1)) // more of it isn't a table
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, trusted.Cause(err))
	}
	return text, nil
}

// parse returns the rows of a table, with their cells in the order of columns.
func parse(text []byte, columns []string) ([][]string, error) {
	if text == nil {
		return nil, nil
	}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("over %d bytes", MaxSize)
	}
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(records) == 0 || !slices.Contains(records[0], columns[0]) {
		return nil, errors.New("no header")
	}
	rows := make([][]string, len(records)-1)
	for i, record := range records[1:] {
		rows[i] = make([]string, len(columns))
		for j, column := range columns {
			if at := slices.Index(records[0], column); at >= 0 {
				rows[i][j] = record[at]
			}
		}
	}
	return rows, nil
}

// Write makes the rows what the file holds, on the disk, too, when it returns nil.
// After an error the file is as it was.
func (t *Table) Write(rows [][]string) error {
	if t.there == nil && len(rows) == 0 {
		return nil // there was nothing to remember
	}
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	_ = w.Write(t.columns) // a Buffer takes all
	_ = w.WriteAll(rows)
	if text.Len() > MaxSize {
		return fmt.Errorf("%s: over %d bytes", t.path, MaxSize)
	}
	if bytes.Equal(text.Bytes(), t.there) {
		return nil
	}
	if err := trusted.Replace(t.path, text.Bytes(), 0o600); err != nil {
		return err
	}
	t.there = text.Bytes()
	return nil
}

// Keep makes what the file holds the file path.bad as well, for a person to look at.
func (t *Table) Keep() error {
	bad := t.path + ".bad"
	if err := os.Remove(bad); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Link(t.path, bad)
}

// Close lets the next process have the table.
func (t *Table) Close() { t.lock.Close() }
