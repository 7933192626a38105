package mailarchive

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/trusted"
)

// evidenceName is the directory beside the archive in which killstorm leaves what it saw
// of a storm, and evidenceSuffix is what the names of these files end with.
const (
	evidenceName   = "evidence"
	evidenceSuffix = ".evidence"
)

// expireEvery is how often a pipe that stands looks for what is too old.
const expireEvery = time.Hour

// expire removes what is older than --keep-for, now and every expireEvery. It returns a
// function that stops that and returns whether it worked.
func (a *archiver) expire() (end func() error) {
	if a.KeepFor == 0 || a.DryRun {
		return func() error { return nil }
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		var failed error
		for over := false; !over; {
			if err := a.expireNow(); failed == nil {
				failed = err
			}
			select {
			case <-stop:
				over = true
			case <-time.After(expireEvery):
			}
		}
		stopped <- failed
	}()
	return func() error { close(stop); return <-stopped }
}

func (a *archiver) expireNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), a.Timeout)
	defer cancel()
	var failure error
	err := a.crew.do(ctx, place{dir: a.Dir, archive: true}, func(t *task) {
		dir, err := a.archive.use()
		if err != nil {
			failure = fmt.Errorf("%s: %w", a.Dir, err)
			return
		}
		defer a.archive.release(dir)
		failure = errors.Join(a.expireArchive(dir), a.expireEvidence(t))
	})
	if err != nil {
		return fmt.Errorf("%s: --keep-for: %w", a.Dir, err)
	}
	return failure
}

// expireArchive removes the copies of all accounts that are too old, and evidence if it
// is kept with them.
func (a *archiver) expireArchive(d *directory) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if err := d.list(); err != nil {
		return fmt.Errorf("%s: %w", a.Dir, trusted.Cause(err))
	}
	suffixes := []string{evidenceSuffix}
	for _, t := range a.Mailboxes {
		suffixes = append(suffixes, t.Suffix())
	}
	return a.expireFrom(d, suffixes)
}

// expireEvidence removes evidence that is too old from the directory beside the archive.
func (a *archiver) expireEvidence(t *task) error {
	path := filepath.Join(filepath.Dir(a.Dir), evidenceName)
	t.in(path)
	d, err := openDirectory(path)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil {
		defer d.close()
		err = d.list()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, trusted.Cause(err))
	}
	return a.expireFrom(d, []string{evidenceSuffix})
}

func (a *archiver) expireFrom(d *directory, suffixes []string) (failure error) {
	var old []string
	for _, name := range d.names {
		if began, ok := beganOf(name, suffixes); ok && a.isExpired(began) && d.isRegular(name) {
			old = append(old, name)
		}
	}
	for _, name := range old {
		if err := d.remove(name); err != nil && err != unix.ENOENT {
			failure = errors.Join(failure, fmt.Errorf("%s: %w", filepath.Join(d.Name(), name), err))
		}
	}
	return failure
}

// epochIn finds the EPOCH after a user's name, and the text after it. The EPOCH is from
// 1973 or later, so that a number in a user's name isn't one.
var epochIn = regexp.MustCompile(`^(?:.+)\.([1-9]\d{8,10})(\D.*)?$`)

// beganOf returns the time in the name of a copy or of evidence.
func beganOf(name string, suffixes []string) (time.Time, bool) {
	if name[0] == '.' {
		return time.Time{}, false
	}
	found := epochIn.FindStringSubmatch(name)
	if found == nil {
		return time.Time{}, false
	}
	for _, suffix := range suffixes {
		behind, ok := strings.CutPrefix(found[2], suffix)
		if n, numbered := strings.CutPrefix(behind, "."); numbered {
			number, err := strconv.Atoi(n)
			ok = ok && err == nil && number >= 1 && number <= 999
		} else {
			ok = ok && behind == ""
		}
		if ok {
			epoch, err := strconv.ParseInt(found[1], 10, 64)
			return time.Unix(epoch, 0), err == nil
		}
	}
	return time.Time{}, false
}
