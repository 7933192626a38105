package proc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An EventKind says what has happened to a process.
type EventKind uint32

// The kinds of events, enum what of the kernel's include/uapi/linux/cn_proc.h.
const (
	eventAck  EventKind = 0
	EventFork EventKind = 0x001 // PID is a new process of Parent
	EventExec EventKind = 0x002 // PID runs another program
	EventUID  EventKind = 0x004 // PID has another effective uid, UID
	EventComm EventKind = 0x200 // PID has given itself a name, Comm
)

// An Event is what the kernel's process events connector reports of a process.
type Event struct {
	Kind   EventKind
	Second uint64 // of the boot clock that stops in suspend
	PID    int
	Thread bool // it is about a thread that isn't the process's first
	Parent int
	UID    uint32
	Comm   []byte // valid until the function that was given the event returns
}

// ErrEventsLost is the error after the kernel had no room left for events.
var ErrEventsLost = errors.New("process events were lost")

var errNoEvents = errors.New("the kernel has none for this namespace")

// Events receives process events: the proc connector, netlink(7) and
// Documentation/driver-api/connector.rst of the kernel.
type Events struct {
	Filtered bool            // the kernel sends only the kinds that were asked for; it sends all before Linux 6.6
	fd       int             // the socket
	file     *os.File        // the same, for Read; nil until Watch
	conn     syscall.RawConn // of file
	wait     func(fd uintptr) bool
	received int   // messages, by the last call of wait
	failed   error // what that call failed at
	messages [eventBatch]mmsghdr
	vectors  [eventBatch]unix.Iovec
	buffers  [eventBatch][128]byte
	event    Event
}

// eventBatch is how many events are received at once.
const eventBatch = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// struct cn_msg and struct proc_event, behind the header of netlink.
const (
	netlinkHeader = 16
	connectorHead = 20
	eventAt       = netlinkHeader + connectorHead
	eventData     = eventAt + 16 // behind what, cpu and timestamp_ns

	cnIdxProc, cnValProc = 1, 1
	mcastListen          = 1
	allKinds             = 0 // in a request
	ackTakes             = time.Second
)

// OpenEvents subscribes to process events of some kinds, of which so many bytes may wait:
// an event takes some 250. More than net.core.rmem_max needs CAP_NET_ADMIN. OpenEvents needs
// the first user and PID namespace, a kernel with CONFIG_PROC_EVENTS and, before Linux 6.6,
// CAP_NET_ADMIN.
func OpenEvents(room int, kinds EventKind) (*Events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	if err != nil {
		return nil, fmt.Errorf("process events: %w", err)
	}
	e := &Events{fd: fd}
	e.wait = e.receive
	for i := range e.messages {
		e.vectors[i].Base = &e.buffers[i][0]
		e.vectors[i].SetLen(len(e.buffers[i]))
		e.messages[i].header.Iov = &e.vectors[i]
		e.messages[i].header.SetIovlen(1)
	}
	if err := e.subscribe(room, kinds); err != nil {
		e.Close()
		return nil, fmt.Errorf("process events: %w", err)
	}
	return e, nil
}

// Watch makes Read possible: the Go runtime's poller is woken by each event from then on.
func (e *Events) Watch() (err error) {
	e.file = os.NewFile(uintptr(e.fd), "process events")
	e.conn, err = e.file.SyscallConn()
	return err
}

// Close gives the socket back. A Read under way returns os.ErrClosed.
func (e *Events) Close() {
	if e.file != nil {
		e.file.Close()
	} else {
		unix.Close(e.fd)
	}
}

func (e *Events) subscribe(room int, kinds EventKind) error {
	if unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	if err := unix.Bind(e.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: cnIdxProc}); err != nil {
		return err
	}
	// Since Linux 6.6 the kernel filters, and then drops its own answer, which is of no kind.
	// So the first request is for all kinds. An older kernel answers only one without kinds.
	for _, request := range [][]uint32{{mcastListen, allKinds}, {mcastListen}} {
		if err := send(e.fd, request); err == unix.ECONNREFUSED {
			return errNoEvents
		} else if err != nil {
			return err
		}
		acked, err := e.awaitAck(time.Now().Add(ackTakes))
		if err != nil {
			return err
		}
		if e.Filtered = acked && len(request) > 1; e.Filtered {
			return send(e.fd, []uint32{mcastListen, uint32(kinds)})
		}
		if acked {
			return nil
		}
	}
	return errNoEvents
}

// awaitAck waits until a time for the kernel's answer to a request, which may be an error.
func (e *Events) awaitAck(until time.Time) (acked bool, err error) {
	visit := func(event *Event) {
		if event.Kind == eventAck {
			acked = true
			if event.UID != 0 {
				err = unix.Errno(event.UID)
			}
		}
	}
	for !acked && time.Now().Before(until) {
		if failed := e.Drain(visit); failed != nil && failed != ErrEventsLost {
			return false, failed
		}
		if !acked {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(e.fd), Events: unix.POLLIN}}, int(time.Until(until)/time.Millisecond)+1)
		}
	}
	return acked, err
}

