package nsjail

import (
	"fmt"
	"strconv"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
	"github.com/cellblock/cellblock/nsjail/plan"
)

// The ids inside a cell. The code's user differs from the init's, so that a
// signal from code to the init is refused (with one id, code could end a
// cell). Rootless there is one id only.
const (
	initID = 0
	codeID = 1
)

// keptCaps are what the reaper needs: to become the code's user, and to kill
// all code while it lives on itself.
const keptCaps = 1<<sys.CapKill | 1<<sys.CapSetgid | 1<<sys.CapSetuid

// Descriptors of the init beyond plan: 3 is the host, 4 the filter.
const firstFD = 5

// layout is what the host found out about itself before a plan is made.
type layout struct {
	rootless   bool // no privilege on the host: the init makes the mounts
	mknod      bool // the host can make device nodes
	procMasked bool // something is mounted below the caller's /proc
	landlock   int  // ABI, 0 for none
	code       int  // id of code inside the cell
}

// resource is one rlimit of a cell with the reason for it.
type resource struct {
	id         int
	soft, hard uint64
	reason     string
}

func limits(s Spec) []resource {
	none := sys.RlimInfinity
	return []resource{
		{sys.RlimitCore, 0, 0, "a crash must not reach the host's core handler"},
		{sys.RlimitNofile, s.OpenFiles, s.OpenFiles, "descriptors are kernel memory"},
		{sys.RlimitFsize, uint64(s.FileBytes), uint64(s.FileBytes), "no sparse giants"},
		{sys.RlimitStack, 8 << 20, 8 << 20, "also the size of a thread's stack"},
		{sys.RlimitMemlock, 64 << 10, 64 << 10, "no pinned memory"},
		{sys.RlimitMsgqueue, 0, 0, "POSIX queues are kernel memory"},
		{sys.RlimitSigpending, 256, 256, "queued signals are kernel memory"},
		{sys.RlimitNice, 0, 0, "priority only falls"},
		{sys.RlimitRtprio, 0, 0, "no realtime"},
		{sys.RlimitCPU, none, none, "the host measures CPU time and ends it"},
	}
}

// tmpfs describes one scratch file system of a cell.
type tmpfs struct {
	path    string
	options string
	attr    uint64
	share   bool // the host keeps a descriptor
}

// scratch lists them; uid is the code's id as whoever mounts it sees it.
func scratch(s Spec, uid int) []tmpfs {
	opts := func(bytes, files int64, mode string, owner int) string {
		return fmt.Sprintf("size=%d,nr_inodes=%d,mode=%s,uid=%d,gid=%d", bytes, files, mode, owner, owner)
	}
	return []tmpfs{
		{"workspace", opts(s.WorkspaceBytes, s.WorkspaceFiles, "0700", uid), mount.Scratch, true},
		{"tmp", opts(s.TmpBytes, 4096, "1777", uid), mount.Scratch, false},
		{"dev/shm", opts(s.TmpBytes, 1024, "1777", uid), mount.Scratch, false},
	}
}

// steps is the plan of a cell: the whole order of what the init does.
// fd gives the number of a passed descriptor by name.
func steps(s Spec, l layout, fd func(string) int) []plan.Step {
	p := []plan.Step{{Op: plan.Private}}
	add := func(st ...plan.Step) { p = append(p, st...) }

	if l.rootless {
		add(plan.Step{Op: plan.MakeRoot, Path: s.Root})
		add(plan.Step{Op: plan.MakeTmpfs, Path: "dev", Arg: "size=64k,nr_inodes=32,mode=0755", A: sys.MountAttrNoSuid | sys.MountAttrNoExec})
		for _, d := range mount.Devices {
			add(plan.Step{Op: plan.BindDevice, Path: "dev/" + d.Name, Arg: d.Name})
		}
		for _, t := range scratch(s, l.code) {
			share := uint64(0)
			if t.share {
				share = 1
			}
			add(plan.Step{Op: plan.MakeTmpfs, Path: t.path, Arg: t.options, A: t.attr, B: share})
		}
	} else {
		add(plan.Step{Op: plan.AttachRoot, FD: fd("root")})
		add(plan.Step{Op: plan.Attach, Path: "dev", FD: fd("dev")})
		if !l.mknod {
			for _, d := range mount.Devices {
				add(plan.Step{Op: plan.BindDevice, Path: "dev/" + d.Name, Arg: d.Name})
			}
		}
		for _, t := range scratch(s, 0) {
			add(plan.Step{Op: plan.Attach, Path: t.path, FD: fd(t.path)})
		}
	}
	for i, in := range s.Inputs {
		if l.rootless {
			add(plan.Step{Op: plan.BindInput, Path: "workspace/" + in.Name, Arg: in.Stage, B: in.mountPoint()})
		} else {
			add(plan.Step{Op: plan.Attach, Path: "workspace/" + in.Name, FD: fd("input" + strconv.Itoa(i)), B: in.mountPoint()})
		}
	}
	masked := uint64(0)
	if l.procMasked {
		masked = 1
	}
	add(
		plan.Step{Op: plan.Proc, Path: "proc", A: masked},
		plan.Step{Op: plan.Pivot},
		plan.Step{Op: plan.Hostname, Arg: "cell"},
		plan.Step{Op: plan.Cgroup},
		plan.Step{Op: plan.Keyring},
	)
	for _, r := range limits(s) {
		add(plan.Step{Op: plan.Limit, FD: r.id, A: r.soft, B: r.hard})
	}
	add(
		plan.Step{Op: plan.Umask, A: 0o022},
		plan.Step{Op: plan.Chdir, Path: "/workspace"},
		plan.Step{Op: plan.NoNewPrivs},
	)
	if !s.without(LayerLandlock) {
		// After no_new_privs, without which Landlock needs a capability.
		add(plan.Step{Op: plan.Landlock, A: uint64(l.landlock)})
	}
	// Last before exec: everything above needs capabilities.
	add(plan.Step{Op: plan.Capabilities, A: keptCaps})
	argv := append([]string{"cell", strconv.Itoa(l.code), s.Python}, s.Args...)
	add(plan.Step{Op: plan.Exec, FD: fd("reaper"), Args: argv, Env: s.Env})
	return p
}
