// Package fleet measures one threshold and one alertmail over the streams of many hosts, 300
// rows each, a storm on each hundredth, beside mawk, which only looks at the count;
// then 2,000 storms posted at once to a real Alertmanager, where there is one:
//
//	go run ./testdata/bench fleet
package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"stormcheck/testdata/bench/timing"
)

const runs = 3

// Main runs the benchmark.
func Main() {
	dir, err := os.MkdirTemp("", "fleet")
	timing.Check(err)
	defer os.RemoveAll(dir)
	timing.Check(timing.Build(dir, "threshold", "alertmail"))
	mailer := filepath.Join(dir, "sendmail")
	timing.Check(os.WriteFile(mailer, []byte("#!/bin/sh\ncat >>"+dir+"/mails\n"), 0o755))
	limits, err := filepath.Abs("pkg/threshold/limits.csv")
	timing.Check(err)
	threshold := []string{dir + "/threshold", "--limits", limits}
	for _, hosts := range []int{1000, 10000} {
		in := stream(dir, hosts, 100)
		info, err := os.Stat(in)
		timing.Check(err)
		fmt.Printf("%d hosts: %d rows, %d MB\n", hosts, hosts*300+hosts/100, info.Size()>>20)
		measure("mawk $6 >= 20", in, []string{"mawk", "-F,", "$6 >= 20"})
		measure("threshold", in, threshold)
		_ = os.Remove(dir + "/mails")
		measure("threshold | alertmail", in, threshold, []string{dir + "/alertmail", "--to", "root", "--sendmail", mailer})
		mails, err := os.ReadFile(dir + "/mails")
		timing.Check(err)
		fmt.Printf("  %d mails in %d runs, of %d bytes\n", strings.Count(string(mails), "\nSubject: "), runs, len(mails)/runs)
		state := dir + "/state.csv"
		measure("threshold | alertmail, state", in, threshold, []string{dir + "/alertmail", "--to", "root", "--sendmail", mailer, "--state", state})
		measure("the same with --all", in, append(slices.Clone(threshold), "--all"), []string{dir + "/alertmail", "--to", "root", "--sendmail", mailer, "--state", state})
	}
	fmt.Println("10000 hosts, a storm on each:")
	in := stream(dir, 10000, 1)
	measure("threshold | alertmail", in, threshold, []string{dir + "/alertmail", "--to", "root", "--sendmail", mailer})
	state := dir + "/many.csv"
	measure("threshold | alertmail, state", in, threshold, []string{dir + "/alertmail", "--to", "root", "--sendmail", mailer, "--state", state})
	if info, err := os.Stat(state); err == nil {
		fmt.Printf("  %d MB of state\n", info.Size()>>20)
	}
	alerts(dir, threshold)
}

// stream writes the streams of so many hosts, one after the other, with a storm on each
// host whose number is a multiple of every.
func stream(dir string, hosts, every int) string {
	path := fmt.Sprintf("%s/%d.%d.csv", dir, hosts, every)
	f, err := os.Create(path)
	timing.Check(err)
	w := bufio.NewWriterSize(f, 1<<20)
	stamp := time.Now().UTC().Format(time.RFC3339)
	for host := range hosts {
		fmt.Fprintln(w, "time,host,user,uid,proc,count,zombies,recent,account")
		if host%every == 0 {
			fmt.Fprintf(w, "%s,mail%d,groucho,1004,imapd,404,0,61,\n", stamp, host)
		}
		for row := range 300 {
			fmt.Fprintf(w, "%s,mail%d,user%d,%d,proc%d,%d,0,1,\n", stamp, host, row%70, 2000+row%70, row, 1+row%19)
		}
	}
	timing.Check(w.Flush())
	timing.Check(f.Close())
	return path
}

// measure runs a pipe over a file, and prints the median of the times, and the
// largest memory of each stage.
func measure(name, in string, stages ...[]string) {
	var times []float64
	memory := make([]int64, len(stages))
	for range runs {
		took, used := pipe(in, stages)
		times = append(times, took)
		for i, m := range used {
			memory[i] = max(memory[i], m)
		}
	}
	slices.Sort(times)
	fmt.Printf("  %-30s %7.2f s ", name, times[runs/2])
	for _, m := range memory {
		fmt.Printf(" %4d MB", m>>10)
	}
	fmt.Println()
}

func pipe(in string, stages [][]string) (took float64, memory []int64) {
	f, err := os.Open(in)
	timing.Check(err)
	defer f.Close()
	var input io.Reader = f
	var cmds []*exec.Cmd
	for i, args := range stages {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stderr = input, os.Stderr
		if i < len(stages)-1 {
			r, w, err := os.Pipe()
			timing.Check(err)
			defer r.Close()
			defer w.Close()
			cmd.Stdout, input = w, r
		}
		cmds = append(cmds, cmd)
	}
	began := time.Now()
	for _, cmd := range cmds {
		timing.Check(cmd.Start())
		for _, file := range []any{cmd.Stdin, cmd.Stdout} {
			if end, ok := file.(*os.File); ok {
				end.Close()
			}
		}
	}
	for _, cmd := range cmds {
		timing.Check(cmd.Wait())
		memory = append(memory, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	return time.Since(began).Seconds(), memory
}

// alerts posts 2,000 storms at once.
func alerts(dir string, threshold []string) {
	server, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		fmt.Println("no prometheus-alertmanager: no alerts posted")
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	timing.Check(err)
	address := listener.Addr().String()
	timing.Check(listener.Close())
	config := dir + "/alertmanager.yml"
	timing.Check(os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o644))
	cmd := exec.Command(server, "--config.file="+config, "--storage.path="+dir+"/alertmanager",
		"--web.listen-address="+address, "--cluster.listen-address=")
	timing.Check(cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	url := "http://" + address
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get(url + "/-/ready"); err == nil {
			response.Body.Close()
			break
		} else if time.Now().After(deadline) {
			timing.Check(err)
		}
	}
	in := stream(dir, 2000, 1)
	fmt.Println("2000 hosts, a storm on each:")
	measure("threshold | alertmail", in, threshold, []string{dir + "/alertmail", "--alertmanager", url})
	measure("the same with a state", in, threshold, []string{dir + "/alertmail", "--alertmanager", url, "--state", dir + "/alerts.csv"})
	response, err := http.Get(url + "/api/v2/alerts")
	timing.Check(err)
	defer response.Body.Close()
	var all []struct{ Labels map[string]string }
	timing.Check(json.NewDecoder(response.Body).Decode(&all))
	fmt.Printf("  %d alerts in Alertmanager\n", len(all))
}
