// Package proc is the process table: who runs what, which process exactly, and
// signals to exactly that one. It is the only importer of go-ps, which lists
// processes where there is no Linux /proc. On Linux the package reads /proc
// itself: go-ps ends a name at its first ")" and so loses every process whose
// name holds one, which would let anyone hide a storm.
package proc

// A Process is one process as its table shows it.
type Process struct {
	PID  int
	PPID int
	PGID int
	UID  uint32 // effective uid
	// Comm is the process name, any bytes. Of one from Table.Scan it is valid
	// only until the function that was given the process returns.
	Comm []byte
	// Start is when the process started, in clock ticks (1/100 s) since the
	// machine did. With PID it says which process this is, as PIDs are reused.
	Start  uint64
	Zombie bool // dead and not yet reaped, with no thread that lives
	Kernel bool // a kernel thread
	// Terminal reports whether the process has a controlling terminal.
	Terminal bool
	State    byte // proc_pid_stat(5): R, S, D, Z, T…
}
