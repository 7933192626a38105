//go:build !linux

package killstorm

import (
	"errors"

	"stormcheck/pkg/rows"
)

// end needs handles of processes that no other system has.
func (o Options) end(*rows.Record, uint32, string, rows.Limit) error {
	return errors.New("killstorm works on Linux only")
}
