package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
)

// A key is what the name service is asked for: a name or, if that is empty, a uid.
type key struct {
	name string
	uid  uint32
}

func (k key) String() string {
	if k.name != "" {
		return k.name
	}
	return strconv.FormatUint(uint64(k.uid), 10)
}

// is reports whether an account is an answer for the key.
func (k key) is(a Account) bool { return a.Name == k.name || k.name == "" && a.UID == k.uid }

// An answer is what the name service has said of a key: an account, ErrNone, or
// another error if there was no answer.
type answer struct {
	Account
	err error
	at  time.Time
}

// How long an answer is used again, and how long a key that had none isn't asked for
// again: a run asks once for each, but a pipe that stands has to notice changes.
const (
	answerLasts  = time.Minute
	silenceLasts = 10 * time.Second
	mostAnswers  = 1 << 16 // more are forgotten: uids may be made up
)

func (a answer) isFresh() bool {
	if a.err == nil || a.err == ErrNone {
		return time.Since(a.at) < answerLasts
	}
	return time.Since(a.at) < silenceLasts
}

var memory struct {
	sync.Mutex
	answers map[key]answer
}

// remembered returns the answers to keys that are remembered, and which keys aren't.
func remembered(keys []key) (answers map[key]answer, unknown []key) {
	memory.Lock()
	defer memory.Unlock()
	answers = map[key]answer{}
	for _, k := range keys {
		if a, known := memory.answers[k]; known && a.isFresh() {
			answers[k] = a
		} else {
			unknown = append(unknown, k)
		}
	}
	return answers, unknown
}

func remember(answers map[key]answer) {
	memory.Lock()
	defer memory.Unlock()
	if len(memory.answers)+len(answers) > mostAnswers || memory.answers == nil {
		memory.answers = map[key]answer{}
	}
	for k, a := range answers {
		memory.answers[k] = a
	}
}

// lookUp passes the account of each key that has one to found. The error says why keys
// have no answer.
func lookUp(keys []key, found func(key, Account)) error {
	answers, unknown := remembered(keys)
	asked := ask(unknown)
	remember(asked)
	var errs []error
	for _, k := range keys {
		a, known := answers[k]
		if !known {
			a = asked[k]
		}
		switch {
		case a.err == nil:
			found(k, a.Account)
		case a.err != ErrNone && !slices.ContainsFunc(errs, func(err error) bool { return err.Error() == a.err.Error() }):
			errs = append(errs, a.err)
		}
	}
	return errors.Join(errs...)
}

// lanes is how many questions are asked at once.
const lanes = 4

// ask asks getent for keys and returns an answer to each. Without a getent there are no
// NSS modules either (the C library brings both): /etc/passwd was all.
func ask(keys []key) map[key]answer {
	answers := map[key]answer{}
	getent := firstOf(getents)
	if getent == "" || len(keys) == 0 {
		for _, k := range keys {
			answers[k] = answer{err: ErrNone, at: time.Now()}
		}
		return answers
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	waiting := make(chan []key)
	var (
		mutex sync.Mutex
		all   sync.WaitGroup
	)
	parts := questions(keys)
	for range min(lanes, len(parts)) {
		all.Add(1)
		go func() {
			defer all.Done()
			for part := range waiting {
				accounts, err := question(ctx, getent, part)
				mutex.Lock()
				settle(answers, part, accounts, err)
				mutex.Unlock()
			}
		}()
	}
	for _, part := range parts {
		waiting <- part
	}
	close(waiting)
	all.Wait()
	return answers
}

// questions divides keys into questions. getent asks for one key after the other, and
// when it is out of time what it has found may be lost. So the first keys, which matter
// most, have a question each: no key that the service is slow to answer delays theirs.
func questions(keys []key) (parts [][]key) {
	const alone, most = 16, 1000 // far below the limit of arguments
	for size := 1; len(keys) > 0; {
		n := min(size, len(keys))
		parts, keys = append(parts, keys[:n]), keys[n:]
		if len(parts) >= alone {
			size = min(max(2*size, alone), most)
		}
	}
	return parts
}

// settle adds an answer to each key of a question.
func settle(answers map[key]answer, part []key, accounts []Account, err error) {
	for _, k := range part {
		a := answer{err: err, at: time.Now()}
		// getent takes digits for a uid: such an answer has another name.
		if i := slices.IndexFunc(accounts, k.is); i >= 0 {
			a.Account, a.err = accounts[i], nil
		} else if err == nil {
			a.err = ErrNone
		}
		answers[k] = a
	}
}

// question asks getent for keys, all in one call.
func question(ctx context.Context, getent string, keys []key) (accounts []Account, err error) {
	args := []string{"passwd"}
	for _, k := range keys {
		args = append(args, k.String())
	}
	out, err := output(ctx, getent, args...)
	for line := range strings.Lines(out) {
		if a, ok := parse(line); ok {
			accounts = append(accounts, a)
		}
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("name service: no answer within %s", deadline)
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
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	out, err := output(ctx, id, "-u", "--", name)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("name service: no answer within %s", deadline)
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

// output runs a program and returns what it printed. If no process can be made it tries
// again until ctx ends: the questions asked beside it may take the last ones.
func output(ctx context.Context, path string, args ...string) (string, error) {
	for ctx.Err() == nil {
		out, err := run(ctx, path, args...)
		if !errors.Is(err, syscall.EAGAIN) {
			return out, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", ctx.Err()
}

// run runs a program and returns what it printed. When ctx ends, all that the program
// has started is killed; a process that got away keeps the pipe open for a second at
// most.
func run(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &out
	err := proc.AtNormalPriority(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	return out.String(), err
}

// firstOf returns the first path that exists, or "".
func firstOf(paths []string) string {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
