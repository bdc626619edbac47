package child

import (
	"errors"
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// keepOnly leaves the reaper the capabilities in keep (to become the code's
// user, and to kill it) and nothing to anyone below it.
//
// The order matters: the inheritable set before the bounding set is emptied,
// because what is not in the bounding set cannot be made inheritable; ambient
// after both permitted and inheritable hold it; the secure bits last, because
// they need CAP_SETPCAP, which keepOnly itself gives up at the end. NOROOT
// makes uid 0 of the cell an ordinary user to exec, so that the reaper gets
// just the ambient set.
func keepOnly(keep uint64) error {
	const setpcap = uint64(1) << 8
	if err := sys.Capset(keep|setpcap, keep|setpcap, keep); err != nil {
		return err
	}
	for bit := uintptr(0); bit <= sys.CapLast; bit++ {
		if _, err := sys.Prctl(sys.PrCapbsetDrop, bit, 0, 0, 0); err != nil {
			if errors.Is(err, syscall.EINVAL) {
				break // past the last capability of this kernel
			}
			return err
		}
	}
	for bit := uintptr(0); bit <= sys.CapLast; bit++ {
		if keep&(1<<bit) == 0 {
			continue
		}
		if _, err := sys.Prctl(sys.PrCapAmbient, sys.AmbientRaise, bit, 0, 0); err != nil {
			return err
		}
	}
	bits := uintptr(sys.SecbitNoRoot | sys.SecbitNoRootLock | sys.SecbitKeepLock | sys.SecbitNoRaise | sys.SecbitNoRaiseLk)
	if _, err := sys.Prctl(sys.PrSetSecurebits, bits, 0, 0, 0); err != nil {
		return err
	}
	return sys.Capset(keep, keep, keep)
}

// Landlock access rights of files (linux/landlock.h), by the ABI that brought them.
const (
	execute   = 1 << 0
	writeFile = 1 << 1
	readFile  = 1 << 2
	readDir   = 1 << 3
	v1        = 1<<13 - 1
	refer     = 1 << 13 // ABI 2
	truncate  = 1 << 14 // ABI 3
	ioctlDev  = 1 << 15 // ABI 5
	makeChar  = 1 << 6
	makeBlock = 1 << 11
	tcp       = 1 | 2 // ABI 4: bind, connect
)

// restrict is one layer more for execute and write: even if a mount were
// writable or executable by mistake, Landlock would refuse. The reaper is
// inside as well, so that code cannot be outside by being its child.
func restrict(abi int) error {
	handled := uint64(v1)
	var net uint64
	if abi >= 2 {
		handled |= refer
	}
	if abi >= 3 {
		handled |= truncate
	}
	if abi >= 4 {
		net = tcp
	}
	if abi >= 5 {
		handled |= ioctlDev
	}
	ruleset, err := sys.LandlockRuleset(handled, net, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(ruleset)
	scratch := handled &^ (execute | makeChar | makeBlock)
	for _, rule := range []struct {
		path   string
		access uint64
	}{
		{"/", execute | readFile | readDir},
		{"/workspace", scratch},
		{"/tmp", scratch},
		{"/dev/shm", scratch},
		{"/dev", readFile | readDir | writeFile | handled&(truncate|ioctlDev)},
		{"/proc", readFile | readDir | writeFile | handled&truncate},
	} {
		fd, err := syscall.Open(rule.path, 0x200000 /* O_PATH */ |syscall.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: rule.path, Err: err}
		}
		err = sys.LandlockAllow(ruleset, rule.access, fd)
		syscall.Close(fd)
		if err != nil {
			return err
		}
	}
	return sys.LandlockRestrict(ruleset)
}
