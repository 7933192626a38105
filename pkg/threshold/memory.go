package threshold

import (
	"encoding/binary"
	"hash/maphash"
)

// A memory keeps what was decided of rows, so that a table of many patterns is
// asked once of each account and name. It never grows: a row takes the place of
// another with the same hash.
type memory struct {
	table *Table
	seed  maphash.Seed
	slots [4096]slot
	key   []byte
}

type slot struct {
	key  []byte // nil where nothing is kept
	rule *rule
}

// longest is how long a key may be to be kept.
const longest = 256

func newMemory(t *Table) *memory { return &memory{table: t, seed: maphash.MakeSeed()} }

// decide is Table.decide.
func (m *memory) decide(s subject) *rule {
	m.key = m.key[:0]
	for _, cell := range [...]string{s.host, s.account, s.user, s.proc} {
		m.key = binary.AppendUvarint(m.key, uint64(len(cell))) // a cell may hold any byte
		m.key = append(m.key, cell...)
	}
	at := &m.slots[maphash.Bytes(m.seed, m.key)%uint64(len(m.slots))]
	if string(at.key) != string(m.key) {
		if len(m.key) > longest {
			return m.table.decide(s)
		}
		at.key, at.rule = append(at.key[:0], m.key...), m.table.decide(s)
	}
	return at.rule
}
