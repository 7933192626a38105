package mailarchive

import (
	"context"
	"sync"

	"stormcheck/pkg/filter"
)

// An archiver is a run with what it holds open. All its threads are made at its start,
// for in a storm there may be no more.
type archiver struct {
	Options
	crew    *crew
	queue   *queue
	archive *archive

	running context.Context // until a signal ends the run early
	end     context.CancelCauseFunc

	working sync.WaitGroup // jobs
}

func newArchiver(o Options) *archiver {
	a := &archiver{Options: o, crew: hire(), queue: newQueue()}
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
