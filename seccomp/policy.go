package seccomp

import (
	"fmt"
	"strings"
)

// Action is what the filter answers, in the kernel's own encoding
// (SECCOMP_RET_*), so that a compiled filter can be compared with a row.
type Action uint32

// The actions a policy uses. Every other one is an errno.
const (
	Allow       Action = 0x7fff0000
	KillProcess Action = 0x80000000
	// Pretend answers success and does nothing: an errno of 0.
	Pretend Action = retErrno

	retErrno = 0x00050000
)

// Linux error numbers, the same on amd64 and arm64.
const (
	eperm        = 1
	enomem       = 12
	einval       = 22
	enotty       = 25
	enosys       = 38
	enoprotoopt  = 92
	enotsup      = 95
	eafnosupport = 97
)

// The refusals. The error is the one a program expects from a kernel or file
// system without the feature, wherever such an error exists: libraries then
// take their fallback instead of failing.
const (
	NotPermitted Action = retErrno | eperm
	NoMemory     Action = retErrno | enomem
	Invalid      Action = retErrno | einval
	NoTerminal   Action = retErrno | enotty
	NoCall       Action = retErrno | enosys
	NoOption     Action = retErrno | enoprotoopt
	NotSupported Action = retErrno | enotsup
	NoFamily     Action = retErrno | eafnosupport
)

// Default answers a system call that no row names: a number newer than this
// policy, which programs take for an older kernel.
const Default = NoCall

func (a Action) String() string {
	switch a {
	case Allow:
		return "ALLOW"
	case KillProcess:
		return "KILL_PROCESS"
	}
	names := map[Action]string{
		Pretend: "0", NotPermitted: "EPERM", NoMemory: "ENOMEM", Invalid: "EINVAL", NoTerminal: "ENOTTY",
		NoCall: "ENOSYS", NoOption: "ENOPROTOOPT", NotSupported: "ENOTSUP", NoFamily: "EAFNOSUPPORT",
	}
	if n, ok := names[a]; ok {
		return "ERRNO(" + n + ")"
	}
	return fmt.Sprintf("Action(%#x)", uint32(a))
}

// Errno is the error number of a refusal, 0 for anything else.
func (a Action) Errno() int {
	if a&0xffff0000 == retErrno {
		return int(a & 0xffff)
	}
	return 0
}

// Row is one rule: what is done on some system calls, and why.
type Row struct {
	// Calls are names, separated by spaces. A name stands in one row only.
	Calls string
	// Do is done when one of the alternatives in When holds, or always when
	// there is none.
	Do   Action
	When []Match
	// Feign are further alternatives, in which the answer is Pretend. None of
	// them may hold together with one of When.
	Feign []Match
	// Else is done when no alternative holds. Only read if When is not empty.
	Else Action
	// Why is the reason, never empty.
	Why string
	// Missing names the one architecture (a GOARCH) that never had these
	// calls. Every other call must exist everywhere, or compiling fails.
	Missing string
}

// Match holds when each of its comparisons does. It names an argument once.
type Match []Compare

// Compare holds when argument Arg (from 0), masked, is Want.
//
// Most masks are 32 bits wide: the kernel cuts int and flag arguments to
// their low half, and whatever a caller leaves above must not matter.
type Compare struct {
	Arg  uint
	Mask uint64
	Want uint64
}

// Names are the row's calls, one by one.
func (r Row) Names() []string { return strings.Fields(r.Calls) }

// Decide is the row's answer to a call with these arguments: what a compiled
// filter must answer as well.
func (r Row) Decide(args [6]uint64) Action {
	if len(r.When) == 0 {
		return r.Do
	}
	for _, m := range r.When {
		if m.Holds(args) {
			return r.Do
		}
	}
	for _, m := range r.Feign {
		if m.Holds(args) {
			return Pretend
		}
	}
	return r.Else
}

// Holds says whether all comparisons hold.
func (m Match) Holds(args [6]uint64) bool {
	for _, c := range m {
		if args[c.Arg]&c.Mask != c.Want {
			return false
		}
	}
	return true
}

// Policy is the whole table. It is put together on each call: only the
// generator and the tests read it, and a program that merely loads the
// filter should not carry it.
func Policy() []Row {
	var rows []Row
	for _, theme := range [][]Row{files(), descriptors(), sockets(), memory(), processes(), signalsAndTime(), identity(), refused(), absent()} {
		rows = append(rows, theme...)
	}
	return rows
}

// Numbers are the calls that are newer than the libseccomp this is compiled
// with. From 424 on the number is the same on every architecture.
func Numbers() map[string]uint32 {
	return map[string]uint32{
		"statmount":         457,
		"listmount":         458,
		"lsm_get_self_attr": 459,
		"lsm_set_self_attr": 460,
		"lsm_list_modules":  461,
		"mseal":             462,
		"setxattrat":        463,
		"getxattrat":        464,
		"listxattrat":       465,
		"removexattrat":     466,
		"open_tree_attr":    467,
		"file_getattr":      468,
		"file_setattr":      469,
		"listns":            470,
	}
}

const (
	low32 = 0xffffffff
	all64 = 0xffffffffffffffff
)

// oneOf are alternatives: the low 32 bits of an argument are one of values.
func oneOf(arg uint, values ...uint32) []Match {
	m := make([]Match, len(values))
	for i, v := range values {
		m[i] = Match{{arg, low32, uint64(v)}}
	}
	return m
}

// none holds when an argument has none of bits.
func none(arg uint, bits uint32) []Match { return []Match{{{arg, uint64(bits), 0}}} }
