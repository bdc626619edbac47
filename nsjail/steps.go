package nsjail

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
)

// The ids inside a cell. The code's user differs from the init's, so that a
// signal from code to the init is refused (with one id, code could end a
// cell). Rootless there is one id only.
const (
	initID = 0
	codeID = 1
)

// keptCaps are what the init needs once the cell stands: to become the code's
// user, and to kill all code while it lives on itself.
const keptCaps = 1<<sys.CapKill | 1<<sys.CapSetgid | 1<<sys.CapSetuid

// nestCaps are what the init of a nest needs: to clone cells and write their
// maps, and to leave a template the first of them.
const nestCaps = 1<<sys.CapSysAdmin | 1<<sys.CapKill | 1<<sys.CapSetgid | 1<<sys.CapSetuid

// Descriptors of the init: 3 the host, 4 its own program, then what is passed.
const (
	selfFD  = 4
	firstFD = 5
)

// layout is what the host found out about itself before a plan is made.
type layout struct {
	rootless   bool // no privilege on the host: the init makes the mounts
	mknod      bool // the host can make device nodes
	procMasked bool // something is mounted below the caller's /proc
	landlock   int  // ABI, 0 for none
	lastCap    int  // the kernel's last capability
	code       int  // id of code inside the cell
	nest       bool // this is a nest: its init builds cells
	nested     bool // this is a cell in a nest
}

// step is one step of building a cell from inside: a name for errors, and the
// system calls it comes down to.
type step struct {
	name string
	emit func(*program)
}

// resource is one rlimit of a cell with the reason for it.
type resource struct {
	id         int
	soft, hard uint64
	reason     string
}

// The stacks of a REPL.
const (
	threadStack = 2 << 20
	mainStack   = 8 << 20
)

func limits(s Spec) []resource {
	none := sys.RlimInfinity
	return []resource{
		{sys.RlimitCore, 0, 0, "a crash must not reach the host's core handler"},
		{sys.RlimitNofile, s.OpenFiles, s.OpenFiles, "descriptors are kernel memory"},
		{sys.RlimitFsize, uint64(s.FileBytes), uint64(s.FileBytes), "no sparse giants"},
		{sys.RlimitStack, threadStack, mainStack, "at start the size of thread stacks, which RLIMIT_DATA counts; see WidenStack"},
		{sys.RlimitMemlock, 64 << 10, 64 << 10, "no pinned memory"},
		{sys.RlimitMsgqueue, 0, 0, "POSIX queues are kernel memory"},
		{sys.RlimitSigpending, 256, 256, "queued signals are kernel memory"},
		{sys.RlimitNice, 0, 0, "priority only falls"},
		{sys.RlimitRtprio, 0, 0, "no realtime"},
		{sys.RlimitCPU, none, none, "the host measures CPU time and ends it"},
	}
}

// ofMaker says that the kernel counts the resource against the maker of a user
// namespace as well, so that a nest must have no limit of it.
func (r resource) ofMaker() bool { return r.id == sys.RlimitMemlock || r.id == sys.RlimitSigpending }

// tmpfs describes one scratch file system of a cell.
type tmpfs struct {
	path    string
	options [][2]string
	attr    uint64
	share   bool // the host keeps a descriptor
}

// scratch lists them; uid is the code's id as whoever mounts it sees it.
func scratch(s Spec, uid int) []tmpfs {
	opts := func(bytes, files int64, mode string) [][2]string {
		id := strconv.Itoa(uid)
		return [][2]string{{"size", strconv.FormatInt(bytes, 10)}, {"nr_inodes", strconv.FormatInt(files, 10)}, {"mode", mode}, {"uid", id}, {"gid", id}}
	}
	return []tmpfs{
		{"workspace", opts(s.WorkspaceBytes, s.WorkspaceFiles, "0700"), mount.Scratch, true},
		{"tmp", opts(s.TmpBytes, 4096, "1777"), mount.Scratch, false},
		{"dev/shm", opts(s.TmpBytes, 1024, "1777"), mount.Scratch, false},
	}
}

