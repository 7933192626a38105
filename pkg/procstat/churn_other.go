//go:build !linux

package procstat

import (
	"errors"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

const churnRoom = 0

// A churn counts nothing here.
type churn struct{}

// A startedCount is what was started under a name.
type startedCount struct {
	count  int64
	parent rows.Parentage
}

func newChurn(*proc.Table, int) (*churn, error) {
	return nil, errors.New("process events: Linux only")
}

func (*churn) close() {}

func (*churn) started(func(error)) map[key]startedCount { return nil }
