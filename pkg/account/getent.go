package account

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"stormcheck/pkg/child"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A query is what the name service is asked for: a name or, if that is empty, a uid.
type query struct {
	name string
	uid  uint32
}

func (q query) String() string {
	if q.name != "" {
		return q.name
	}
	return strconv.FormatUint(uint64(q.uid), 10)
}

// is reports whether an account is an answer for the query.
func (q query) is(a Account) bool { return a.Name == q.name || q.name == "" && a.UID == q.uid }

// An answer is what the name service has said of a query: an account, ErrNone, or
// another error if there was no answer.
type answer struct {
	Account
	err error
	at  time.Time
}

// How long an answer is used again, and how long a query that had none isn't asked for
// again: a run asks once for each, but a pipe that stands has to notice changes.
const (
	answerLasts  = time.Minute
	silenceLasts = 10 * time.Second
	mostAnswers  = 1 << 16 // more are forgotten: uids may be made up
)

// isAnswer reports whether the name service was asked at all. If getent couldn't be started,
// as without a file handle, the next try may find one.
func (a answer) isAnswer() bool {
	var exit *exec.ExitError
	return a.err == nil || a.err == ErrNone || errors.Is(a.err, errSilent) || errors.As(a.err, &exit)
}

func (a answer) isFresh() bool {
	if a.err == nil || a.err == ErrNone {
		return time.Since(a.at) < answerLasts
	}
	return time.Since(a.at) < silenceLasts
}

var memory struct {
	sync.Mutex
	answers map[query]answer
}

// remembered returns the answers to queries that are remembered, and which queries aren't.
func remembered(queries []query) (answers map[query]answer, unknown []query) {
	memory.Lock()
	defer memory.Unlock()
	answers = map[query]answer{}
	for _, q := range queries {
		if a, known := memory.answers[q]; known && a.isFresh() {
			answers[q] = a
		} else {
			unknown = append(unknown, q)
		}
	}
	return answers, unknown
}

func remember(answers map[query]answer) {
	memory.Lock()
	defer memory.Unlock()
	if len(memory.answers)+len(answers) > mostAnswers || memory.answers == nil {
		memory.answers = map[query]answer{}
	}
	for q, a := range answers {
		if a.isAnswer() {
			memory.answers[q] = a
		}
	}
}

// lookUp passes the account of each query that has one to found. The error says why queries
// have no answer.
func lookUp(queries []query, found func(query, Account)) error {
	answers, unknown := remembered(queries)
	asked := ask(unknown)
	remember(asked)
	var errs []error
	for _, q := range queries {
		a, known := answers[q]
		if !known {
			a = asked[q]
		}
		switch {
		case a.err == nil:
			found(q, a.Account)
		case a.err != ErrNone && !slices.ContainsFunc(errs, func(err error) bool { return err.Error() == a.err.Error() }):
			errs = append(errs, a.err)
		}
	}
	return errors.Join(errs...)
}

// How many questions are asked at once, and how many queries a question has at most: far
// fewer than arguments would fit.
const (
	lanes = 4
	most  = 1000
)

// ask asks getent for queries and returns an answer to each. Without a getent there are no
// NSS modules either (the C library brings both): /etc/passwd was all.
//
// One question with all queries takes the least time. But getent asks for one key after the
// other, and if it runs out of time, what it has found may be lost: a key that the name
// service is slow to answer takes the time of all others. So queries that have no answer
// within an eighth of the deadline are asked for apart.
func ask(queries []query) map[query]answer {
	answers := map[query]answer{}
	getent := firstOf(getents)
	if getent == "" || len(queries) == 0 {
		for _, q := range queries {
			answers[q] = answer{err: ErrNone, at: time.Now()}
		}
		return answers
	}
	begun := time.Now()
	if len(queries) > 1 {
		askInLanes(getent, slices.Collect(slices.Chunk(queries, most)), begun.Add(Deadline/8), answers)
		queries = slices.DeleteFunc(slices.Clone(queries), func(q query) bool { return !errors.Is(answers[q].err, errSilent) })
	}
	askInLanes(getent, apart(queries), begun.Add(Deadline), answers)
	return answers
}

