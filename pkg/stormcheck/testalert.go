//go:build linux

package stormcheck

import (
	"errors"
	"io"

	"stormcheck/pkg/filter"
)

// testAlert has alertmail send a test by mail, page and Alertmanager, as the settings ask.
// alertmail prints which of them accepted it.
func testAlert(out io.Writer, report func(error)) error {
	settings := readSettings(Conf)
	for _, fault := range settings.Faults {
		report(fault)
	}
	s := settings.stage("alertmail", nil, mode{})
	s.args = append(s.args, "--test")
	c := startChain([]stage{s}, nil, func(line string) { report(errors.New(line)) })
	defer c.close()
	if c.out == nil {
		return errors.New(c.unstarted)
	}
	_, err := io.Copy(out, c.reader())
	<-c.ended()
	switch {
	case err != nil:
		return err
	case len(settings.Faults) > 0:
		return filter.ErrUnfit
	case c.processes[0].failure() != "":
		return filter.ErrFailed // it has reported why
	}
	return nil
}
