// Package timing is what the benchmarks share.
package timing

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Check ends the benchmark with an error, unless it is nil.
func Check(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
}

// Build makes programs in a directory: the tools in cmd as install.sh builds them, and
// what is written in C or Go beside the benchmarks. stormcheck has its filters, its
// settings (stormcheck.conf) and what it writes (state) in that directory.
func Build(dir string, names ...string) error {
	for _, name := range names {
		var err error
		switch {
		case exists("cmd/" + name):
			err = Run("go", "build", "-ldflags", "-s -w"+entry(name)+places(dir), "-tags", "urfave_cli_no_docs", "-o", dir+"/"+name, "./cmd/"+name)
		case exists("testdata/bench/c/" + name + ".c"):
			err = Compile(dir, name)
		default:
			err = Run("go", "build", "-o", dir+"/"+name, "./testdata/bench/"+name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// entry returns the linker's flag for a tool with pkg/first, as install.sh has it.
func entry(name string) string {
	source, err := os.ReadFile("cmd/" + name + "/main.go")
	if err != nil || !bytes.Contains(source, []byte(`_ "stormcheck/pkg/first"`)) || !exists("pkg/first/entry_"+runtime.GOOS+"_"+runtime.GOARCH+".s") {
		return ""
	}
	return " -E stormcheck/pkg/first.start"
}

// Compile makes a program of those in C, with more flags.
func Compile(dir, name string, flags ...string) error {
	return Run(append([]string{"cc", "-O2", "-o", dir + "/" + name, "testdata/bench/c/" + name + ".c"}, flags...)...)
}

// Run runs a command, without cgo if it is a build. Its output is part of its error.
func Run(args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// places sets stormcheck's paths at link time.
func places(dir string) (flags string) {
	for _, place := range []string{"BinDir=" + dir, "Conf=" + dir + "/stormcheck.conf", "RunDir=" + dir + "/run", "StateDir=" + dir + "/state"} {
		flags += " -X stormcheck/pkg/stormcheck." + place
	}
	return flags
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Median returns the median of durations, which need not be sorted.
func Median(took []time.Duration) time.Duration {
	sorted := slices.Clone(took)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// Argument returns the benchmark's n-th argument, a positive number, or byDefault.
func Argument(n, byDefault int) int {
	if len(os.Args) <= n {
		return byDefault
	}
	value, err := strconv.Atoi(os.Args[n])
	if err == nil && value < 1 {
		err = fmt.Errorf("%d is no count", value)
	}
	Check(err)
	return value
}
