//go:build !linux

package proc

import "time"

// AtNormalPriority calls start. Elsewhere than on Linux priority belongs to the
// whole process, and isn't raised.
func AtNormalPriority(start func() error) error { return start() }

// AtSharedPriority calls work.
func AtSharedPriority(work func() error) error { return work() }

// Briefly calls work.
func Briefly(_ time.Duration, work func()) { work() }

// RaisePriority does nothing here.
func RaisePriority() {}

// NormalPriority does nothing here.
func NormalPriority() {}

// LockMemory does nothing here.
func LockMemory() {}

// SurviveOOM does nothing here.
func SurviveOOM() {}

// MakeThreads does nothing here.
func MakeThreads() {}
