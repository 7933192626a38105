//go:build linux

// Package cmd_test runs whole pipes of the tools as scripts, and holds the man
// pages against the tools' flags.
package cmd_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"stormcheck/pkg/account"
	"stormcheck/pkg/alertmail"
	"stormcheck/pkg/filter"
	"stormcheck/pkg/stormcheck"
	"stormcheck/pkg/syslog"
	"stormcheck/pkg/thaw"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// TestMain makes this test binary every tool and helper, by the name it is run
// under: scripts run real processes over real pipes.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10") // not a second for each process of a script
	}
	if path := os.Getenv("SYSLOG"); path != "" {
		syslog.Socket = path
	}
	account.Deadline = time.Minute // a busy machine is no silent name service
	for name, limit := range map[string]*time.Duration{
		"MAILER_LIMIT": &alertmail.MailerLimit, "NAME_SERVICE_LIMIT": &account.Deadline,
	} {
		if d, err := time.ParseDuration(os.Getenv(name)); err == nil {
			*limit = d
		}
	}
	commands := map[string]func(){"crowd": crowd, "victim": victim, "deaf": deaf, "pounce": pounce}
	for _, app := range tools {
		commands[app().Name] = func() { filter.Main(app()) }
	}
	thaw.Dir = os.Getenv("WORK") + "/run"
	commands["stormcheck"] = func() {
		placeStormcheck()
		filter.Main(stormcheck.App())
	}
	testscript.Main(m, commands)
}

// placeStormcheck makes stormcheck that of a script: its files are below $WORK, its
// filters this binary. A script may set others, and shorten a run's deadline.
func placeStormcheck() {
	work := os.Getenv("WORK")
	if path, err := exec.LookPath("procstat"); err == nil {
		stormcheck.BinDir = filepath.Dir(path)
	}
	stormcheck.Conf, stormcheck.RunDir, stormcheck.StateDir = work+"/stormcheck.conf", work+"/run", work+"/state"
	for name, path := range map[string]*string{"BIN": &stormcheck.BinDir, "CONF": &stormcheck.Conf} {
		if os.Getenv(name) != "" {
			*path = os.Getenv(name)
		}
	}
	for name, limit := range map[string]*time.Duration{
		"RUN_DEADLINE": &stormcheck.RunDeadline, "KILL_AFTER": &stormcheck.KillAfter,
	} {
		if d, err := time.ParseDuration(os.Getenv(name)); err == nil {
			*limit = d
		}
	}
}

func TestScripts(t *testing.T) {
	top, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	caches := map[string]string{}
	text, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY").Output()
	if err == nil {
		err = json.Unmarshal(text, &caches)
	}
	if err != nil {
		t.Log("go env: ", err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "../testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TOP", top)
			env.Setenv("PIDS", pidsController())
			for name, value := range caches {
				env.Setenv(name, value) // for a build within a script, whose HOME is nowhere
			}
			env.Setenv("TZ", "America/Chicago")
			env.Setenv("LC_ALL", "C")
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  status,
			"waitfor": waitfor,
		},
	})
}

// condition knows [root]; [ns]: new PID and mount namespaces can be made, in which a
// test can do no harm outside; [pids]: control groups with a limit of processes can be
// made; and [extrausers], a module of the name service.
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "ns":
		return exec.Command("unshare", append(namespace(), "true")...).Run() == nil, nil
	case "pids":
		return pidsController() != "", nil
	case "extrausers":
		found, err := filepath.Glob("/usr/lib*/libnss_extrausers.so.2")
		return len(found) > 0, err
	}
	return false, errors.New("no such condition")
}

// pidsController returns the directory in which control groups with a limit of
// processes can be made, of version 1 or 2, or "".
func pidsController() string {
	for _, top := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		dir, err := os.MkdirTemp(top, "stormcheck-test-")
		if err != nil {
			continue
		}
		_, err = os.Stat(dir + "/pids.max")
		if os.Remove(dir); err == nil {
			return top
		}
	}
	return ""
}

// namespace is how unshare(1) makes a PID and a mount namespace here, for an
// ordinary user within a user namespace of his own.
func namespace() []string {
	args := []string{"--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-current-user")
	}
	return args
}

// status N COMMAND... runs a command that must end with status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
}

// waitfor FILE waits until the file is there.
func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor file")
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s: not there after a minute", args[0])
}
