package alertmail_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stormcheck/pkg/rows"
)

// snapshots feeds a standing alertmail with one snapshot after another, each after a
// while of its story's clock.
func (s *story) snapshots(every time.Duration, all ...string) (subjects []string) {
	s.t.Helper()
	s.o.Each = true
	next := 0
	feed := &feeder{}
	feed.atEnd = func() {
		if next < len(all) {
			s.pass(every)
			feed.text = all[next]
			next++
		}
	}
	s.o.Report = func(err error) { s.t.Error(err) }
	s.runFeed(feed)
	return s.sent()
}

// TestFirstMailGoesAtOnceAndLaterOnesWaitAMinute counts the mails about storms that
// begin every five seconds, and none may be lost.
func TestFirstMailGoesAtOnceAndLaterOnesWaitAMinute(t *testing.T) {
	s := newStory(t)
	var all []string
	for i := range 60 { // five minutes
		all = append(all, stream(with(lasting, rows.User, fmt.Sprint("u", i), rows.UID, 1000+i)))
	}
	if n := len(s.snapshots(5*time.Second, all...)); n < 5 || n > 7 {
		t.Errorf("%d mails in five minutes", n)
	}
	for i := range 60 {
		if !s.mentions(fmt.Sprintf(" u%d imapd", i)) {
			t.Errorf("u%d is in no mail", i)
		}
	}
}

// TestMessageThatWaitsIsSentThoughTheDiskIsFull: the second storm begins and ends within the
// minute in which no mail goes, and nothing can be written then.
func TestMessageThatWaitsIsSentThoughTheDiskIsFull(t *testing.T) {
	s := newStory(t)
	s.o.Each = true
	reports, snapshot := 0, 0
	s.o.Report = func(error) { reports++ }
	arrives := func(text string) {
		all := func() (text []byte) { // one may be half written
			paths, _ := filepath.Glob(s.dir + "/mail.*")
			for _, path := range paths {
				mail, _ := os.ReadFile(path)
				text = append(text, mail...)
			}
			return text
		}
		for deadline := time.Now().Add(time.Minute); !bytes.Contains(all(), []byte(text)); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no mail has %q before the end of input: %q", text, s.sent())
			}
		}
	}
	done := func(change func() error) { // a draft of the state may be there for a moment
		deadline := time.Now().Add(time.Minute)
		for err := change(); err != nil; err = change() {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	feed := &feeder{}
	feed.atEnd = func() {
		s.pass(5 * time.Second)
		snapshot++
		switch feed.text = stream(); snapshot {
		case 1:
			feed.text = stream(with(lasting, rows.User, "u1"))
		case 3:
			arrives(" u1 imapd")
		case 4:
			done(func() error { return os.MkdirAll(s.o.State+".new/full", 0o700) })
			feed.text = stream(with(lasting, rows.User, "u2"))
		case 20:
			arrives(" u2 imapd")
			done(func() error { return os.RemoveAll(s.o.State + ".new") })
		case 24:
			feed.text = ""
		}
	}
	s.runFeed(feed)
	if reports != 1 {
		t.Errorf("%d reports of one full disk", reports)
	}
}

// TestStateThatCannotBeHadForAWhileIsNotReplaced: what a standing pipe remembers without its
// state doesn't become the state, and is forgotten when that can be had again.
func TestStateThatCannotBeHadForAWhileIsNotReplaced(t *testing.T) {
	s := newStory(t)
	s.run(lasting)
	s.o.Each = true
	lock, away, snapshot := s.o.State+".lock", s.o.State+".lock.away", 0
	s.o.Report = func(error) {}
	before, first, deadline := contents(t, s.o.State), s.now.UTC().Format(time.RFC3339), time.Now().Add(time.Minute)
	feed := &feeder{}
	feed.atEnd = func() {
		s.pass(5 * time.Second)
		snapshot++
		feed.text = stream(lasting)
		switch {
		case snapshot == 1:
			if err := errors.Join(os.Rename(lock, away), os.Mkdir(lock, 0o700)); err != nil {
				t.Fatal(err)
			}
		case snapshot == 4:
			if err := errors.Join(os.Remove(lock), os.Rename(away, lock)); err != nil {
				t.Fatal(err)
			}
		case snapshot > 4 && contents(t, s.o.State) != before || time.Now().After(deadline):
			feed.text = ""
		default:
			time.Sleep(10 * time.Millisecond) // a mail may be on its way
		}
	}
	s.runFeed(feed)
	if text := contents(t, s.o.State); text == before || !strings.Contains(text, ","+first+",") {
		t.Errorf("no storm since %s that is seen again in\n%s", first, text)
	}
}

// TestTwelveAnHourThenDigests: a flood that lasts five hours.
func TestTwelveAnHourThenDigests(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	var all []string
	for i := range 5 * 60 {
		all = append(all, stream(with(lasting, rows.User, fmt.Sprint("u", i), rows.UID, 1000+i)))
	}
	// Twelve in the first hour, a digest after an hour each, and the end of input.
	if n := len(s.snapshots(time.Minute, all...)); n < 16 || n > 18 {
		t.Errorf("%d mails in five hours", n)
	}
	// After a quiet hour all is as before.
	quiet := slices.Repeat([]string{stream()}, 130)
	s.snapshots(time.Minute, quiet...)
	before := len(s.sent())
	if n := len(s.snapshots(time.Minute, all[:3]...)) - before; n != 3 {
		t.Errorf("%d mails of three storms after the flood", n)
	}
}

// TestNewStormIsPagedAtOnce, whatever was paged a moment ago.
func TestNewStormIsPagedAtOnce(t *testing.T) {
	s := newStory(t)
	s.o.To, s.o.PageTo = nil, []string{"pager"}
	var all []string
	for i := range 20 {
		all = append(all, stream(with(lasting, rows.User, fmt.Sprint("u", i), rows.UID, 1000+i, rows.Actions, "page=60")))
	}
	if n := len(s.snapshots(5*time.Second, all...)); n < 19 {
		t.Errorf("%d pages of 20 storms", n)
	}
}

// TestRepeatedAfterOneAndFourHoursThenDaily is the default of --repeat.
func TestRepeatedAfterOneAndFourHoursThenDaily(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.o.Repeats = []time.Duration{time.Hour, 4 * time.Hour, 24 * time.Hour}
	start := s.now
	var sent []string
	for s.now.Sub(start) < 54*time.Hour {
		s.now = s.now.Add(9 * time.Minute)
		for range s.run(lasting) {
			sent = append(sent, fmt.Sprint(s.now.Sub(start).Round(time.Hour)))
		}
	}
	if want := []string{"0s", "1h0m0s", "5h0m0s", "28h0m0s", "52h0m0s"}; len(sent) != len(want) || sent[1] != want[1] || sent[2] != want[2] {
		t.Errorf("sent after %q, want about %q", sent, want)
	}
}
