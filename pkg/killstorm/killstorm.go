// Package killstorm ends every process of one account and one name. Before it
// harms anybody it makes sure that the row is about this machine and of now, that
// the account is who the row says, that the account isn't one that runs the
// service of everybody, and that the storm is still there.
package killstorm

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/rows"
)

// Options are what Run works with.
type Options struct {
	Signal  Signal
	Timeout time.Duration    // the most that a row may take
	Host    string           // rows of this host are acted on, escaped
	DryRun  bool             // signal nobody
	Now     func() time.Time // the clock that rows' times are held against
}

// A row is acted on while its time isn't older than maxAge, nor further in the
// future than maxAhead.
const (
	maxAge   = 10 * time.Minute
	maxAhead = time.Minute
)

// Run takes a stream through killstorm.
func Run(o Options, env filter.Env) error {
	need := []rows.Column{rows.Time, rows.Host, rows.User, rows.Proc, rows.Count, rows.Actions}
	fills := []rows.Column{rows.Killed, rows.Remaining, rows.Notes, rows.Errors}
	return filter.Pass(env, need, fills, func(record *rows.Record, flush func()) {
		limit, due, err := rows.FindAction(record.Get(rows.Actions), "kill")
		if !due {
			return
		}
		flush()
		var note noted
		if err == nil {
			err = o.act(record, limit)
		}
		if errors.As(err, &note) {
			record.Note("killstorm", "%s", note)
		} else if err != nil {
			record.Fail("killstorm", "%s", err)
			env.Report(fmt.Errorf("<stdin>:%d: %s %s: %w", record.Line, record.Get(rows.User), record.Get(rows.Proc), err))
		}
	})
}

// noted is a reason to leave a row alone that is no failure.
type noted string

func (n noted) Error() string { return string(n) }

// act does what is due for one row. What it returns is a failure, or noted.
func (o Options) act(record *rows.Record, limit rows.Limit) error {
	switch {
	case record.Get(rows.Host) != o.Host:
		return noted("not this host")
	case record.Get(rows.Proc) == "*":
		return noted("a row of all processes names none to end")
	}
	row, err := record.Row()
	if err != nil {
		return err
	}
	if err := o.fresh(row.Time.Time); err != nil {
		return err
	}
	user, err := rows.Unescape(row.User)
	if err != nil {
		return fmt.Errorf("user: %w", err)
	}
	comm, err := rows.Unescape(row.Proc)
	if err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	uid, err := resolve(user, row.UID)
	if err != nil {
		return err
	}
	if err := spared(uid); err != nil {
		return err
	}
	return o.end(record, uid, comm, limit)
}

// fresh refuses a row that isn't about now.
func (o Options) fresh(seen time.Time) error {
	switch age := o.Now().Sub(seen).Round(time.Second); {
	case seen.IsZero():
		return errors.New("time: empty")
	case age > maxAge:
		return fmt.Errorf("the row is %s old", age)
	case age < -maxAhead:
		return fmt.Errorf("the row is %s in the future", -age)
	}
	return nil
}

// resolve returns the uid of the row, if the name service doesn't contradict. Its
// silence is no refusal where the row has a uid: in a storm it may not answer.
// But a user that is only a number may be an account, and one to be spared, whose
// name procstat couldn't find out: there it must have said that there is none.
func resolve(user string, uid rows.Number) (uint32, error) {
	if uid.Known && user == strconv.FormatInt(uid.N, 10) {
		known, err := account.ByUIDs([]uint32{uint32(uid.N)})
		if a, named := known[uint32(uid.N)]; named {
			return 0, fmt.Errorf("uid %d is account %q", uid.N, a.Name)
		}
		return uint32(uid.N), err
	}
	a, err := account.ByName(user)
	switch {
	case errors.Is(err, account.ErrNone):
		return 0, fmt.Errorf("user %q: %w", user, err)
	case err != nil && uid.Known:
		return uint32(uid.N), nil
	case err != nil:
		return 0, err
	case uid.Known && uid.N != int64(a.UID):
		return 0, fmt.Errorf("uid %d isn't account %q, which is %d", uid.N, user, a.UID)
	}
	return a.UID, nil
}
