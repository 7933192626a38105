// Package thaw keeps a killstorm that is killed from leaving processes stopped. Before
// killstorm stops a process it adds it to a list in /run/stormcheck, and it removes the
// list when its work is done. A list whose killstorm has died is what the next run of
// stormcheck resumes, and nothing else: whatever a user, a shell or a debugger has stopped
// stays as it is.
package thaw

// Dir is where the lists are: with the machine's memory they go, and so do the processes.
var Dir = "/run/stormcheck"
