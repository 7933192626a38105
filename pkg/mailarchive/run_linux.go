package mailarchive

import (
	"context"
	"errors"
	"strings"
	"sync"
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
		Start: a.start,
		Stop:  stop,
	}.Run(env)
	return errors.Join(err, endExpiry())
}

// An archiver is a run with what it holds open. All its threads are made at its start,
// for in a storm there may be no more.
type archiver struct {
	Options
	crew    *crew
	queue   *queue
	archive *archive

	running context.Context // until a signal ends the run early
	end     context.CancelCauseFunc

	// The work in the snapshot of that time. An account may have many rows in it, as
	// many as it has names for its processes: one copy of a mailbox stands for all.
	snapshot time.Time
	jobs     map[owner]*job
	working  sync.WaitGroup // jobs
}

func newArchiver(o Options) *archiver {
	a := &archiver{Options: o, crew: hire(), queue: newQueue(), jobs: map[owner]*job{}}
	a.running, a.end = context.WithCancelCause(context.Background())
	a.archive = openArchive(o.Dir) // now, for in a storm there may be no file handle left
	return a
}

// endWith gives up the work for all rows when the run is to end early.
func (a *archiver) endWith(stop *filter.Stop) {
	select {
	case <-stop.Asked():
		a.end(stop.Err())
	case <-a.running.Done():
	}
}

func (a *archiver) close() {
	a.working.Wait()
	a.end(nil)
	a.archive.close()
	a.queue.close()
	a.crew.dismiss()
}

// An owner is an account, or one of several people behind it, as a row names them.
type owner struct {
	user, account string
	uid           rows.Number
}

// start begins the work for a row's user, unless another of his rows has, and fills the
// row with what comes of it. All rows of a snapshot are worked on at once.
func (a *archiver) start(due *filter.Due, done func()) {
	if !due.Row.Time.Equal(a.snapshot) {
		a.working.Wait()
		clear(a.jobs)
		a.snapshot = due.Row.Time.Time
	}
	of := owner{due.Row.User, due.Row.Account, due.Row.UID}
	j, known := a.jobs[of]
	if !known {
		j = &job{archiver: a, row: due.Row, ended: make(chan struct{})}
		a.jobs[of] = j
		a.working.Add(1)
		go func() {
			defer a.working.Done()
			ctx, cancel := context.WithTimeout(a.running, a.Timeout)
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

// archived adds a copy to the row. A colon within the path is escaped, for one
// separates copies.
func archived(record *rows.Record, path string) {
	cell := strings.ReplaceAll(rows.Escape(path), ":", `\x3a`)
	if before := record.Get(rows.Archived); before != "" {
		cell = before + ":" + cell
	}
	record.Set(rows.Archived, cell)
}
