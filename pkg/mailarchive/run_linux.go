package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"stormcheck/pkg/filter"
	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
	"stormcheck/pkg/trusted"
)

// Run takes a stream through mailarchive.
func Run(o Options, env filter.Env) error {
	// Opened now, for in a storm there may be no file handle left.
	a := &archiver{Options: o, archive: openArchive(o.Dir), done: map[mailbox.User]work{}}
	defer func() { a.archive.close() }()
	return filter.Acting{
		Tool: "mailarchive", Action: "archive", Host: o.Host, Now: o.Now,
		Fills: []rows.Column{rows.Archived},
		Act:   a.act,
	}.Run(env)
}

// An archiver is a run with what it holds open.
type archiver struct {
	Options
	archive *archive

	// What was done for each user in the snapshot of that time. A user may have
	// many rows in it, as many as he has names for his processes: one copy stands
	// for all of them.
	done     map[mailbox.User]work
	snapshot time.Time

	stuck []*job // those left behind in a system call
}

// work is what came of one user's mailboxes.
type work struct {
	copies []string
	err    error // joined notes and failures
}

// act copies the mailboxes of the row's user, or names the copies that were made
// for another of his rows.
func (a *archiver) act(record *rows.Record, row rows.Row, _ rows.Limit) error {
	user, err := whose(row)
	if err != nil {
		return err
	}
	if !row.Time.Equal(a.snapshot) {
		clear(a.done)
		a.snapshot = row.Time.Time
	}
	w, known := a.done[user]
	if !known {
		w = a.inTime(user)
		a.done[user] = w
	}
	for _, path := range w.copies {
		archived(record, path)
	}
	return w.err
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

// lastMoment is how long work that has run out of time has to end by itself, and
// after that its locks to be gone.
const lastMoment = 250 * time.Millisecond

// inTime does the work for one user. Work that hangs in a system call, as on a file
// server that is gone, is left behind at the timeout: the kill waits for the row.
func (a *archiver) inTime(user mailbox.User) work {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	j := &job{Options: a.Options, archive: a.archive, ctx: ctx, user: user, ended: make(chan struct{}), dead: a.dead()}
	if since, dead := j.dead[a.Dir]; dead {
		j.fail(fmt.Errorf("%s: %w", a.Dir, noAnswer(since)))
		return j.work()
	}
	go j.run()
	select {
	case <-j.ended:
		return j.work()
	case <-ctx.Done():
	}
	if !j.endsWithin(lastMoment) {
		j.abandon()
		a.stuck = append(a.stuck, j)
		a.archive = openArchive(a.Dir) // the other is the job's for good
	}
	return j.work()
}

// dead returns the directories that don't answer work that was left behind, and
// since when. They aren't tried again before they do: each row would have to wait
// for its timeout, and cost a thread.
func (a *archiver) dead() map[string]time.Time {
	deadline := time.Now().Add(lastMoment)
	a.stuck = slices.DeleteFunc(a.stuck, func(j *job) bool { return j.endsWithin(time.Until(deadline)) })
	all := map[string]time.Time{}
	for _, j := range a.stuck {
		dir, since := j.where()
		all[dir] = since
	}
	return all
}

func noAnswer(since time.Time) error {
	return fmt.Errorf("no answer since %s", since.UTC().Format(time.RFC3339))
}

// A job is the work for one user. Who waits for it may abandon it.
type job struct {
	Options
	archive *archive
	ctx     context.Context
	user    mailbox.User
	dead    map[string]time.Time // directories that don't answer, and since when
	ended   chan struct{}        // closed at the end

	mutex     sync.Mutex // for all that follows
	abandoned bool
	at        string    // what it works on: a mailbox, the archive directory
	since     time.Time // and since when
	holds     []*hold   // the locks it has taken
	results   []result  // one for each mailbox that is there
	err       error     // why there are none
}

// A result is what came of one mailbox.
type result struct {
	path string // the mailbox's
	copy string // the path of the copy that stands for it, or ""
	told []error
}

// A remark is a note on a copy, which needs no path where there is but one mailbox.
type remark string

func (r remark) Error() string { return string(r) }

// run archives the user's mailboxes, one at a time with other runs.
func (j *job) run() {
	defer j.end()
	j.begin(j.Dir)
	dir, err := j.archive.open()
	if err == nil && !j.DryRun {
		err = dir.lock(j.ctx, j.LockTimeout)
	}
	if err == nil {
		defer j.hold(dir.File, unlockDirectory).letGo()
		err = dir.list(!j.DryRun)
	}
	if err != nil {
		j.fail(fmt.Errorf("%s: %w", j.Dir, trusted.Cause(err)))
		return
	}
	for _, template := range j.Mailboxes {
		path := template.Path(j.user)
		if since, dead := j.dead[filepath.Dir(path)]; dead {
			j.add(result{path: path, told: []error{noAnswer(since)}})
			continue
		}
		j.begin(path)
		if r := j.mailbox(dir, template); !slices.Contains(r.told, mailbox.ErrNone) {
			r.path = path
			j.add(r)
		}
	}
}

// begin says what is being worked on.
func (j *job) begin(at string) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.at, j.since = at, time.Now()
}