// steps is the plan of a cell: the whole order of what the init does.
// fd gives the number of a passed descriptor by name.
func steps(s Spec, l layout, fd func(string) int) []step {
	var p []step
	add := func(name string, emit func(*program)) { p = append(p, step{name, emit}) }
	var root any // where mounts are attached: the descriptor of the new root

	add("private-mounts", func(p *program) {
		p.call(syscall.SYS_MOUNT, 0, "/", 0, syscall.MS_REC|syscall.MS_PRIVATE, 0)
	})
	if l.rootless {
		add("make-root", func(p *program) { root = tree(p, s.Root, mount.ReadOnly) })
	} else {
		add("take-root", func(p *program) { root = fd("root") })
	}
	// Over /, and then the working directory: every later target is found
	// below the new root and not below the old one.
	add("attach-root", func(p *program) {
		attach(p, root, sys.AtFDCWD, "/")
		p.call(syscall.SYS_FCHDIR, root)
	})
	nodes := !l.rootless && l.mknod // the host has made them
	if !nodes {
		add("make dev", func(p *program) { rootlessDev(p, root) })
	} else {
		add("attach dev", func(p *program) { attach(p, fd("dev"), root, "dev") })
	}
	if !nodes {
		for _, d := range mount.Devices {
			add("bind dev/"+d.Name, func(p *program) {
				attach(p, p.open(sys.SysOpenTree, sys.AtFDCWD, "/dev/"+d.Name, sys.OpenTreeClone|sys.OpenTreeCloexec), root, "dev/"+d.Name)
			})
		}
	}
	for _, t := range scratch(s, l.code) {
		add("attach "+t.path, func(p *program) {
			if !l.rootless {
				attach(p, fd(t.path), root, t.path)
				return
			}
			made := fileSystem(p, "tmpfs", t.options, t.attr)
			attach(p, made, root, t.path)
			if t.share {
				p.send(made, 'w')
			}
		})
	}
	parents := map[string]bool{}
	for i, in := range s.Inputs {
		path := "workspace/" + in.Name
		add("attach "+path, func(p *program) {
			for at, c := range in.Name {
				if dir := "workspace/" + in.Name[:at]; c == '/' && !parents[dir] {
					parents[dir] = true
					p.tolerate(syscall.EEXIST, syscall.SYS_MKDIRAT, root, dir, 0o777)
					// The code's own, though init makes it, and whatever the caller's umask.
					p.call(syscall.SYS_FCHMODAT, root, dir, 0o777)
				}
			}
			if in.File {
				p.call(syscall.SYS_CLOSE, p.open(syscall.SYS_OPENAT, root, path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o444))
			} else {
				p.call(syscall.SYS_MKDIRAT, root, path, 0o755)
			}
			if l.rootless {
				attach(p, tree(p, in.Stage, mount.ReadOnly|sys.MountAttrNoExec), root, path)
			} else {
				attach(p, fd("input"+strconv.Itoa(i)), root, path)
			}
		})
	}
	// Before pivot-root, because the kernel wants to see an unmasked proc in
	// the mount namespace when a new one is made.
	add("proc", func(p *program) {
		if l.procMasked {
			attach(p, p.receive(), root, "proc")
			return
		}
		attach(p, newProc(p, procAttr(l.nest)), root, "proc")
	})
	// The old root goes below the new one at the same place and is detached,
	// so that no directory for it is needed.
	add("pivot-root", func(p *program) {
		p.call(syscall.SYS_FCHDIR, root)
		p.call(syscall.SYS_PIVOT_ROOT, ".", ".")
		p.call(sysUmount, ".", syscall.MNT_DETACH)
		p.call(syscall.SYS_CHDIR, "/")
	})
	add("hostname", func(p *program) { p.call(syscall.SYS_SETHOSTNAME, "cell", 4) })
	// Now that the init was born in its group, that group becomes the root of
	// what the cell can see of the hierarchy.
	add("cgroup-namespace", func(p *program) { p.call(syscall.SYS_UNSHARE, syscall.CLONE_NEWCGROUP) })
	add("keyring", func(p *program) { p.tolerate(syscall.ENOSYS, syscall.SYS_KEYCTL, 1, 0) })
	for _, r := range limits(s) {
		if l.nest && r.ofMaker() {
			continue // see outer in init.c
		}
		add(fmt.Sprintf("rlimit %d", r.id), func(p *program) {
			p.call(syscall.SYS_PRLIMIT64, 0, r.id, p.words(r.soft, r.hard), 0)
		})
	}
	add("umask", func(p *program) { p.call(syscall.SYS_UMASK, 0o022) })
	add("chdir", func(p *program) { p.call(syscall.SYS_CHDIR, "/workspace") })
	add("no-new-privs", func(p *program) { p.call(syscall.SYS_PRCTL, sys.PrSetNoNewPrivs, 1, 0, 0, 0) })
	if !s.without(LayerLandlock) && !l.nest {
		// After no_new_privs, without which Landlock needs a capability.
		add("landlock", func(p *program) { landlock(p, l.landlock, l.nested) })
	}
	// Last: everything above needs capabilities.
	if l.nest {
		add("capabilities", func(p *program) { boundingSet(p, l.lastCap, nestCaps); capset(p, nestCaps) })
	} else {
		add("capabilities", func(p *program) { boundingSet(p, l.lastCap, 0); noRoot(p); capset(p, keptCaps) })
	}
	return p
}

