package mailarchive

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"stormcheck/pkg/mailbox"
	"stormcheck/pkg/rows"
)

// fitsMaxSize refuses a mailbox that is larger than the administrator wants it.
func (j *job) fitsMaxSize(st unix.Stat_t) error {
	if j.MaxSize > 0 && st.Size > j.MaxSize {
		return fmt.Errorf("%w: %s is more than %s", mailbox.ErrRefused, sizeText(st.Size), sizeText(j.MaxSize))
	}
	return nil
}

// fits returns an error if there is no room for a copy. The error is "no space", for which
// killstorm may spare the account, only if the mailbox really uses that much space. A
// sparse or shared file, or one above the account's share, is "oversized", which spares
// nobody.
func (j *job) fits(from *os.File, st unix.Stat_t) error {
	room, err := j.room()
	usable := room.free - room.reserved
	if err != nil || st.Size <= usable {
		return err
	}
	needs := fmt.Sprintf("needs %s where %s", sizeText(st.Size), room)
	data := min(st.Size, st.Blocks*512)
	switch fair := j.FairSize.of(room.size); {
	case data <= usable:
		return errors.New(rows.FormatOversized("sparse: " + needs))
	case fair > 0 && data > fair:
		return errors.New(rows.FormatOversized(fmt.Sprintf("%s and the fair size is %s", needs, sizeText(fair))))
	case j.unshared(from, usable) <= usable:
		return errors.New(rows.FormatOversized("shared blocks: " + needs))
	}
	return errors.New(rows.FormatNoSpace(needs))
}

// A room is the space of the archive's file system, in bytes.
type room struct {
	size     int64 // of all
	free     int64 // for everybody
	reserved int64 // has to stay free
}

func (r room) String() string {
	return fmt.Sprintf("%s is free and %s reserved", sizeText(r.free), sizeText(r.reserved))
}

func (j *job) room() (room, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(j.dir.Fd()), &st); err != nil {
		return room{}, err
	}
	block := int64(st.Bsize)
	if st.Frsize > 0 {
		block = int64(st.Frsize)
	}
	size := int64(st.Blocks) * block
	return room{size, int64(st.Bavail) * block, j.MinFree.of(size)}, nil
}

// unshared returns how many bytes of data the file has for itself, or more than enough
// of them. Where the file system doesn't say, or takes more than the row's time, it is
// taken at its word: all, or none.
func (j *job) unshared(f *os.File, enough int64) (bytes int64) {
	request := extents{length: math.MaxUint64, flags: fiemapSync}
	for j.inTime() == nil {
		request.room = uint32(len(request.all))
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return math.MaxInt64
		}
		for _, e := range request.all[:min(request.mapped, request.room)] {
			if e.flags&(extentShared|extentUnwritten) == 0 {
				bytes += int64(e.length)
			}
			if e.flags&extentLast != 0 || bytes > enough {
				return bytes
			}
			request.start = e.logical + e.length
		}
		if request.mapped == 0 {
			return bytes
		}
	}
	return 0
}

// extents is struct fiemap of linux/fiemap.h, with room for some extents.
type extents struct {
	start, length uint64
	flags         uint32
	mapped        uint32
	room          uint32
	_             uint32
	all           [256]extent
}

// An extent is struct fiemap_extent.
type extent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

// See ioctl_fiemap in the kernel's Documentation/filesystems/fiemap.rst.
const (
	fsIocFiemap     = 0xc020660b
	fiemapSync      = 0x1
	extentLast      = 0x1
	extentUnwritten = 0x800
	extentShared    = 0x2000
)
