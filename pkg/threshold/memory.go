package threshold

import (
	"encoding/binary"
	"hash/maphash"
)

// A memory keeps decisions, so that a table of many patterns is searched once for each
// account and name. It never grows: a decision replaces another with the same hash.
type memory struct {
	table *Table
	seed  maphash.Seed
	slots [4096]slot
	key   []byte
}

type slot struct {
	key  []byte // nil if nothing is kept
	rule *rule
}

// longest is the length in bytes up to which a key is kept.
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