// send sends a request: the words of struct proc_input.
func send(fd int, words []uint32) error {
	message := make([]byte, eventAt, eventAt+8)
	for _, word := range words {
		message = binary.NativeEndian.AppendUint32(message, word)
	}
	binary.NativeEndian.PutUint32(message[0:], uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], unix.NLMSG_DONE)
	binary.NativeEndian.PutUint32(message[netlinkHeader:], cnIdxProc)
	binary.NativeEndian.PutUint32(message[netlinkHeader+4:], cnValProc)
	binary.NativeEndian.PutUint16(message[netlinkHeader+16:], uint16(4*len(words)))
	return unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// Read, after Watch, waits for events and passes those that are there to visit, between a call of lock
// and one of unlock. more reports whether others may be there already. It takes no memory.
// After ErrEventsLost it can be called again.
//
// The Go runtime's poller waits, not the call: the runtime watches a thread in a call that
// waits, and in doing so used ten times what the events took.
func (e *Events) Read(visit func(*Event), lock, unlock func()) (more bool, err error) {
	if err := e.conn.Read(e.wait); err != nil {
		return false, err
	}
	if e.received == 0 {
		return true, e.failed
	}
	lock()
	defer unlock()
	e.each(e.received, visit)
	return e.received == eventBatch, nil
}

// Drain passes all events that are there to visit, and waits for none. After ErrEventsLost
// others may be there still.
func (e *Events) Drain(visit func(*Event)) error {
	for {
		e.receive(uintptr(e.fd))
		if e.failed != nil {
			return e.failed
		}
		e.each(e.received, visit)
		if e.received < eventBatch {
			return nil
		}
	}
}

func (e *Events) each(n int, visit func(*Event)) {
	for i := range n {
		if parseEvent(e.buffers[i][:min(e.messages[i].length, uint32(len(e.buffers[i])))], &e.event) {
			visit(&e.event)
		}
	}
}

// receive receives messages, and reports false if there are none yet.
func (e *Events) receive(fd uintptr) bool {
	received, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&e.messages[0])),
		eventBatch, unix.MSG_DONTWAIT, 0, 0)
	e.received, e.failed = 0, nil
	switch errno {
	case 0:
		e.received = int(received)
	case unix.EAGAIN:
		return false
	case unix.EINTR:
	case unix.ENOBUFS:
		e.failed = ErrEventsLost
	default:
		e.failed = errno
	}
	return true
}

// Pause waits without the Go runtime, which takes longer for that than a few events take.
// On a machine with one processor it returns at once.
func Pause(d time.Duration) {
	if runtime.GOMAXPROCS(0) < 2 {
		return
	}
	wait := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&wait)), 0, 0)
}

// parseEvent reads a message of the connector.
func parseEvent(message []byte, event *Event) bool {
	if len(message) < eventData+16 {
		return false
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(message[at:]) }
	if word(netlinkHeader) != cnIdxProc || word(netlinkHeader+4) != cnValProc {
		return false
	}
	*event = Event{Kind: EventKind(word(eventAt)), Second: binary.NativeEndian.Uint64(message[eventAt+8:]) / 1e9}
	switch event.Kind {
	case eventAck:
		event.UID = word(eventData)
	case EventFork:
		event.Parent, event.PID = int(word(eventData+4)), int(word(eventData+12))
		event.Thread = word(eventData+8) != word(eventData+12)
	case EventExec:
		event.PID = int(word(eventData + 4))
	case EventUID:
		event.PID, event.UID = int(word(eventData+4)), word(eventData+12)
		event.Thread = word(eventData) != word(eventData+4)
	case EventComm:
		event.PID = int(word(eventData + 4))
		event.Thread = word(eventData) != word(eventData+4)
		if len(message) < eventData+24 {
			return false
		}
		event.Comm, _, _ = bytes.Cut(message[eventData+8:eventData+24], []byte{0})
	default:
		return false
	}
	return true
}

// CommOf reads the name of a process into comm. It takes no memory and doesn't wait.
func (t *Table) CommOf(pid int, comm *[16]byte) (ok bool) {
	var buffer [32]byte
	path := append(strconv.AppendInt(buffer[:0], int64(pid), 10), "/comm\x00"...)
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(t.proc), uintptr(unsafe.Pointer(&path[0])),
		unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return false
	}
	var text [17]byte
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 || n == 0 {
		return false
	}
	*comm = [16]byte{}
	copy(comm[:15], text[:n-1]) // a newline ends it
	return true
}

// UIDOf returns the effective uid of a process. It takes no memory and doesn't wait.
func (t *Table) UIDOf(pid int) (uid uint32, ok bool) {
	var buffer [32]byte
	path := append(strconv.AppendInt(buffer[:0], int64(pid), 10), 0)
	var owner unix.Statx_t
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(t.proc), uintptr(unsafe.Pointer(&path[0])),
		unix.AT_STATX_DONT_SYNC, unix.STATX_UID, uintptr(unsafe.Pointer(&owner)), 0)
	return owner.Uid, errno == 0
}

// Forks returns how many processes and threads were ever started: the line processes of
// /proc/stat, proc_stat(5).
func (t *Table) Forks() (n uint64, err error) {
	text, err := t.read("stat")
	if err != nil {
		return 0, err
	}
	n, ok := decimal(line(text, []byte("\nprocesses ")))
	if !ok {
		return 0, errors.New("/proc/stat: no line processes")
	}
	return n, nil
}
