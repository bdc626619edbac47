package nsjail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
	"github.com/cellblock/cellblock/nsjail/native"
	"github.com/cellblock/cellblock/nsjail/plan"
	"github.com/cellblock/cellblock/seccomp"
)

// buildTime bounds the building of a cell: a step that hangs is a failure.
const buildTime = 10 * time.Second

// sealed are the programs and the filter that every cell of this process
// starts from, each a sealed memory file (CVE-2019-5736).
type sealed struct{ init, reaper, filter *os.File }

var sealedOnce = sync.OnceValues(func() (*sealed, error) {
	var s sealed
	for _, p := range []struct {
		to   **os.File
		name string
		read func() ([]byte, error)
	}{
		{&s.init, "cellblock-init", native.Init},
		{&s.reaper, "cellblock-reaper", native.Reaper},
		{&s.filter, "cellblock-filter", seccomp.Cell},
	} {
		b, err := p.read()
		if err != nil {
			return nil, err
		}
		f, err := sys.Memfd(p.name, b)
		if err != nil {
			return nil, err
		}
		*p.to = f
	}
	return &s, nil
})

// host is what a process finds out about its host once.
var hostOnce = sync.OnceValues(func() (layout, error) {
	l := layout{rootless: !canMount(), code: codeID, mknod: true, landlock: min(sys.LandlockABI(), 6)}
	if l.rootless {
		l.code = initID
	}
	masked, err := procMasked()
	l.procMasked = masked
	return l, err
})

// passed collects descriptors for the init by name.
type passed struct {
	names []string
	files []*os.File
	own   []bool // close after the clone
}

func (p *passed) add(name string, f *os.File, own bool) {
	p.names = append(p.names, name)
	p.files = append(p.files, f)
	p.own = append(p.own, own)
}

func (p *passed) number(name string) int {
	for i, n := range p.names {
		if n == name {
			return firstFD + i
		}
	}
	panic("BUG(nsjail): no descriptor is passed as " + name)
}

func (p *passed) closeParent() {
	for i, f := range p.files {
		if p.own[i] {
			f.Close()
		}
	}
}

