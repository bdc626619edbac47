package nsjail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// confinement is what others have put around this process, by which cells may
// fail: a container's runtime, AppArmor, the administrator.
type confinement struct {
	uid      int
	mayMount bool // CAP_SYS_ADMIN in its user namespace
	// What the files below /proc say, "" for one that is not there.
	maxUserNS      string // sys/user/max_user_namespaces
	userNSClone    string // sys/kernel/unprivileged_userns_clone
	restrictUserNS string // sys/kernel/apparmor_restrict_unprivileged_userns
	label          string // self/attr/apparmor/current
	uidMap, gidMap string // self/uid_map, self/gid_map
	filters        int    // seccomp filters of this process
	// What was tried.
	userNS  error         // to start a process in a new user namespace
	refused []sys.Refusal // with mayMount
}

// confined looks at this process, by the files below a /proc.
func confined(proc string, rootless bool) confinement {
	read := func(name string) string {
		text, err := sys.ReadControl(proc + name)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(text)
	}
	c := confinement{
		uid:            os.Geteuid(),
		mayMount:       !rootless,
		maxUserNS:      read("/sys/user/max_user_namespaces"),
		userNSClone:    read("/sys/kernel/unprivileged_userns_clone"),
		restrictUserNS: read("/sys/kernel/apparmor_restrict_unprivileged_userns"),
		label:          read("/self/attr/apparmor/current"),
		uidMap:         read("/self/uid_map"),
		gidMap:         read("/self/gid_map"),
		userNS:         tryUserNamespace(),
	}
	if n, err := hostFilters(); err == nil {
		c.filters = n
	}
	if c.mayMount {
		c.refused = sys.Refused()
	}
	return c
}

// tryUserNamespace starts the init's program, which ends at once without
// arguments, in a user namespace of its own.
func tryUserNamespace() error {
	programs, err := programsOnce()
	if err != nil {
		return nil //nolint:nilerr // the state of the native programs says it
	}
	p, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(int(programs.init.Fd())), []string{"try"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

func (c confinement) userNamespaces() LayerState {
	s := LayerState{Name: "user-namespaces", Status: Missing}
	profile, _, _ := strings.Cut(c.label, " (")
	switch {
	case c.maxUserNS == "0":
		s.Why, s.Mend = "user.max_user_namespaces is 0", "sysctl user.max_user_namespaces=10000"
	case c.uid != 0 && c.userNSClone == "0":
		s.Why, s.Mend = "kernel.unprivileged_userns_clone is 0", "sysctl kernel.unprivileged_userns_clone=1, or run as root"
	case c.uid != 0 && c.restrictUserNS == "1" && (profile == "unconfined" || profile == ""):
		s.Why = "AppArmor restricts user namespaces of unprivileged programs, as Ubuntu sets it up (kernel.apparmor_restrict_unprivileged_userns is 1), and no profile allows them to this program"
		s.Mend = "install Cellblock's Debian package, whose profile /etc/apparmor.d/cellblock allows them to /usr/bin/cellblock; give a program of your own such a profile; or run as root"
	case errors.Is(c.userNS, syscall.EPERM) && c.filters > 0:
		s.Why = fmt.Sprintf("a filter of system calls around this process refuses them (%v): a container's seccomp profile does so", c.userNS)
		s.Mend = "start the container with --cap-add SYS_ADMIN, with which the usual profiles allow them, or with --security-opt seccomp=unconfined"
	case errors.Is(c.userNS, syscall.EACCES):
		s.Why = fmt.Sprintf("a security module refuses them (%v); AppArmor's profile of this process is %q", c.userNS, c.label)
		s.Mend = "a profile with the rule `userns,`; for a container --security-opt apparmor=unconfined"
	case errors.Is(c.userNS, syscall.ENOSPC):
		s.Why, s.Mend = "no more of them may be made: "+c.userNS.Error(), "raise user.max_user_namespaces"
	case errors.Is(c.userNS, syscall.EINVAL):
		s.Why, s.Mend = "the kernel has none", "a kernel with CONFIG_USER_NS"
	case c.userNS != nil:
		s.Why, s.Mend = c.userNS.Error(), "start cellblock outside of a chroot and of other sandboxes"
	default:
		s.Status, s.Level = Available, "user, mount, PID, network, IPC, UTS, cgroup"
	}
	return s
}

// ids says which host ids cells get.
func (c confinement) ids() LayerState {
	s := LayerState{Name: "ids", Status: Available}
	switch {
	case !c.mayMount && c.uid == 0:
		s.Level = "one id a cell: its PID 1 has no signal handlers and cannot be traced"
		s.Why = "this root has no CAP_SYS_ADMIN, as in a container by default, and is treated as a user without rights; two ids need --cap-add SYS_ADMIN"
	case !c.mayMount:
		s.Level = "one id a cell: its PID 1 has no signal handlers and cannot be traced"
		s.Why = "two ids need CAP_SYS_ADMIN on the host"
	case idsIn(c.uidMap, c.gidMap).slots == 0:
		s.Status = Missing
		s.Why = fmt.Sprintf("this is root of a user namespace with too few ids for cells (uid_map %q)", c.uidMap)
		s.Mend = mendIDs
	default:
		host := idsIn(c.uidMap, c.gidMap)
		s.Level = fmt.Sprintf("two host ids a cell, from %d", host.base)
		if host.base != idBase {
			s.Level += fmt.Sprintf(", of this user namespace: room for %d cells", host.slots)
		}
	}
	return s
}

// mendIDs is for a root without ids to give away.
const mendIDs = "give the user namespace at least 32 ids in /etc/subuid and /etc/subgid, run as root of the host's ids, or as another user than root in there, which needs one id a cell"

// The layer that is not a cell's: a filter of system calls around this process.
const (
	OuterFilter = "outer-filter"
	NoFilter    = "none" // its level where there is none
)

// filter says what a filter of system calls around this process takes away.
func (c confinement) filter() LayerState {
	s := LayerState{Name: OuterFilter, Status: Available, Level: NoFilter}
	if c.filters > 0 {
		s.Level = fmt.Sprintf("%d around this process, beside which a cell's own stands: sessions are not forked from a template", c.filters)
	}
	if calls := c.calls(syscall.EPERM, syscall.ENOSYS); calls != "" && c.filters > 0 {
		s.Status, s.Why = Missing, "it refuses "+calls
		s.Mend = "start the container with --security-opt seccomp=unconfined, or with a profile that allows these calls; a unit of systemd without SystemCallFilter"
	}
	return s
}

// module says what AppArmor does to this process; nil where it does nothing.
func (c confinement) module() []LayerState {
	s := LayerState{Name: "apparmor", Status: Available, Level: "profile " + c.label}
	calls := c.calls(syscall.EACCES)
	switch {
	case calls == "" && (c.label == "" || c.label == "unconfined"):
		return nil
	case calls != "":
		s.Status, s.Why = Missing, "it refuses "+calls
		s.Mend = "start the container with --security-opt apparmor=unconfined, or with a profile that allows mounts, pivot_root and userns"
	}
	return []LayerState{s}
}

// calls lists those that were refused with one of these errors.
func (c confinement) calls(errnos ...syscall.Errno) string {
	var names []string
	for _, r := range c.refused {
		for _, e := range errnos {
			if r.Errno == e {
				names = append(names, r.Call)
			}
		}
	}
	return strings.Join(names, ", ")
}
