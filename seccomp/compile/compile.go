//go:build cgo

package compile

import (
	"fmt"
	"os"

	libseccomp "github.com/seccomp/libseccomp-golang"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

// Available is nil where Filter can compile.
func Available() error { return nil }

var archs = map[string]libseccomp.ScmpArch{"amd64": libseccomp.ArchAMD64, "arm64": libseccomp.ArchARM64}

// Filter compiles rows for a GOARCH, from any machine. numbers gives the
// calls that libseccomp does not know by name.
//
// libseccomp writes the search by number and the comparisons of arguments.
// Two things it cannot say: what to answer when no alternative of a row
// holds, other than the one default for everything, and a call it has no
// number for on an architecture that is not this machine's. So its default
// is a mark, and every return of the mark is turned into a jump to a tail
// (join.go) that answers both, and last of all the true default.
func Filter(rows []seccomp.Row, numbers map[string]uint32, arch string) ([]bpf.Instruction, error) {
	scmp, ok := archs[arch]
	if !ok {
		return nil, fmt.Errorf("cannot compile a filter for architecture %q", arch)
	}
	if _, err := Names(rows, numbers, arch); err != nil {
		return nil, err // a call in two rows: the library would merge them silently
	}
	filter, err := newFilter(scmp)
	if err != nil {
		return nil, err
	}
	defer filter.Release()

	answers := map[uint32]seccomp.Action{}
	for _, row := range rows {
		for _, name := range row.Names() {
			number, known, err := resolve(name, numbers, scmp)
			if err != nil {
				return nil, err
			}
			switch {
			case len(row.When) == 0 && row.Do == seccomp.Default:
				// The tail's last word already.
			case row.Missing == arch && known && number >= 0:
				return nil, fmt.Errorf("%s is said to be missing on %s, but is number %d there", name, arch, number)
			case row.Missing == arch:
			case number < 0:
				return nil, fmt.Errorf("%s does not exist on %s, and its row does not say so", name, arch)
			case !known && len(row.When) > 0:
				return nil, fmt.Errorf("%s has conditions, but libseccomp does not know it", name)
			case !known:
				answers[uint32(number)] = row.Do
			default:
				if err := addRules(filter, row, name); err != nil {
					return nil, err
				}
				if len(row.When) > 0 && row.Else != seccomp.Default {
					answers[uint32(number)] = row.Else
				}
			}
		}
	}

	program, err := export(filter)
	if err != nil {
		return nil, err
	}
	return join(program, answers)
}

// Names gives the name of each number that rows speak of on a GOARCH.
func Names(rows []seccomp.Row, numbers map[string]uint32, arch string) (map[uint32]string, error) {
	scmp, ok := archs[arch]
	if !ok {
		return nil, fmt.Errorf("cannot name the system calls of architecture %q", arch)
	}
	names := map[uint32]string{}
	for _, row := range rows {
		for _, name := range row.Names() {
			number, _, err := resolve(name, numbers, scmp)
			if err != nil {
				return nil, err
			}
			if number < 0 {
				continue
			}
			if other, ok := names[uint32(number)]; ok {
				return nil, fmt.Errorf("two rows speak of number %d on %s: %s and %s", number, arch, other, name)
			}
			names[uint32(number)] = name
		}
	}
	return names, nil
}

// newFilter is an empty filter for one architecture, with no other in it.
func newFilter(arch libseccomp.ScmpArch) (*libseccomp.ScmpFilter, error) {
	filter, err := libseccomp.NewFilter(libseccomp.ActTrace.SetReturnCode(markCode))
	if err != nil {
		return nil, fmt.Errorf("cannot make a filter: %w", err)
	}
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return nil, fmt.Errorf("cannot tell the native architecture: %w", err)
	}
	if native != arch {
		if err := filter.AddArch(arch); err != nil {
			return nil, fmt.Errorf("cannot add architecture %s: %w", arch, err)
		}
		if err := filter.RemoveArch(native); err != nil {
			return nil, fmt.Errorf("cannot remove architecture %s: %w", native, err)
		}
	}
	// x32 numbers, int 0x80, 32-bit programs. The library's own choice would
	// kill one thread and let the rest go on.
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return nil, fmt.Errorf("cannot set the answer to foreign architectures: %w", err)
	}
	// A binary tree by number: about nine comparisons for any call, and not
	// one per row before it.
	if err := filter.SetOptimize(2); err != nil {
		return nil, fmt.Errorf("cannot ask for a binary tree: %w", err)
	}
	return filter, nil
}

// resolve finds a call's number on an architecture. It is negative where the
// architecture never had the call; known says whether rules can name it.
func resolve(name string, numbers map[string]uint32, arch libseccomp.ScmpArch) (number int, known bool, err error) {
	// Our own table first, so that a newer library compiles the same.
	if n, ok := numbers[name]; ok {
		return int(n), false, nil
	}
	n, err := libseccomp.GetSyscallFromNameByArch(name, arch)
	if err != nil {
		return 0, false, fmt.Errorf("cannot find the number of system call %q: %w", name, err)
	}
	return int(n), true, nil
}

// addRules adds what a row does when it holds, one rule for each alternative.
func addRules(filter *libseccomp.ScmpFilter, row seccomp.Row, name string) error {
	// Rules take this machine's number and are translated by name.
	native, err := libseccomp.GetSyscallFromName(name)
	if err != nil {
		return fmt.Errorf("cannot find system call %q: %w", name, err)
	}
	action, err := scmpAction(row.Do)
	if err != nil {
		return fmt.Errorf("row of %s: %w", name, err)
	}
	if len(row.When) == 0 {
		if err := filter.AddRuleExact(native, action); err != nil {
			return fmt.Errorf("cannot add the rule of %s: %w", name, err)
		}
		return nil
	}
	for _, match := range row.When {
		if err := addRule(filter, native, action, match); err != nil {
			return fmt.Errorf("cannot add a rule of %s with %v: %w", name, match, err)
		}
	}
	pretend, err := scmpAction(seccomp.Pretend)
	if err != nil {
		return err
	}
	for _, match := range row.Feign {
		if err := addRule(filter, native, pretend, match); err != nil {
			return fmt.Errorf("cannot add a rule of %s with %v: %w", name, match, err)
		}
	}
	return nil
}

func addRule(filter *libseccomp.ScmpFilter, call libseccomp.ScmpSyscall, action libseccomp.ScmpAction, match seccomp.Match) error {
	var conditions []libseccomp.ScmpCondition
	for _, c := range match {
		// The library's order is mask, then value.
		condition, err := libseccomp.MakeCondition(c.Arg, libseccomp.CompareMaskedEqual, c.Mask, c.Want)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	return filter.AddRuleConditionalExact(call, action, conditions)
}

func scmpAction(a seccomp.Action) (libseccomp.ScmpAction, error) {
	switch {
	case a == seccomp.Allow:
		return libseccomp.ActAllow, nil
	case a == seccomp.KillProcess:
		return libseccomp.ActKillProcess, nil
	case a == seccomp.Pretend, a.Errno() != 0:
		return libseccomp.ActErrno.SetReturnCode(int16(a.Errno())), nil
	}
	return libseccomp.ActInvalid, fmt.Errorf("no such action: %v", a)
}

// export takes the program out through a file: the library's way through
// memory gets its size wrong in some versions.
func export(filter *libseccomp.ScmpFilter) ([]bpf.Instruction, error) {
	f, err := os.CreateTemp("", "filter-*.bpf")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := filter.ExportBPF(f); err != nil {
		return nil, fmt.Errorf("cannot export the filter: %w", err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	return bpf.Decode(b)
}
