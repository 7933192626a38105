//go:build linux

package stormcheck

import (
	"stormcheck/pkg/table"
	"stormcheck/pkg/titles"
	"stormcheck/pkg/trusted"
)

// A config is the settings with what they were read from, and the pipe that they make.
type config struct {
	settings Settings
	filters  []stage // from procstat to the last filter
	mail     stage   // alertmail
	brake    brake
}

// A brake has the fingerprints of the files that steer the pipe, from before they were
// read. After a change of one, killstorm begins no kill.
type brake []watched

type watched struct {
	path  string
	noted trusted.Fingerprint
}

// readConfig reads the settings.
func readConfig(m mode) config {
	b := brake{look(Conf)}
	c := config{settings: readSettings(Conf)}
	stages := c.settings.stages(m)
	for _, path := range steering(stages) {
		b = append(b, look(path))
	}
	for i, s := range stages {
		if s.tool != "killstorm" {
			continue
		}
		for _, w := range b {
			s.args = append(s.args, "--unless-changed", w.path+"@"+w.noted.String())
		}
		if !s.has("--pause") {
			s.args = append(s.args, "--pause", pausePath())
		}
		stages[i] = s
	}
	last := len(stages) - 1
	c.filters, c.mail, c.brake = stages[:last], stages[last], b
	return c
}

func look(path string) watched { return watched{path, trusted.Look(path)} }

// steering returns the tables that the stages read. They include a directory and the files
// in it.
func steering(stages []stage) (paths []string) {
	for _, s := range stages {
		switch s.tool {
		case "threshold":
			if path := s.value("--limits", ""); path != "" {
				paths = append(paths, path)
				continue
			}
			limits, _ := table.Limits.Paths() // what can't be read is a fault of threshold's
			paths = append(paths, limits...)
		case "procstat", "killstorm":
			paths = append(paths, s.value("--titles", titles.Default))
		}
	}
	return paths
}

// now returns the brake as the files are now.
func (b brake) now() brake {
	now := make(brake, len(b))
	for i, w := range b {
		now[i] = look(w.path)
	}
	return now
}