// apart divides queries into questions. The first queries, which matter most, have a
// question each.
func apart(queries []query) (questions [][]query) {
	const alone = 16
	for size := 1; len(queries) > 0; {
		n := min(size, len(queries))
		questions, queries = append(questions, queries[:n]), queries[n:]
		if len(questions) >= alone {
			size = min(max(2*size, alone), most)
		}
	}
	return questions
}

// askInLanes asks questions, several at once, and adds an answer to each of their queries.
// until is when the time of all is over.
func askInLanes(getent string, questions [][]query, until time.Time, answers map[query]answer) {
	waiting := make(chan []query)
	var (
		mutex sync.Mutex
		all   sync.WaitGroup
	)
	for range min(lanes, len(questions)) {
		all.Add(1)
		go func() {
			defer all.Done()
			for queries := range waiting {
				accounts, err := question(until, getent, queries)
				mutex.Lock()
				settle(answers, queries, accounts, err)
				mutex.Unlock()
			}
		}()
	}
	for _, queries := range questions {
		waiting <- queries
	}
	close(waiting)
	all.Wait()
}

// settle adds an answer to each query of a question.
func settle(answers map[query]answer, queries []query, accounts []Account, err error) {
	for _, q := range queries {
		a := answer{err: err, at: time.Now()}
		// getent takes digits for a uid: such an answer has another name.
		if i := slices.IndexFunc(accounts, q.is); i >= 0 {
			a.Account, a.err = accounts[i], nil
		} else if err == nil {
			a.err = ErrNone
		}
		answers[q] = a
	}
}

// errSilent is the error of a query that had no answer in time.
var errSilent = silence{}

type silence struct{}

func (silence) Error() string { return fmt.Sprintf("name service: no answer within %s", Deadline) }

// question asks getent for queries, all in one call.
func question(until time.Time, getent string, queries []query) (accounts []Account, err error) {
	args := []string{"passwd"}
	for _, q := range queries {
		args = append(args, q.String())
	}
	out, err := output(until, getent, args...)
	for line := range strings.Lines(out) {
		if a, ok := parse(line); ok {
			accounts = append(accounts, a)
		}
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(err, child.ErrLate) || errors.Is(err, child.ErrStuck):
		err = errSilent
	case errors.As(err, &exit) && exit.ExitCode() == 2: // getent(1): a key isn't there
		err = nil
	case err != nil:
		err = fmt.Errorf("name service: getent: %w", err)
	}
	return accounts, err
}

// idOf returns the uid that id(1) prints for a name, or ErrNone.
func idOf(name string) (uint32, error) {
	id := firstOf(ids)
	if id == "" {
		return 0, ErrNone
	}
	out, err := output(time.Now().Add(Deadline), id, "-u", "--", name)
	var exit *exec.ExitError
	switch {
	case errors.Is(err, child.ErrLate) || errors.Is(err, child.ErrStuck):
		return 0, errSilent
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return 0, ErrNone
	case err != nil:
		return 0, fmt.Errorf("name service: id: %w", err)
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(out), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("name service: id: %q is no uid", out)
	}
	return uint32(uid), nil
}

// mostAnswered is how many bytes of an answer are read: entries of 1,000 queries have
// about a tenth of it.
const mostAnswered = 1 << 20

// output runs a program, which is killed at a time, and returns what it printed. If no
// process can be made it tries again until then: the questions asked beside it may take
// the last ones.
func output(until time.Time, path string, args ...string) (string, error) {
	out := &child.Output{First: mostAnswered}
	for time.Now().Before(until) {
		err := child.Run(child.Command{Path: path, Args: args, Stdout: out, Limit: max(time.Until(until), time.Millisecond), NormalPriority: true})
		if !errors.Is(err, syscall.EAGAIN) {
			return out.String(), err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", child.ErrLate
}

// firstOf returns the first path that isn't known to be missing, or "".
func firstOf(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return path
		}
	}
	return ""
}
