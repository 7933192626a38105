package table

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"stormcheck/pkg/trusted"
)

// A Place says where a table stands: a file, and a directory of drop-ins, which are
// read before the file.
type Place struct {
	File string
	Dir  string
}

// Limits is where threshold looks for its table of limits, storm.limits(5).
var Limits = Place{File: "/etc/stormcheck/limits.csv", Dir: "/etc/stormcheck/limits.d"}

// DropIns returns the paths of the drop-ins in the order of their names. A drop-in is
// a file of Dir whose name ends in .csv and doesn't begin with a dot. If Dir doesn't
// exist there is none.
func (p Place) DropIns() (paths []string, err error) {
	names, err := trusted.List(p.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".csv") && !strings.HasPrefix(name, ".") {
			paths = append(paths, filepath.Join(p.Dir, name))
		}
	}
	return paths, err
}

// Paths returns every path whose change can change the table: the file, the directory
// and each drop-in. The first two needn't exist. A drop-in that comes later changes
// the directory.
func (p Place) Paths() ([]string, error) {
	dropIns, err := p.DropIns()
	return append([]string{p.File, p.Dir}, dropIns...), err
}
