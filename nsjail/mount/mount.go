// Package mount makes the detached mounts of a cell as descriptors. The host
// calls it where it may mount (then a cell can never resize what it was
// given), the init does where only the cell's own user namespace may.
package mount

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Attributes of a mount that the cell may write to.
const Scratch = sys.MountAttrNoSuid | sys.MountAttrNoDev | sys.MountAttrNoExec

// Tmpfs makes a tmpfs.
func Tmpfs(options [][2]string, attr uint64) (int, error) {
	ctx, err := sys.FsOpen("tmpfs")
	if err != nil {
		return -1, err
	}
	defer syscall.Close(ctx)
	for _, o := range options {
		if err := sys.FsSet(ctx, o[0], o[1]); err != nil {
			return -1, err
		}
	}
	if err := sys.FsCreate(ctx); err != nil {
		return -1, err
	}
	return sys.FsMount(ctx, attr)
}

// ProcOf makes such a proc for another PID namespace (Linux 6.17 and later).
func ProcOf(pidns int, attr uint64) (int, error) {
	ctx, err := sys.FsOpen("proc")
	if err != nil {
		return -1, err
	}
	defer syscall.Close(ctx)
	if err := sys.FsSetFD(ctx, "pidns", pidns); err != nil {
		return -1, err
	}
	if err := sys.FsSet(ctx, "subset", "pid"); err != nil {
		return -1, err
	}
	if err := sys.FsCreate(ctx); err != nil {
		return -1, err
	}
	return sys.FsMount(ctx, attr)
}

// Tree makes a detached, read-only view of one directory tree. What is
// mounted below it does not come along.
func Tree(path string, attr uint64) (int, error) {
	fd, err := sys.OpenTree(sys.AtFDCWD, path, sys.OpenTreeClone)
	if err != nil {
		return -1, err
	}
	// Where / is shared, as systemd makes it, the copy is a peer of the source:
	// what is mounted on it would appear on the host as well, and pivot_root
	// refuses it.
	if err := sys.MountSetattr(fd, attr, syscall.MS_PRIVATE); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ReadOnly are the attributes of the prepared root.
const ReadOnly = sys.MountAttrReadOnly | sys.MountAttrNoSuid | sys.MountAttrNoDev

// Device is a node of a cell's /dev.
type Device struct {
	Name         string
	Major, Minor uint32
}

// Devices are all that a cell has.
var Devices = []Device{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}}

// DeviceLinks are the usual links of /dev, name and target.
var DeviceLinks = [][2]string{{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}}

// ErrNoMknod says that device nodes cannot be made here and must be bound.
var ErrNoMknod = errors.New("device nodes cannot be made here")

// Dev makes the /dev of a cell: the device nodes, the usual links, an empty
// shm, and then read-only.
func Dev() (int, error) {
	fd, err := Tmpfs([][2]string{{"size", "64k"}, {"nr_inodes", "32"}, {"mode", "0755"}}, sys.MountAttrNoSuid|sys.MountAttrNoExec)
	if err != nil {
		return -1, err
	}
	if err := fillDev(fd); err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

func fillDev(fd int) error {
	for _, d := range Devices {
		if err := sys.Mknod(fd, d.Name, syscall.S_IFCHR|0o666, d.Major, d.Minor); err != nil {
			if errors.Is(err, syscall.EPERM) {
				return ErrNoMknod
			}
			return fmt.Errorf("cannot make /dev/%s: %w", d.Name, err)
		}
		// mknod's mode went through the umask
		if err := sys.Fchmodat(fd, d.Name, 0o666); err != nil {
			return err
		}
	}
	for _, l := range DeviceLinks {
		if err := sys.Symlinkat(l[1], fd, l[0]); err != nil {
			return err
		}
	}
	if err := sys.Mkdirat(fd, "shm", 0o1777); err != nil {
		return err
	}
	return sys.MountSetattr(fd, sys.MountAttrReadOnly, 0)
}

// File wraps a mount's descriptor.
func File(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
