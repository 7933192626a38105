package trusted

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Fingerprint is what stat(2) says of a path, without following a link in the last
// place, as far as every change of the file changes it. Two of one path are compared
// by ==: if they differ, the file has changed in between. The zero Fingerprint is
// that of a path at which there is nothing.
type Fingerprint struct {
	fault         syscall.Errno // why the path could not be looked at
	exists        bool
	device, inode uint64
	size          int64 // bytes
	mtime, ctime  int64 // nanoseconds since 1970
}

// Look returns the fingerprint of a path.
func Look(path string) Fingerprint {
	var stat unix.Stat_t
	err := unix.Lstat(path, &stat)
	var errno syscall.Errno
	switch {
	case err == nil:
		return Fingerprint{
			exists: true, device: uint64(stat.Dev), inode: uint64(stat.Ino), size: stat.Size,
			mtime: time.Unix(stat.Mtim.Unix()).UnixNano(), ctime: time.Unix(stat.Ctim.Unix()).UnixNano(),
		}
	case err == syscall.ENOENT || err == syscall.ENOTDIR:
		return Fingerprint{}
	case errors.As(err, &errno):
		return Fingerprint{fault: errno}
	}
	return Fingerprint{fault: syscall.EIO}
}

// Fault returns why the path could not be looked at, nil if it could. Such a
// fingerprint says nothing: a caller that must be sure takes it for a change.
func (f Fingerprint) Fault() error {
	if f.fault == 0 {
		return nil
	}
	return f.fault
}

// Exists reports whether there was something at the path.
func (f Fingerprint) Exists() bool { return f.exists }

const (
	absent  = "absent"
	unknown = "unknown:"
)

// String returns the fingerprint as ParseFingerprint reads it: "absent",
// "unknown:ERRNO", or DEVICE:INODE:SIZE:MTIME:CTIME in decimal.
func (f Fingerprint) String() string {
	switch {
	case f.fault != 0:
		return unknown + strconv.Itoa(int(f.fault))
	case !f.exists:
		return absent
	}
	return fmt.Sprintf("%d:%d:%d:%d:%d", f.device, f.inode, f.size, f.mtime, f.ctime)
}

// ParseFingerprint is the inverse of Fingerprint.String. It takes nothing else.
func ParseFingerprint(text string) (Fingerprint, error) {
	f, ok := parseFingerprint(text)
	if !ok || f.String() != text {
		return Fingerprint{}, fmt.Errorf("%q is not a fingerprint", text)
	}
	return f, nil
}

func parseFingerprint(text string) (f Fingerprint, ok bool) {
	if text == absent {
		return Fingerprint{}, true
	}
	if errno, is := strings.CutPrefix(text, unknown); is {
		n, err := strconv.ParseUint(errno, 10, 16)
		return Fingerprint{fault: syscall.Errno(n)}, err == nil && n > 0
	}
	words := strings.Split(text, ":")
	if len(words) != 5 {
		return Fingerprint{}, false
	}
	f.exists = true
	var errs [5]error
	f.device, errs[0] = strconv.ParseUint(words[0], 10, 64)
	f.inode, errs[1] = strconv.ParseUint(words[1], 10, 64)
	f.size, errs[2] = strconv.ParseInt(words[2], 10, 64)
	f.mtime, errs[3] = strconv.ParseInt(words[3], 10, 64)
	f.ctime, errs[4] = strconv.ParseInt(words[4], 10, 64)
	return f, errors.Join(errs[:]...) == nil
}
