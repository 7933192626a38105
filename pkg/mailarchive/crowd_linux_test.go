package mailarchive

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/account"
	"stormcheck/pkg/filter"
)

// patient is longer than a test takes that waits for nobody's lock, on a busy machine too.
const patient = 10 * time.Minute

// A crowd are accounts whose owners make their mailboxes slow.
type crowd struct {
	*stage
	rows string // all of them, due
	held []*os.File
	dots []string // dotlocks
}

// member adds an account and returns its uid and its mailbox's path.
func (c *crowd) member(n int) (member int, path string) {
	if os.Geteuid() != 0 {
		c.Skip("needs files of many accounts")
	}
	member = 60200 + n
	c.rows += due(strconv.Itoa(member), strconv.Itoa(member))
	return member, fmt.Sprintf("%s/%d", c.spool, member)
}

// owned makes a mailbox of that account's.
func (c *crowd) owned(member int, path string) {
	c.Helper()
	c.write(path, "From chico\n")
	c.try(os.Chown(path, member, -1))
}

// hold returns the open mailbox, for a lock until release.
func (c *crowd) hold(path string) *os.File {
	c.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	c.try(err)
	c.held = append(c.held, f)
	return f
}

// release ends all locks.
func (c *crowd) release() {
	for _, f := range c.held {
		f.Close()
	}
	for _, path := range c.dots {
		os.Remove(path)
	}
	c.held, c.dots = nil, nil
}

// slow are the ways to make a mailbox slow until release.
var slow = []struct {
	name string
	make func(c *crowd, member int, path string)
}{
	{"fcntl lock", func(c *crowd, member int, path string) {
		c.owned(member, path)
		c.try(unix.FcntlFlock(c.hold(path).Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	}},
	{"flock", func(c *crowd, member int, path string) {
		c.owned(member, path)
		c.try(unix.Flock(int(c.hold(path).Fd()), unix.LOCK_EX))
	}},
	{"dotlock", func(c *crowd, member int, path string) {
		c.owned(member, path)
		c.owned(member, path+".lock")
		c.dots = append(c.dots, path+".lock")
	}},
	{"lease", func(c *crowd, member int, path string) {
		c.owned(member, path)
		signal.Ignore(unix.SIGIO)
		c.Cleanup(func() { signal.Reset(unix.SIGIO) })
		if _, err := unix.FcntlInt(c.hold(path).Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
			c.Skipf("lease: %v", err)
		}
	}},
	{"FIFO", func(c *crowd, _ int, path string) { c.try(unix.Mkfifo(path, 0o666)) }},
	{"huge and sparse, locked", func(c *crowd, member int, path string) {
		c.owned(member, path)
		c.try(os.Truncate(path, 3<<40))
		c.try(unix.Flock(int(c.hold(path).Fd()), unix.LOCK_EX))
	}},
}

// honest runs the rows of the crowd and, last, the honest user's, and returns that row.
// Until it is out, or until the time of those that wait is over, nothing is released.
func (c *crowd) honest() (row string) {
	c.Helper()
	in, out := io.Pipe()
	ended := make(chan error)
	go func() {
		err := Run(c.Options, filter.Env{In: strings.NewReader(header + c.rows + due(groucho, groucho)), Out: out, Report: func(error) {}})
		out.Close()
		ended <- err
	}()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if strings.Contains(lines.Text(), ",moscow,"+groucho+",") {
			row = lines.Text()
			c.release()
		}
	}
	c.try(<-ended)
	return row
}

// isCopied checks that the honest user's row had its copy long before others gave up.
func (c *crowd) isCopied() {
	c.Helper()
	begin := time.Now()
	row := c.honest()
	if took := time.Since(begin); !strings.Contains(row, ","+c.name(night)+",") || took >= patient {
		c.Errorf("after %s: %q", took, row)
	}
}

// newCrowd returns a crowd of n, whose accounts the name service has been asked for.
func newCrowd(t *testing.T, n int) *crowd {
	c := &crowd{stage: newStage(t)}
	t.Cleanup(c.release)
	c.boxes("{user}")
	c.write(c.mailbox, "From chico\n")
	for i := range n {
		member, path := c.member(i)
		slow[i%len(slow)].make(c, member, path)
	}
	c.askNameService(n)
	return c
}

// askNameService has the answers remembered for all members and the user: on a busy
// machine a hundred questions at once take longer than a run waits.
func (c *crowd) askNameService(n int) {
	c.Helper()
	uids := []uint32{uint32(uid)}
	for i := range n {
		uids = append(uids, uint32(60200+i))
	}
	for end := time.Now().Add(time.Minute); ; {
		_, err := account.ByUIDs(uids)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			c.Fatal(err)
		}
	}
}

