package sys

import (
	"runtime"
	"syscall"
	"unsafe"
)

// A Refusal is a system call that is refused whatever it is asked for.
type Refusal struct {
	Call  string
	Errno syscall.Errno
}

// Refused tries the calls that building a cell makes, with arguments of which
// nothing comes, and returns those that are answered as a filter of system
// calls, or a security module, does. The caller must have CAP_SYS_ADMIN: without
// it the kernel itself answers so.
func Refused() (refused []Refusal) {
	none := ^uintptr(0) // no descriptor, no flag, no length
	here, _ := cstr("/proc/self/")
	path := uintptr(unsafe.Pointer(here))
	for _, c := range []struct {
		name string
		nr   uintptr
		args [6]uintptr
	}{
		{"unshare", syscall.SYS_UNSHARE, [6]uintptr{1}},
		{"setns", SysSetns, [6]uintptr{none}},
		{"mount", syscall.SYS_MOUNT, [6]uintptr{0, path, 0, syscall.MS_PRIVATE}}, // of what is no mount: EINVAL
		{"umount2", syscall.SYS_UMOUNT2, [6]uintptr{0, 1 << 30}},
		{"pivot_root", syscall.SYS_PIVOT_ROOT, [6]uintptr{}},
		{"open_tree", SysOpenTree, [6]uintptr{none, 0, none}},
		{"move_mount", SysMoveMount, [6]uintptr{none, 0, none, 0, none}},
		{"fsopen", SysFsopen, [6]uintptr{}},
		{"fsconfig", SysFsconfig, [6]uintptr{none}},
		{"fsmount", SysFsmount, [6]uintptr{none, none}},
		{"mount_setattr", SysMountSetattr, [6]uintptr{none, 0, none}},
		{"sethostname", syscall.SYS_SETHOSTNAME, [6]uintptr{0, none}},
		{"keyctl", sysKeyctl, [6]uintptr{9999}},
		{"capset", syscall.SYS_CAPSET, [6]uintptr{}},
	} {
		_, _, errno := syscall.Syscall6(c.nr, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		switch errno {
		case syscall.EPERM, syscall.EACCES:
		case syscall.ENOSYS:
			if c.name == "keyctl" {
				continue // a kernel without keys has none to share
			}
		default:
			continue
		}
		refused = append(refused, Refusal{c.name, errno})
	}
	runtime.KeepAlive(here)
	return refused
}
