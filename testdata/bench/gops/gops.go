// gops counts processes by owner and name with go-ps, as a program would that had
// nothing else.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	ps "github.com/mitchellh/go-ps"
)

func main() {
	all, err := ps.Processes()
	if err != nil {
		os.Exit(1)
	}
	counts := map[string]int{}
	for _, p := range all {
		var owner syscall.Stat_t
		if syscall.Stat("/proc/"+strconv.Itoa(p.Pid()), &owner) == nil {
			counts[fmt.Sprint(owner.Uid, " ", p.Executable())]++
		}
	}
	for name, n := range counts {
		fmt.Println(n, name)
	}
}
