package alertmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"stormcheck/pkg/proc"
	"stormcheck/pkg/trusted"
)

// mailer gives the message to the mailer. Nothing but status 0 says that it was
// taken, and no other status says why not (sendmail programs differ in that). The
// recipients are arguments, without -t, so that no header can add one; -i lets a
// line of a single dot pass. A mailer that can't write its queue may never return
// (Postfix): after the deadline it is killed with all that it has started.
func (o Options) mailer(to []string, message []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), o.Deadline)
	defer cancel()
	cmd := killable(ctx, o.Sendmail, append([]string{"-i", "-f", o.Sender, "--"}, to...)...)
	said := &head{size: 200}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(message), said
	if f, err := whole(message); err == nil {
		defer f.Close()
		cmd.Stdin = f
	}
	ended, err := within(o.Deadline+2*time.Second, func() error {
		if err := proc.AtNormalPriority(cmd.Start); err != nil {
			return startCause(err)
		}
		return cmd.Wait()
	})
	switch {
	case !ended: // what it has said, and its state, are still being written
		return fmt.Errorf("%s: killed, but doesn't end", o.Sendmail)
	case err == nil:
		return nil
	case cmd.ProcessState == nil: // it didn't start
		return fmt.Errorf("%s: %w", o.Sendmail, err)
	case cmd.ProcessState.Success():
		return nil // whatever Wait says about its pipes
	case ctx.Err() != nil:
		err = fmt.Errorf("killed, not done within %s", o.Deadline)
	}
	if len(said.text) > 0 {
		err = fmt.Errorf("%w: %q", err, bytes.TrimSpace(said.text))
	}
	return fmt.Errorf("%s: %w", o.Sendmail, err)
}

// within runs f and reports whether it ended in time. One that didn't is left alone:
// no signal ends a process, or wakes a read, that waits for a sick disk.
func within(limit time.Duration, f func() error) (ended bool, err error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-done:
		return true, err
	case <-late.C:
		return false, nil
	}
}

// killable returns a command that at the deadline is killed with all that it has
// started; a child that got away keeps a pipe of it open for a second at most.
func killable(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// whole returns a file with the message in it, to be a child's standard input.
// Should this process be killed in the middle, the child doesn't take half a message,
// or none, for all of it, as it would from a pipe.
func whole(message []byte) (*os.File, error) {
	f, err := namelessFile()
	if err != nil {
		return nil, err
	}
	_, err = f.Write(message)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart) // the child reads where this process is
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// startCause returns why a program didn't start, without its name.
func startCause(err error) error {
	var search *exec.Error
	if errors.As(err, &search) {
		return search.Err
	}
	return trusted.Cause(err)
}

// A head keeps the first size bytes of what is written to it.
type head struct {
	text []byte
	size int
}

func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), h.size-len(h.text))]...)
	return len(p), nil
}
