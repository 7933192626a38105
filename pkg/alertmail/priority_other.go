//go:build !linux

package alertmail

// atNormalPriority calls start. Elsewhere than on Linux priority belongs to the
// whole process, and isn't raised.
func atNormalPriority(start func() error) error { return start() }
