//go:build linux

package stormcheck

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"stormcheck/pkg/rows"
)

// checkDeadline is how long a stage may take to end in --check.
const checkDeadline = 10 * time.Second

// check writes for all that a run needs whether it is as it should be: a line each
// that begins with "ok" or "wrong".
func check(out io.Writer) (fine bool) {
	fine = true
	good := func(format string, args ...any) { fmt.Fprintf(out, "ok     "+format+"\n", args...) }
	bad := func(format string, args ...any) {
		fmt.Fprintf(out, "wrong  "+format+"\n", args...)
		fine = false
	}
	settings := readSettings(Conf)
	for _, fault := range settings.Faults {
		bad("settings: %v", fault)
	}
	if len(settings.Faults) == 0 {
		good("settings: %s", Conf)
	}
	for _, s := range settings.stages(mode{dry: true}) {
		shown := strings.Join(append([]string{s.name}, s.args...), " ")
		if err := tryStage(s); err != nil {
			bad("stage: %s: %v", shown, err)
		} else {
			good("stage: %s", shown)
		}
	}
	switch {
	case !settings.kill():
		good("would kill: no")
	default:
		good("would kill: yes")
	}
	return fine
}

// tryStage starts a stage with a stream of no rows. It returns the first line that
// the stage writes to standard error if it fails.
func tryStage(s stage) error {
	path, err := s.find()
	if err != nil {
		return err
	}
	cmd := exec.Command(path, s.args...)
	cmd.Env = append(os.Environ(), "PATH="+s.path)
	cmd.Stdin = strings.NewReader(strings.Join(rows.Header(rows.AllColumns), ",") + "\n")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(checkDeadline, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	late.Stop()
	if line, _, _ := strings.Cut(said.String(), "\n"); err != nil && line != "" {
		return fmt.Errorf("%s", rows.Printable(line))
	}
	return err
}
