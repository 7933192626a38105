package alertmail

import (
	"stormcheck/pkg/logs"
	"stormcheck/pkg/rows"
)

// excerpts returns for each topic that the message shows the last lines of the logs
// about it.
func (a *alerter) excerpts(m message) [][]string {
	if len(a.Context) == 0 || m.page {
		return nil
	}
	subjects := make([]logs.Subject, len(m.worst))
	for i, item := range m.worst {
		if s, isStorm := item.topic.(*storm); isStorm && s.lasts() {
			subjects[i] = s.subject()
		}
	}
	return logs.Excerpts(a.Context, subjects, m.now, a.Window, a.Report)
}

// subject is what logs are searched for about the storm, nothing if a name isn't known.
func (i identity) subject() logs.Subject {
	user, err := rows.Unescape(i.user)
	program, err2 := rows.Unescape(i.proc)
	switch {
	case err != nil || err2 != nil || program == "":
		return logs.Subject{}
	case i.proc == "*": // a row of all processes
		program = ""
	}
	return logs.Subject{User: user, Program: program}
}
