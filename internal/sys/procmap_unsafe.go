package sys

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"
)

// SharedWritable looks in the memory of a process for a mapping that is shared
// and writable. It returns where one is, "" when there is none.
func SharedWritable(pid string) (string, error) {
	path := "/proc/" + pid + "/maps"
	fd, err := OpenControl(path, syscall.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	found, err := querySharedWritable(fd)
	if errors.Is(err, syscall.ENOTTY) { // before Linux 6.11
		var text string
		text, err = ReadControl(path)
		found = findSharedWritable(text)
	}
	return found, err
}

// querySharedWritable has the kernel look (PROCMAP_QUERY, linux/fs.h): a Python
// with numpy has 600 mappings, whose text takes a millisecond to write and read.
func querySharedWritable(maps int) (string, error) {
	const (
		query    = 0xc0686611 // _IOWR('f', 17, struct procmap_query)
		writable = 0x02
		shared   = 0x08
		next     = 0x10 // the first at or behind the address
	)
	q := struct {
		size, flags, addr                             uint64
		start, end, vmaFlags, pageSize, offset, inode uint64
		major, minor, nameSize, buildSize             uint32
		nameAddr, buildAddr                           uint64
	}{flags: writable | shared | next}
	q.size = uint64(unsafe.Sizeof(q))
	err := retryEINTR("ioctl", func() error {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(maps), query, uintptr(unsafe.Pointer(&q)))
		return errnoErr(errno)
	})
	switch {
	case errors.Is(err, syscall.ENOENT):
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%x-%x", q.start, q.end), nil
}

// findSharedWritable is the same from the text of the file.
func findSharedWritable(maps string) string {
	for line := range strings.Lines(maps) {
		where, rest, _ := strings.Cut(line, " ")
		if len(rest) >= 4 && rest[1] == 'w' && rest[3] == 's' {
			return where
		}
	}
	return ""
}
