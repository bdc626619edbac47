package workspace

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"
)

// Limits bound what the host does with a tree that it does not trust. The zero
// value of a field means the default beside it.
type Limits struct {
	FileBytes  int64         // size of one file, holes included; 512 MiB
	TotalBytes int64         // of all files of one copy, each hard link counted; 1 GiB
	Entries    int           // names of any kind that one listing reads; 100,000
	Depth      int           // directories below each other; 64
	Time       time.Duration // of one listing or one copy; 10 s
}

// maxPathBytes bounds the memory that the names of one listing take: 16,384
// files below a path of 4,000 bytes would be 64 MB.
const maxPathBytes = 32 << 20

func (l Limits) withDefaults() Limits {
	if l.FileBytes == 0 {
		l.FileBytes = 512 << 20
	}
	if l.TotalBytes == 0 {
		l.TotalBytes = 1 << 30
	}
	if l.Entries == 0 {
		l.Entries = 100_000
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Time == 0 {
		l.Time = 10 * time.Second
	}
	return l
}

// Skipped is something that was left out, and why, in words.
type Skipped struct {
	Path string `json:"path"` // raw bytes; "" stands for the whole tree
	Why  string `json:"why"`

	again bool // trying again later can help, though the file stays as it is
}

// NotAFile says that what was left out is no regular file: a link or a special
// file, which are never copied.
func (s Skipped) NotAFile() bool {
	return s.Why == whyNotRegular || strings.HasPrefix(s.Why, "a symbolic link")
}

// ErrTooLarge is a file beyond Limits.FileBytes.
var ErrTooLarge = errors.New("too large")

// ErrNotRegular is a name that is not, or no longer, a regular file.
var ErrNotRegular = errors.New("not a regular file")

// ErrNoOpenat2 is a kernel without openat2 (before Linux 5.6), or a container
// whose filter forbids it. There is no safe way around it.
var ErrNoOpenat2 = errors.New("the kernel has no openat2 (Linux 5.6 is needed)")

// Reasons that more than one place gives.
const (
	whyNotRegular = "not a regular file"
	whyLink       = "a symbolic link, which is never followed"
	whyThrough    = "a symbolic link or something that is no directory is in its way"
	whyReserved   = "its name begins with " + tempPrefix
	whyTotal      = "the limit of the whole copy is reached"
	whyTime       = "the time for the copy is over"
)

func whyFileSize(size, limit int64) string {
	return fmt.Sprintf("larger (%s) than the limit of %s for a file",
		units.BytesSize(float64(size)), units.BytesSize(float64(limit)))
}

// whyOpen puts an error of an open beneath a directory into words. gone means
// that the name is not there any more.
func whyOpen(err error) (why string, gone, again bool) {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return "gone before it was read", true, false
	case errors.Is(err, ErrNotRegular), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return whyNotRegular, false, false
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR):
		return whyThrough, false, true
	case errors.Is(err, syscall.EXDEV):
		return "on another mount, or outside", false, false
	case errors.Is(err, syscall.EAGAIN):
		return "busy: someone holds a lease on it", false, true
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "permission denied", false, true
	case errors.Is(err, syscall.ENAMETOOLONG):
		return "its path is too long", false, false
	}
	return err.Error(), false, true
}