// Start builds a cell as spec says. On error nothing is left behind.
//
// Errors are *StepError (a step failed), *MissingError (a layer this host
// cannot give), ErrExhausted, or those of the context.
func Start(ctx context.Context, spec Spec) (_ *Cell, err error) {
	spec = spec.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, err := hostOnce()
	if err != nil {
		return nil, hostStep("look-at-host", err)
	}
	if err := admit(spec, host); err != nil {
		return nil, err
	}
	programs, err := sealedOnce()
	if err != nil {
		return nil, hostStep("native-programs", err)
	}
	c := &Cell{spec: spec, host: host, ended: make(chan struct{}), exits: map[int32]chan Exit{}, reply: make(chan answer, 1)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	cells, err := openRuntimeDir(spec.RuntimeDir)
	if err != nil {
		return nil, hostStep("runtime-directory", err)
	}
	if c.slot, err = takeSlot(cells); err != nil {
		return nil, hostStep("record", err)
	}
	if err = c.makeGroup(); err != nil {
		return nil, err
	}
	spec.Trace.Mark("group made")

	var fds passed
	defer fds.closeParent()
	fds.add("reaper", programs.reaper, false)
	if !host.rootless {
		if err := c.makeMounts(&fds); err != nil {
			return nil, err
		}
	}
	spec.Trace.Mark("mounts made")
	message, err := plan.Encode(c.plan(&fds))
	if err != nil {
		return nil, hostStep("plan", err)
	}
	if err := c.clone(programs, &fds, message); err != nil {
		return nil, err
	}
	spec.Trace.Mark("init cloned")
	if err := c.await(ctx); err != nil {
		return nil, err
	}
	spec.Trace.Mark("cell stands")
	go c.listen()
	return c, nil
}

// admit refuses what cannot be enforced unless the caller named it.
func admit(s Spec, l layout) error {
	if l.landlock == 0 && !s.without(LayerLandlock) {
		return &MissingError{LayerLandlock, "the kernel has no Landlock, or it is not enabled", "boot with lsm=landlock,…"}
	}
	if l.procMasked && l.rootless {
		return hostStep("proc", errors.New("something is mounted below /proc, so that the kernel refuses a new one to an unprivileged user: run outside of the container, or as its root"))
	}
	return nil
}

func (c *Cell) makeGroup() error {
	if c.spec.without(LayerCgroup) {
		return nil
	}
	host, err := cgroupHost()
	if err != nil {
		return hostStep("group", err)
	}
	g, err := host.Create(c.slot.name(), c.spec.CgroupParent, c.spec.Limits)
	if err != nil {
		var missing *cgroup.MissingError
		if errors.As(err, &missing) {
			return &MissingError{LayerCgroup, missing.Why, missing.Mend}
		}
		return hostStep("group", err)
	}
	c.group = g
	if err := c.slot.write(record{Groups: g.Paths()}); err != nil {
		return hostStep("record", err)
	}
	return nil
}

var cgroupHost = sync.OnceValues(cgroup.Probe)

// makeMounts makes on the host what the cell must not be able to resize.
func (c *Cell) makeMounts(fds *passed) error {
	add := func(name string, fd int, err error) error {
		if err != nil {
			return hostStep("mount "+name, err)
		}
		fds.add(name, mount.File(fd, name), true)
		return nil
	}
	fd, err := mount.Tree(c.spec.Root, mount.ReadOnly)
	if err := add("root", fd, err); err != nil {
		return err
	}
	fd, err = mount.Dev()
	if err := add("dev", fd, err); err != nil {
		return err
	}
	for _, t := range scratch(c.spec, c.slot.codeUID()) {
		fd, err := mount.Tmpfs(t.options, t.attr)
		if err := add(t.path, fd, err); err != nil {
			return err
		}
		if t.share {
			dup, err := syscall.Open("/proc/self/fd/"+strconv.Itoa(fd), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
			if err != nil {
				return hostStep("open "+t.path, err)
			}
			c.workspace = os.NewFile(uintptr(dup), t.path)
		}
	}
	for i, in := range c.spec.Inputs {
		fd, err := mount.Tree(in.Stage, mount.ReadOnly|sys.MountAttrNoExec)
		if err := add("input"+strconv.Itoa(i), fd, err); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cell) plan(fds *passed) []plan.Step {
	c.steps = steps(c.spec, c.host, fds.number)
	return c.steps
}

// clone starts the init in its namespaces and its group and sends the plan.
func (c *Cell) clone(programs *sealed, fds *passed, message []byte) error {
	ours, theirs, err := sys.Pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return hostStep("socket", err)
	}
	defer theirs.Close()
	c.socket = sys.NewPacket(ours)
	if err := c.socket.Send(message); err != nil {
		return hostStep("send-plan", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return hostStep("open", err)
	}
	defer null.Close()
	filter, err := reopen(programs.filter)
	if err != nil {
		return hostStep("open", err)
	}
	defer filter.Close()
	fds.add("init", programs.init, false)
	attr := &os.ProcAttr{
		Env:   []string{"GOMAXPROCS=1"},
		Files: append([]*os.File{null, null, null, theirs, filter}, fds.files...),
		Sys:   c.attributes(),
	}
	// By its number in the child, where the descriptors are already in place.
	path := "/proc/self/fd/" + strconv.Itoa(fds.number("init"))
	fork := func(sysattr *syscall.SysProcAttr) error {
		attr.Sys = sysattr
		p, err := os.StartProcess(path, []string{"cellblock-init"}, attr)
		c.process = p
		return err
	}
	if c.group != nil {
		err = c.group.Start(attr.Sys, fork)
	} else {
		err = fork(attr.Sys)
	}
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("%w (are user namespaces allowed? see `cellblock doctor`)", err)
		}
		return hostStep("clone", err)
	}
	return nil
}

func (c *Cell) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid: true,
	}
	if c.host.rootless {
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: initID, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: initID, HostID: os.Getegid(), Size: 1}}
		return a
	}
	// The ids of a slot are neighbours: one line maps both.
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: initID, HostID: c.slot.initUID(), Size: 2}}
	a.GidMappings = a.UidMappings
	a.GidMappingsEnableSetgroups = true
	a.Credential = &syscall.Credential{Uid: initID, Gid: initID}
	return a
}

// reopen gives a sealed file an offset of its own.
func reopen(f *os.File) (*os.File, error) {
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// await answers what the init asks for until the reaper says that it stands.
func (c *Cell) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.process.Kill() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		n, fds, err := c.socket.Recv(buf)
		if err != nil {
			if ctx.Err() != nil {
				return hostStep("await", fmt.Errorf("the init did not finish within %s: %w", buildTime, context.Cause(ctx)))
			}
			state, werr := c.process.Wait()
			c.process = nil
			if werr != nil {
				return hostStep("await", werr)
			}
			return hostStep("init", fmt.Errorf("it ended before the cell stood (%s)", state))
		}
		switch {
		case buf[0] == 'w' && len(fds) == 1:
			c.workspace = os.NewFile(uintptr(fds[0]), "workspace")
		case buf[0] == 'p':
			if err := c.sendProc(); err != nil {
				return hostStep("proc", err)
			}
		case buf[0] == 'r':
			return nil
		default:
			index, errno, text, ok := plan.ParseFailure(buf[:n])
			if !ok {
				return hostStep("await", errors.New("BUG(nsjail): unknown message from the init"))
			}
			step := "decode-plan"
			if index < len(c.steps) {
				step = c.steps[index].String()
			}
			return &StepError{Step: step, Index: index, Errno: syscall.Errno(errno), Text: text}
		}
	}
}
