//go:build !linux

package child

import "os"

// awaitExit reports that it didn't wait for the child's end.
func awaitExit(int) bool { return false }

// namelessFile returns an empty file without a name.
func namelessFile() (*os.File, error) {
	f, err := os.CreateTemp("", "stormcheck")
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, err
}
