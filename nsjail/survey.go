package nsjail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/seccomp"
)

// The states of a layer on this host.
const (
	Available = "available"
	Missing   = "missing"
)

// LayerState is what this host can give of one layer.
type LayerState struct {
	Name   string `json:"name"`
	Status string `json:"status"` // available or missing
	Level  string `json:"level"`  // how much of it
	Why    string `json:"why,omitempty"`
	Mend   string `json:"mend,omitempty"`
	// Optional layers can be left out with --without.
	Optional bool `json:"optional"`
}

// Survey looks at what this host and this user can give, without building
// anything; scope is Spec.Scope. Whether a cell really stands is for Start and CheckPosture.
func Survey(ctx context.Context, scope bool) []LayerState {
	l, err := hostOnce()
	around := confined("/proc", l.rootless)
	states := []LayerState{
		around.ids(),
		around.userNamespaces(),
		mountAPI(l.rootless),
		procState(l, err),
		openat2(),
		filterState(),
		around.filter(),
		landlockState(l),
		nativeState(),
	}
	states = append(states, around.module()...)
	return append(states, groupStates(ctx, scope)...)
}

func state(name string, err error, level, mend string) LayerState {
	if err != nil {
		return LayerState{Name: name, Status: Missing, Why: err.Error(), Mend: mend}
	}
	return LayerState{Name: name, Status: Available, Level: level}
}

func mountAPI(rootless bool) LayerState {
	s := LayerState{Name: "mount-api", Status: Available, Level: "fsopen, open_tree, mount_setattr (Linux 5.12)"}
	fd, err := sys.FsOpen("tmpfs")
	switch {
	case err == nil:
		syscall.Close(fd)
	case errors.Is(err, syscall.EPERM) && rootless: // refused out here, given in the cell's own namespace
	case errors.Is(err, syscall.ENOSYS):
		s.Status, s.Why, s.Mend = Missing, err.Error(), "Linux 5.12 or later, and no container whose seccomp profile is older than these calls"
	default:
		s.Status, s.Why, s.Mend = Missing, err.Error(), "see outer-filter below"
	}
	return s
}

func procState(l layout, err error) LayerState {
	switch {
	case err != nil:
		return state("proc", err, "", "mount /proc")
	case !l.procMasked:
		return LayerState{Name: "proc", Status: Available, Level: "made inside the cell, subset=pid"}
	case l.rootless:
		return LayerState{
			Name: "proc", Status: Missing, Why: "something is mounted over parts of /proc, as in a container, so that the kernel refuses a new one to a process without CAP_SYS_ADMIN",
			Mend: "start the container with --cap-add SYS_ADMIN, or with its /proc unmasked (podman: --security-opt unmask=ALL; Kubernetes: procMount: Unmasked), or run outside of it",
		}
	}
	return LayerState{Name: "proc", Status: Available, Level: "subset=pid; made outside of the cell, as parts of /proc are mounted over here"}
}

func openat2() LayerState {
	fd, err := sys.Openat2(sys.AtFDCWD, "/", sys.OpenHow{Flags: syscall.O_RDONLY | syscall.O_DIRECTORY | syscall.O_CLOEXEC, Resolve: sys.ResolveNoSymlinks})
	if err == nil {
		syscall.Close(fd)
	}
	return state("openat2", err, "resolution beneath, without links (Linux 5.6)", "Linux 5.6 or later, and a container that allows openat2")
}

func filterState() LayerState {
	program, err := seccomp.Cell()
	if err == nil {
		_, err = os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	}
	return state("seccomp", err, fmt.Sprintf("allowlist of %d instructions, then the lock on exec", len(program)/8), "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or arm64")
}

func landlockState(l layout) LayerState {
	if l.landlock == 0 {
		return LayerState{
			Name: "landlock", Status: Missing, Optional: true, Why: "the kernel has no Landlock, or it is not enabled",
			Mend: "boot with lsm=landlock,…, or accept it with --without landlock",
		}
	}
	return LayerState{Name: "landlock", Status: Available, Level: fmt.Sprintf("ABI %d", l.landlock), Optional: true}
}

func nativeState() LayerState {
	_, err := programsOnce()
	return state("native-programs", err, "the init, in sealed memory", "make native, then build again")
}

func groupStates(ctx context.Context, scope bool) []LayerState {
	host, scopeErr, err := ownGroups.find(ctx, scope)
	if err != nil {
		s := state("cgroup", err, "", "mount the cgroup hierarchies, or accept it with --without cgroup")
		s.Optional = true
		return []LayerState{s}
	}
	var states []LayerState
	for _, c := range host.Controllers() {
		s := LayerState{Name: "cgroup-" + c.Name, Status: Available, Level: string(c.Layout) + " at " + c.Mount, Optional: true}
		if !c.Usable {
			s.Status, s.Why, s.Mend = Missing, c.Why, c.Mend
			if scopeErr != nil {
				s.Why += "; " + scopeErr.Error()
			}
		}
		states = append(states, s)
	}
	return states
}
