package mailarchive

import (
	"context"
	"errors"
	"strings"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/proc"
	"stormcheck/pkg/rows"
)

// Run takes a stream through mailarchive.
func Run(o Options, env filter.Env) error {
	stop := filter.NewStop(nil)
	a := newArchiver(o)
	defer a.close()
	go a.endWith(stop)
	proc.MakeThreads() // those of the runtime
	endExpiry := a.expire()
	err := filter.Acting{
		Tool: "mailarchive", Action: "archive", Host: o.Host, Now: o.Now,
		Fills: []rows.Column{rows.Archived},
		Start: (&snapshot{archiver: a, jobs: map[owner]*job{}}).start,
		Stop:  stop,
	}.Run(env)
	return errors.Join(err, endExpiry())
}

// An owner is an account, or one of several people who share it, as a row names them.
type owner struct {
	user, account string
	uid           rows.Number
}

// A snapshot is the work for the rows of one time. An account may have many, as many as
// it has names for its processes: one copy of a mailbox stands for all.
type snapshot struct {
	*archiver
	time time.Time
	jobs map[owner]*job
}

// start begins the work for a row's user, unless another of his rows has, and fills the
// row with what comes of it. All rows of a snapshot are worked on at once.
func (s *snapshot) start(due *filter.Due, done func()) {
	if !due.Row.Time.Equal(s.time) {
		s.working.Wait()
		clear(s.jobs)
		s.time = due.Row.Time.Time
	}
	of := owner{due.Row.User, due.Row.Account, due.Row.UID}
	j, known := s.jobs[of]
	if !known {
		j = &job{archiver: s.archiver, row: due.Row, ended: make(chan struct{})}
		s.jobs[of] = j
		s.working.Add(1)
		go func() {
			defer s.working.Done()
			ctx, cancel := context.WithTimeout(s.running, s.Timeout)
			defer cancel()
			j.ctx = ctx
			j.run()
		}()
	}
	go func() {
		<-j.ended
		var copies []string
		copies, due.Err = j.outcome()
		for _, path := range copies {
			archived(due.Record, path)
		}
		done()
	}()
}

// archived adds a copy to the row. A colon within the path is escaped, because colons
// separate copies.
func archived(record *rows.Record, path string) {
	cell := strings.ReplaceAll(rows.Escape(path), ":", `\x3a`)
	if before := record.Get(rows.Archived); before != "" {
		cell = before + ":" + cell
	}
	record.Set(rows.Archived, cell)
}
