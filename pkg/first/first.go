// Package first makes a command that imports it start above a process storm: at the
// lowest real-time priority, where that is allowed, before other packages initialise.
// In a storm at normal priority each millisecond of processor time until main takes
// a tenth of a second or more. Go initialises a package as soon as all that it imports
// is (The Go Programming Language Specification, Program initialization), so this one
// imports next to nothing.
package first