// attach mounts the mount that from refers to at path below dir.
func attach(p *program, from, dir any, path string) {
	p.call(sys.SysMoveMount, from, "", dir, path, sys.MoveMountFEmptyPath)
}

// tree is mount.Tree, done by the init.
func tree(p *program, path string, attr uint64) held {
	fd := p.open(sys.SysOpenTree, sys.AtFDCWD, path, sys.OpenTreeClone|sys.OpenTreeCloexec)
	p.call(sys.SysMountSetattr, fd, "", sys.AtEmptyPath, p.words(attr, 0, 0, 0), 32)
	return fd
}

// fileSystem is mount.Tmpfs and its like, done by the init.
func fileSystem(p *program, fstype string, options [][2]string, attr uint64) held {
	ctx := p.open(sys.SysFsopen, fstype, 1)
	for _, o := range options {
		p.call(sys.SysFsconfig, ctx, 1, o[0], o[1], 0)
	}
	p.call(sys.SysFsconfig, ctx, 6, 0, 0, 0)
	fd := p.open(sys.SysFsmount, ctx, 1, attr)
	p.call(syscall.SYS_CLOSE, ctx)
	return fd
}

// newProc makes a proc of the calling process's PID namespace that shows
// processes only.
func newProc(p *program, attr uint64) held {
	options, attr := weakenProc([][2]string{{"subset", "pid"}}, attr)
	return fileSystem(p, "proc", options, attr)
}

// procAttr: a nest's can be written to, for the id maps of its cells.
func procAttr(nest bool) uint64 {
	if nest {
		return mount.Scratch
	}
	return mount.Scratch | sys.MountAttrReadOnly
}

// rootlessDev is mount.Dev where nodes cannot be made: files to bind them on.
func rootlessDev(p *program, root any) {
	fd := fileSystem(p, "tmpfs", [][2]string{{"size", "64k"}, {"nr_inodes", "32"}, {"mode", "0755"}}, sys.MountAttrNoSuid|sys.MountAttrNoExec)
	for _, l := range mount.DeviceLinks {
		p.call(syscall.SYS_SYMLINKAT, l[1], fd, l[0])
	}
	p.call(syscall.SYS_MKDIRAT, fd, "shm", 0o1777)
	for _, d := range mount.Devices {
		p.call(syscall.SYS_CLOSE, p.open(syscall.SYS_OPENAT, fd, d.Name, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o666))
	}
	p.call(sys.SysMountSetattr, fd, "", sys.AtEmptyPath, p.words(sys.MountAttrReadOnly, 0, 0, 0), 32)
	attach(p, fd, root, "dev")
}

// boundingSet empties it but for keep: nothing is left to anyone below. It
// comes before the capset that gives CAP_SETPCAP up.
func boundingSet(p *program, last int, keep uint64) {
	for c := range last + 1 {
		if keep&(1<<c) == 0 {
			p.call(syscall.SYS_PRCTL, sys.PrCapbsetDrop, c, 0, 0, 0)
		}
	}
}

// noRoot makes uid 0 of the cell an ordinary user to exec. It needs
// CAP_SETPCAP as well.
func noRoot(p *program) {
	p.call(syscall.SYS_PRCTL, sys.PrSetSecurebits, sys.SecbitNoRoot|sys.SecbitNoRootLock|sys.SecbitKeepLock|sys.SecbitNoRaise|sys.SecbitNoRaiseLk, 0, 0, 0)
}

// capset leaves these capabilities, effective and permitted.
func capset(p *program, keep uint64) {
	header := p.words(0x20080522) // version 3, the calling process
	var data []byte
	low, high := uint32(keep), uint32(keep>>32)
	for _, set := range []uint32{low, low, 0, high, high, 0} { // effective, permitted, inheritable; twice 32 bits
		data = binary.NativeEndian.AppendUint32(data, set)
	}
	p.call(syscall.SYS_CAPSET, header, p.bytes(data))
}
