package trusted

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// rotation is what a rotated log has after its name: FILE.EPOCH, as a tool moves one
// aside, and FILE.N or FILE-DATE-EPOCH, as logrotate(8) does; each also compressed.
var rotation = regexp.MustCompile(`^[.-][0-9][0-9-]*(\.gz)?$`)

// Rotated returns a log and the files that it was rotated to, those that exist, the
// one that was written last first. It is an error if there is none.
func Rotated(path string) (paths []string, err error) {
	type file struct {
		path string
		info os.FileInfo
	}
	var files []file
	dir, base := filepath.Split(path)
	entries, listing := os.ReadDir(cmp.Or(dir, "."))
	for _, entry := range entries {
		ending, is := strings.CutPrefix(entry.Name(), base)
		if !is || ending != "" && !rotation.MatchString(ending) {
			continue
		}
		if info, err := entry.Info(); err == nil {
			files = append(files, file{dir + entry.Name(), info})
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", path, cmp.Or(Cause(listing), error(syscall.ENOENT)))
	}
	slices.SortStableFunc(files, func(a, b file) int {
		if newest := b.path == path; newest != (a.path == path) { // whatever the clock says
			return map[bool]int{true: 1, false: -1}[newest]
		}
		return b.info.ModTime().Compare(a.info.ModTime())
	})
	for _, f := range files {
		paths = append(paths, f.path)
	}
	return paths, nil
}

// OpenRotated opens one of the files that Rotated returns for reading, and
// decompresses it if its name ends in .gz.
func OpenRotated(path string) (io.ReadCloser, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return f, err
	}
	text, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{text, f}, nil
}
