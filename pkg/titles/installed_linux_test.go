package titles

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"stormcheck/pkg/account"
	"stormcheck/pkg/proc"
)

// installed returns the installed table, with the # removed from all rows.
func installed(t *testing.T) *Table {
	t.Helper()
	text, err := os.ReadFile("titles.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, faults := Parse("titles.csv", string(text)); len(faults) > 0 {
		t.Fatalf("as it is: %v", faults)
	}
	rows := regexp.MustCompile(`(?m)^#(\S+,.*,")`).ReplaceAllString(string(text), "$1")
	table, faults := Parse("titles.csv", rows)
	if len(faults) > 0 || len(table.rules) != 6 {
		t.Fatalf("%d rows, %v", len(table.rules), faults)
	}
	return table
}

func TestInstalledTable(t *testing.T) {
	table := installed(t)
	const npx = "/home/groucho/.npm/_npx/1f0/node_modules/.bin/"
	const code = "/home/groucho/.vscode-server/cli/servers/Stable-fee1/server/"
	for _, c := range []struct{ comm, title, want string }{
		{"node", "node server.js", "server.js"},
		{"MainThread", "/usr/bin/node /srv/mcp/server.js --port 80", "server.js"},
		{"node", "node --max-old-space-size=4096 -r dotenv/config --import ./x.mjs /srv/index.mjs a b", "index.mjs"},
		{"node", "node " + npx + "mcp-server-filesystem /srv", "mcp-server-filesystem"},
		{"node", "node", ""},
		{"node", "node -e process.exit()", ""},
		{"node", "node --inspect -pe secret", ""},
		{"node", "node --eval secret", ""},
		{"node", "node --eval=secret x", ""},
		{"node", "node -", ""},
		{"node", "node /srv/app.js -e secret", "app.js"},
		{"nodejs", "nodejs app.js", "app.js"},
		{"node", code + "node " + code + "out/server-main.js --connection-token=secret", "server-main.js"},
		{"node", code + "node " + code + "out/bootstrap-fork --type=extensionHost --transformURIs", "extensionHost"},
		{"MainThread", code + "node --dns-result-order=ipv4first " + code + "out/bootstrap-fork --type=fileWatcher", "fileWatcher"},
		{"npm exec @model", "npm exec @modelcontextprotocol/server-filesystem /srv", "server-filesystem"},
		{"npm exec @model", "npm exec @modelcontextprotocol/server-filesystem@2025.1 /srv", "server-filesystem"},
		{"npm exec cowsay", "npm exec -y cowsay@1.6.0", "cowsay"},
		{"npm run build", "npm run build", ""},
		{"python3", "python3 train.py", "train.py"},
		{"python3.11", "/usr/bin/python3.11 -u -X dev /opt/train.py --password secret", "train.py"},
		{"python3", "python3 -m http.server 8000", "http.server"},
		{"python3", "python3 -um http.server", "http.server"},
		{"python3", "python3 -W ignore::UserWarning -m pip install x", "pip"},
		{"python3", "python3 -c secret", ""},
		{"python3", "python3 -Bc secret", ""},
		{"python3", "python3", ""},
		{"python3", "python3 -", ""},
		{"java", "java -jar app.jar", "app.jar"},
		{"java", "/usr/lib/jvm/java-17/bin/java -Xmx1g -Dpassword=secret -jar /opt/app.jar -x", "app.jar"},
		{"java", "java -cp /opt/a.jar:/opt/b.jar --add-opens java.base/java.lang=ALL-UNNAMED org.apache.catalina.startup.Bootstrap start", "org.apache.catalina.startup.Bootstrap"},
		{"java", "java -version", ""},
		{"bash", "node server.js", ""},
	} {
		rules := table.RulesOf(account.Account{Name: "groucho", UID: 1004}, c.comm)
		if got := rules.Read([]byte(c.title)); got != (Saying{Proc: c.want}) {
			t.Errorf("%s %q: %+v; want %q", c.comm, c.title, got, c.want)
		}
	}
}

// The installed rows read what real interpreters say.
func TestInstalledTableOnRealPrograms(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script := write("server.js", "setTimeout(() => {}, 600000)\n")
	train := write("train.py", "import time\ntime.sleep(600)\n")
	java := write("Train.java", "class Train { public static void main(String[] a) throws Exception { Thread.sleep(600000); } }\n")
	helper := write("out/bootstrap-fork.js"[4:], "setTimeout(() => {}, 600000)\n")
	for _, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{"node", []string{script, "--port", "80"}, "server.js"},
		{"node", []string{"--max-old-space-size=100", script}, "server.js"},
		{"node", []string{"-e", "setTimeout(() => {}, 600000)"}, ""},
		{"node", []string{strings.TrimSuffix(helper, ".js"), "--type=extensionHost"}, "extensionHost"},
		{"/usr/bin/python3", []string{train, "--password", "secret"}, "train.py"},
		{"/usr/bin/python3", []string{"-u", "-m", "http.server", "--bind", "127.0.0.1", "0"}, "http.server"},
		{"/usr/bin/python3", []string{"-c", "import time; time.sleep(600)"}, ""},
		{"java", []string{"-Xmx32m", "-cp", dir, java}, "Train.java"},
	} {
		t.Run(c.program+" "+c.want, func(t *testing.T) {
			path, err := exec.LookPath(c.program)
			if err != nil {
				t.Skip(err)
			}
			if strings.Contains(c.want, "Host") { // VS Code's node has a path
				path, _ = filepath.EvalSymlinks(path)
			}
			cmd := exec.Command(path, c.args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Skip(err)
			}
			defer func() { cmd.Process.Kill(); cmd.Wait() }()
			var got, title string
			for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(50 * time.Millisecond) {
				if got, title = said(t, cmd.Process.Pid); got == c.want && title != "" {
					return
				}
			}
			t.Errorf("%q: %q; want %q", title, got, c.want)
		})
	}
}

// said returns what the title of a process says by the installed table, and the title.
func said(t *testing.T, pid int) (program, title string) {
	t.Helper()
	processes, err := proc.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer processes.Close()
	h, err := processes.Process(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var id proc.Identity
	if err := h.Identify(&id); err != nil {
		t.Fatal(err)
	}
	rules := installed(t).RulesOf(account.Account{UID: id.UID}, string(id.Comm))
	if rules == nil {
		return "", ""
	}
	var r proc.TitleReader
	r.Read(processes, []proc.Process{id.Process}, time.Minute, func(_ int, text []byte) {
		program, title = rules.Read(text).Proc, string(text)
	})
	return program, title
}