// where returns the directory in which it works.
func (j *job) where() (dir string, since time.Time) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.at == j.Dir {
		return j.at, j.since
	}
	return filepath.Dir(j.at), j.since
}

func (j *job) fail(err error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if !j.abandoned {
		j.err = err
	}
}

func (j *job) add(r result) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if !j.abandoned {
		j.results = append(j.results, r)
	}
}

// end and abandon are called once each at most; the later closes what nobody needs.
func (j *job) end() {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if close(j.ended); j.abandoned {
		j.archive.close()
	}
}

func (j *job) endsWithin(d time.Duration) bool {
	select {
	case <-j.ended:
	case <-time.After(d):
	}
	return j.hasEnded()
}

func (j *job) hasEnded() bool {
	select {
	case <-j.ended:
		return true
	default:
		return false
	}
}

func (j *job) isAbandoned() bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.abandoned
}

// hold registers a lock, for whoever abandons the job to let it go.
func (j *job) hold(f *os.File, unlock func(*os.File)) *hold {
	h := &hold{file: f, unlock: unlock}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.holds = append(j.holds, h); j.abandoned {
		h.letGo()
	}
	return h
}

// abandon takes what there is for the result, and lets the locks go that the job
// holds. On a dead file server that may hang too: it isn't waited for long.
func (j *job) abandon() {
	j.mutex.Lock()
	j.abandoned = true
	j.results = append(j.results, result{path: j.at, told: []error{fmt.Errorf("given up after %s: no answer", span(j.Timeout))}})
	holds := j.holds
	if j.hasEnded() {
		j.archive.close()
	}
	j.mutex.Unlock()

	free := make(chan struct{})
	go func() {
		for _, h := range holds {
			h.letGo()
		}
		close(free)
	}()
	select {
	case <-free:
	case <-time.After(lastMoment):
	}
}

// work puts the results into words.
func (j *job) work() (w work) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.err != nil {
		return work{err: j.err}
	}
	if len(j.results) == 0 {
		return work{err: filter.Note("no mailbox")}
	}
	var told []error
	for _, r := range j.results {
		if r.copy != "" {
			w.copies = append(w.copies, r.copy)
		}
		told = append(told, r.tell(len(j.results) > 1)...)
	}
	w.err = errors.Join(told...)
	return w
}

// tell puts into words what there is to say of the mailbox: failures, and notes.
func (r result) tell(several bool) (told []error) {
	for _, err := range r.told {
		var (
			about remark
			note  filter.Note
		)
		switch {
		case errors.As(err, &note):
		case errors.As(err, &about) && !several:
			err = filter.Note(about)
		case errors.As(err, &about):
			err = filter.Note(r.path + ": " + string(about))
		case errors.Is(err, mailbox.ErrDirectory):
			err = filter.Note(r.path + ": a directory: a kill doesn't tear a Maildir")
		case errors.Is(err, mailbox.ErrForeign):
			err = filter.Note(r.path + ": " + err.Error())
		default:
			err = fmt.Errorf("%s: %w", r.path, err)
		}
		told = append(told, err)
	}
	return told
}
