package nsjail

import (
	"encoding/binary"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Landlock access rights of files (linux/landlock.h), by the ABI that brought them.
const (
	llExecute   = 1 << 0
	llWriteFile = 1 << 1
	llReadFile  = 1 << 2
	llReadDir   = 1 << 3
	llMakeChar  = 1 << 6
	llMakeBlock = 1 << 11
	llABI1      = 1<<13 - 1
	llRefer     = 1 << 13 // ABI 2
	llTruncate  = 1 << 14 // ABI 3
	llTCP       = 1 | 2   // ABI 4: bind, connect
	llIoctlDev  = 1 << 15 // ABI 5
)

// landlock is one layer more for execute and write: even if a mount were
// writable or executable by mistake, it would refuse. The init is inside as
// well, so that code cannot be outside by being its child.
//
// For a cell in a nest the ruleset is sent to the host as well, for a forked
// REPL is no child of the init that restricts itself here.
func landlock(p *program, abi int, share bool) {
	handled, tcp := uint64(llABI1), uint64(0)
	if abi >= 2 {
		handled |= llRefer
	}
	if abi >= 3 {
		handled |= llTruncate
	}
	size := 8
	if abi >= 4 {
		tcp, size = llTCP, 16
	}
	if abi >= 5 {
		handled |= llIoctlDev
	}
	ruleset := p.open(sys.SysLandlockCreate, p.words(handled, tcp), size, 0)
	scratch := handled &^ (llExecute | llMakeChar | llMakeBlock)
	for _, rule := range []struct {
		path   string
		access uint64
	}{
		{"/", llExecute | llReadFile | llReadDir},
		{"/workspace", scratch},
		{"/tmp", scratch},
		{"/dev/shm", scratch},
		{"/dev", llReadFile | llReadDir | llWriteFile | handled&(llTruncate|llIoctlDev)},
		{"/proc", llReadFile | llReadDir},
	} {
		const oPath = 0x200000
		fd := p.open(syscall.SYS_OPENAT, sys.AtFDCWD, rule.path, oPath|syscall.O_CLOEXEC, 0)
		attr := p.bytes(append(binary.NativeEndian.AppendUint64(nil, rule.access), 0, 0, 0, 0, 0, 0, 0, 0))
		p.poke(fd, attr+8)
		p.call(sys.SysLandlockAdd, ruleset, 1, attr, 0)
		p.call(syscall.SYS_CLOSE, fd)
	}
	if share {
		p.send(ruleset, 'l')
	}
	p.call(sys.SysLandlockRestrict, ruleset, 0)
}
