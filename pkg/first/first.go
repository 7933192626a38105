// Package first starts a command that imports it above a process storm: at the lowest
// real-time priority, where that is allowed, before other packages initialise. In a storm
// at normal priority each millisecond of processor time takes a tenth of a second or more.
//
// The priority is raised in one of two places. Before any package initialises, the Go
// runtime starts threads and waits for them, which can take seconds in a storm. So where
// entry_*.s has an entry point for the platform, install.sh links the program with it (-E
// of cmd/link), and the runtime's threads inherit the priority. On other platforms, and in
// a program built without install.sh, init does it: Go initialises a package as soon as
// all that it imports is (The Go Programming Language Specification, Program
// initialization), so this one imports next to nothing.
package first
