package cmd_test

import (
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inOrder is how a package's comment names its files.
var inOrder = regexp.MustCompile(`Each file uses only those after it: ([a-z, \n]+)\.`)

// TestFilesUseOnlyThoseAfterThem checks that a large package reads from top to bottom: no
// file uses what stands in one that its package's comment names before it.
func TestFilesUseOnlyThoseAfterThem(t *testing.T) {
	for _, name := range []string{"alertmail", "killstorm", "logs", "mailarchive"} {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			files, order := parsePackage(t, fset, "../pkg/"+name)
			info := types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
			// Other packages don't matter, and neither do the errors that their absence makes.
			config := types.Config{Importer: noPackage{}, Error: func(error) {}}
			_, _ = config.Check(name, fset, files, &info)
			place := func(at token.Pos) int { return slices.Index(order, baseName(fset, at)) }
			for used, object := range info.Uses {
				isField := false
				if v, is := object.(*types.Var); is {
					isField = v.IsField()
				}
				at := object.Pos()
				if at.IsValid() && !isField && place(at) < place(used.Pos()) {
					t.Errorf("%s uses %s of %s", fset.Position(used.Pos()), used.Name, baseName(fset, at))
				}
			}
		})
	}
}

// parsePackage returns the files of a package on Linux, and their names in the order of
// its comment.
func parsePackage(t *testing.T, fset *token.FileSet, dir string) (files []*ast.File, order []string) {
	t.Helper()
	linux := build.Default
	linux.GOOS = "linux"
	list, err := linux.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		if found := inOrder.FindStringSubmatch(f.Doc.Text()); found != nil {
			order = strings.FieldsFunc(found[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
		}
	}
	var names []string
	for _, f := range files {
		names = append(names, baseName(fset, f.Pos()))
	}
	if want := slices.Sorted(slices.Values(order)); !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Fatalf("the package's comment names the files %q, there are %q", want, names)
	}
	return files, order
}

// baseName returns the name of a file without its system.
func baseName(fset *token.FileSet, at token.Pos) string {
	return strings.TrimSuffix(strings.TrimSuffix(filepath.Base(fset.Position(at).Filename), ".go"), "_linux")
}

// noPackage imports nothing.
type noPackage struct{}

func (noPackage) Import(path string) (*types.Package, error) { return nil, errors.New(path) }