// However many accounts keep their mailboxes from being copied, an honest one's row
// doesn't wait for any of them.
func TestNoRowWaitsForAnothersLock(t *testing.T) {
	for _, n := range []int{27, 100} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			c := newCrowd(t, n)
			c.LockTimeout, c.Timeout = patient, 2*patient
			c.isCopied()
		})
	}
}

// All locks of a snapshot end together: many take no longer than one.
func TestManyLocksTakeNoLongerThanOne(t *testing.T) {
	c := newCrowd(t, 60)
	c.LockTimeout, c.Timeout = 2*time.Second, patient
	begin := time.Now()
	out, _ := c.pass(header + c.rows)
	if took := time.Since(begin); took > 30*c.LockTimeout {
		t.Errorf("%s", took)
	}
	if n := strings.Count(out, "not locked (held by "); n != 30 { // three of six kinds
		t.Errorf("%d not locked:\n%s", n, out)
	}
}

// A mailbox whose copy failed costs nobody any waiting for a while, and is in failed.csv
// until it is copied.
func TestFailedMailboxIsNotWaitedForAgain(t *testing.T) {
	c := newCrowd(t, 0)
	c.AgainAfter, c.Timeout = 10*time.Minute, 2*patient
	signal.Ignore(unix.SIGIO)
	defer signal.Reset(unix.SIGIO)
	holder := c.hold(c.mailbox)
	if _, err := unix.FcntlInt(holder.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("lease: %v", err)
	}
	refused := "mailarchive: " + c.mailbox + ": refused: under a lease"
	c.LockTimeout = time.Millisecond
	c.gives("", "", refused)
	c.holds(c.archive+"/"+failedName, failedHeader+"\n2000-04-25T05:17:02Z,"+c.mailbox+",refused: under a lease\n")

	c.LockTimeout = patient
	begin := time.Now()
	c.at(night.Add(time.Minute))
	c.gives("", "", refused)
	if took := time.Since(begin); took >= c.LockTimeout {
		t.Errorf("waited %s", took)
	}
	// After --again-after it is waited for, and given back.
	now := night.Add(20 * time.Minute)
	c.at(now)
	go func() {
		time.Sleep(50 * time.Millisecond)
		holder.Close()
	}()
	c.gives(c.name(now), "", "")
	c.holds(c.archive+"/"+failedName, failedHeader+"\n")
}

// silent adds so many accounts over whose directories file systems are mounted that answer
// nothing until release; see fuse(4). The honest user has such a directory too.
func (c *crowd) silent(n int) {
	c.Helper()
	c.boxes("{user}/mbox")
	c.try(os.Remove(c.mailbox))
	c.try(os.Mkdir(c.mailbox, 0o755))
	c.write(c.mailbox+"/mbox", "From chico\n")
	for i := range n {
		_, dir := c.member(i)
		c.try(os.Mkdir(dir, 0o755))
		fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
		if err != nil {
			c.Skip(err)
		}
		c.held = append(c.held, fuse)
		options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse.Fd())
		if err := unix.Mount("silent", dir, "fuse.silent", 0, options); err != nil {
			c.Skipf("mount: %v", err)
		}
		c.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	c.askNameService(n)
}

// File systems of others that don't answer cost an honest row nothing either.
func TestNoRowWaitsForAnothersServer(t *testing.T) {
	c := newCrowd(t, 0)
	c.silent(27)
	c.Timeout = patient
	c.isCopied()
}

// If there are more silent servers than threads an honest row is through the next time, for
// those that failed have half of the threads.
func TestServersThatFailedLeaveThreadsForOthers(t *testing.T) {
	c := newCrowd(t, 0)
	c.silent(threads + 8)
	c.AgainAfter, c.Timeout = 10*time.Minute, 500*time.Millisecond
	c.pass(header + c.rows)
	c.Timeout = patient
	c.isCopied()
}

// The place of a copy from a file server goes to another when the copy stalls; that of a
// copy from a disk doesn't, for two at once are as many as a disk takes.
func TestOnlyACopyFromAServerLosesItsPlaceWhenItStalls(t *testing.T) {
	for served, want := range map[bool]error{true: nil, false: errOver} {
		q := newQueue()
		for range atOnce {
			if err := q.wait(context.Background(), &turn{rank: rank{served: served}}); err != nil {
				t.Fatal(err)
			}
		}
		limit := time.Minute
		if want != nil {
			limit = 2 * stalled
		}
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		if err := q.wait(ctx, &turn{}); err != want {
			t.Errorf("from a server %v: %v; want %v", served, err, want)
		}
		cancel()
		q.close()
	}
}
