//go:build !linux

package alertmail

import "os"

// namelessFile returns an empty file without a name.
func namelessFile() (*os.File, error) {
	f, err := os.CreateTemp("", "alertmail")
	if err == nil {
		err = os.Remove(f.Name())
	}
	return f, err
}
