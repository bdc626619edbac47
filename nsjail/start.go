package nsjail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
	"github.com/cellblock/cellblock/nsjail/mount"
	"github.com/cellblock/cellblock/nsjail/native"
	"github.com/cellblock/cellblock/seccomp"
)

// buildTime bounds the building of a cell, and the fork of a REPL: a step that hangs
// is a failure. They take milliseconds; a machine whose CPUs all want takes longer.
const buildTime = 30 * time.Second

// programs are what every cell of this process starts from.
type programs struct {
	init   *os.File // sealed in memory (CVE-2019-5736)
	filter []byte
}

var programsOnce = onceGood(func() (*programs, error) {
	b, err := native.Init()
	if err != nil {
		return nil, err
	}
	var p programs
	if p.filter, err = seccomp.Cell(); err != nil {
		return nil, err
	}
	p.filter = weaken.Program("filter", p.filter)
	p.init, err = sys.Memfd("cellblock-init", weaken.Program("init", b))
	return &p, err
})

// host is what a process finds out about its host once.
var hostOnce = onceGood(func() (l layout, err error) {
	l = layout{code: codeID, mknod: true}
	may, err := canMount()
	if err != nil {
		return l, err
	}
	if l.rootless = !may; l.rootless {
		l.code = initID
	}
	if l.landlock, err = sys.LandlockABI(); err != nil {
		return l, err
	}
	if l.procMasked, err = procMasked(); err != nil {
		return l, err
	}
	l.lastCap, err = lastCap()
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
func Start(ctx context.Context, spec Spec) (*Cell, error) {
	return start(ctx, spec, birth{})
}

// birth is what is not the same for all cells.
type birth struct {
	behind func(*Cell) error // sends something behind the plan
	in     *Nest             // the nest of a cell that stands in one
	nest   bool              // it becomes one itself
}

func start(ctx context.Context, spec Spec, b birth) (_ *Cell, err error) {
	spec = spec.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	host, err := hostOnce()
	if err != nil {
		return nil, hostStep("look-at-host", err)
	}
	host.nest, host.nested = b.nest, b.in != nil
	if host.nested {
		host.procMasked = false // the nest's own is not
	}
	weakenSpec(&spec, &host)
	if err := admit(spec, host); err != nil {
		return nil, err
	}
	programs, err := programsOnce()
	if err != nil {
		return nil, hostStep("native-programs", err)
	}
	spec.Trace.Mark("programs in memory")
	c := &Cell{spec: spec, host: host, ended: make(chan struct{}), exits: map[int32]chan Exit{}, reply: make(chan answer, 1), standing: make(chan []string, 1)}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	cells, err := openRuntimeDir(spec.RuntimeDir)
	if err != nil {
		return nil, hostStep("runtime-directory", err)
	}
	if err = c.takeNumber(ctx, cells); err != nil {
		return nil, err
	}
	spec.Trace.Mark("group made")

	var fds passed
	defer fds.closeParent()
	if !host.rootless {
		if err := c.makeMounts(&fds); err != nil {
			return nil, err
		}
	}
	spec.Trace.Mark("mounts made")
	c.steps = weakenSteps(steps(c.spec, c.host, fds.number))
	program, err := lower(c.steps)
	if err != nil {
		return nil, hostStep("plan", err)
	}
	weakenCalls(program)
	message, err := program.encode(programs.filter)
	if err != nil {
		return nil, hostStep("plan", err)
	}
	if b.in == nil {
		err = c.clone(programs, &fds)
	} else {
		err = c.cloneIn(b.in, &fds)
	}
	if err != nil {
		return nil, err
	}
	spec.Trace.Mark("init cloned")
	if err := c.socket.Send(message); err != nil {
		return nil, hostStep("send-plan", err)
	}
	// Where the init asks the host for /proc, the answer is what it hears next.
	var behind error
	if b.behind != nil && !host.procMasked {
		// An init that has ended by now has told why: that is heard first.
		if behind = b.behind(c); behind != nil && behind != ErrClosed {
			return nil, behind
		}
	}
	if err := c.await(ctx); err != nil {
		return nil, err
	}
	if b.behind != nil && host.procMasked {
		behind = b.behind(c)
	}
	if behind != nil {
		return nil, hostStep("init", behind)
	}
	spec.Trace.Mark("cell stands")
	go c.listen()
	c.looking = true
	go c.lookAtInit()
	return c, nil
}

// maxInputs bounds the descriptors that are passed: their numbers have two
// digits in the init's argv.
const maxInputs = 64

// admit refuses what cannot be enforced unless the caller named it.
func admit(s Spec, l layout) error {
	if len(s.Inputs) > maxInputs {
		return hostStep("inputs", fmt.Errorf("%d directories and files are to be shared read-only, more than %d: put them into one directory", len(s.Inputs), maxInputs))
	}
	if l.landlock == 0 && !s.without(LayerLandlock) {
		return &MissingError{LayerLandlock, "the kernel has no Landlock, or it is not enabled", "boot with lsm=landlock,…"}
	}
	if l.procMasked && l.rootless {
		return hostStep("proc", errors.New("something is mounted over parts of /proc, so that the kernel refuses a new one to a process without CAP_SYS_ADMIN: start the container with --cap-add SYS_ADMIN, or with its /proc unmasked, or run outside of it"))
	}
	return nil
}

// takeNumber finds a number that is free, in the records and as a group: one
// with another runtime directory may have it below the same parent.
func (c *Cell) takeNumber(ctx context.Context, cells string) (err error) {
	for range 16 {
		if c.slot, err = takeSlot(cells); err != nil {
			return hostStep("record", err)
		}
		c.spec.Trace.Mark("record made")
		if err = c.makeGroup(ctx); !errors.Is(err, syscall.EEXIST) {
			return err
		}
		c.slot.release()
		c.slot = nil
	}
	return err
}

func (c *Cell) makeGroup(ctx context.Context) error {
	if c.spec.without(LayerCgroup) {
		return nil
	}
	host, scopeErr, err := ownGroups.find(ctx, c.spec.Scope && c.spec.CgroupParent == "")
	if err != nil {
		return hostStep("group", err)
	}
	missing := func(err error) error {
		var m *cgroup.MissingError
		if errors.As(err, &m) {
			if scopeErr != nil {
				return &MissingError{LayerCgroup, m.Why + "; " + scopeErr.Error(), m.Mend}
			}
			return &MissingError{LayerCgroup, m.Why, m.Mend}
		}
		return hostStep("group", err)
	}
	// The record first: an owner that is killed in between must not leave a
	// group that no sweep knows of. It may be about the groups of another then, who
	// has the number below the same parent: only what is empty is swept.
	paths, err := host.Paths(c.slot.name(), c.spec.CgroupParent, c.spec.Limits)
	if err != nil {
		return missing(err)
	}
	// But never one that is there and so somebody else's: should this process die
	// before it has looked for another number, the sweep would end their cell.
	for _, path := range paths {
		var st syscall.Stat_t
		switch err := sys.Lstat(path, &st); {
		case err == nil:
			return hostStep("group", &os.PathError{Op: "mkdir", Path: path, Err: syscall.EEXIST})
		case !errors.Is(err, os.ErrNotExist):
			return hostStep("group", err)
		}
	}
	if err := c.slot.write(record{Groups: paths}); err != nil {
		return hostStep("record", err)
	}
	if c.group, err = host.Create(c.slot.name(), c.spec.CgroupParent, c.spec.Limits); err != nil {
		return missing(err)
	}
	// Before anything is inside.
	r := record{Groups: c.group.Paths()}
	if r.Identities, err = cgroup.Identities(r.Groups); err != nil {
		return hostStep("group", err)
	}
	if err := c.slot.write(r); err != nil {
		return hostStep("record", err)
	}
	return nil
}

// makeMounts makes on the host what the cell must not be able to resize.
func (c *Cell) makeMounts(fds *passed) error {
	add := func(name string, fd int, err error) error {
		if err != nil {
			return hostStep("mount "+name, err)
		}
		fds.add(name, mount.File(fd, name), true)
		return nil
	}
	fd, err := mount.Tree(c.spec.Root, weakenMount("root", mount.ReadOnly))
	if err := add("root", fd, err); err != nil {
		return err
	}
	fd, err = mount.Dev()
	if c.host.mknod = !errors.Is(err, mount.ErrNoMknod); c.host.mknod {
		if err := add("dev", fd, err); err != nil {
			return err
		}
	}
	for _, t := range scratch(c.spec, c.hostID(c.host.code)) {
		fd, err := mount.Tmpfs(weakenTmpfs(t.options), weakenMount(t.path, t.attr))
		if err := add(t.path, fd, err); err != nil {
			return err
		}
		if t.share {
			dup, err := sys.OpenControl("/proc/self/fd/"+strconv.Itoa(fd), syscall.O_RDONLY|syscall.O_DIRECTORY)
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

// clone starts the native program in the cell's group, writes the id maps of
// the user namespace that it enters, and takes over the init that it clones.
//
// The program is exec'ed first and enters its namespaces by itself, because a
// fork with them would copy this process's page tables, however large it is.
func (c *Cell) clone(programs *programs, fds *passed) error {
	ours, theirs, err := sys.Pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return hostStep("socket", err)
	}
	defer theirs.Close()
	c.socket = sys.NewPacket(ours)
	if err := ours.SetReadDeadline(time.Now().Add(buildTime)); err != nil {
		return hostStep("socket", err)
	}
	defer ours.SetReadDeadline(time.Time{})
	nullFD, err := sys.OpenControl(os.DevNull, syscall.O_RDWR)
	if err != nil {
		return hostStep("open", err)
	}
	null := os.NewFile(uintptr(nullFD), os.DevNull)
	defer null.Close()
	entrance := &cgroup.Entrance{BirthFD: -1}
	if c.group != nil {
		if entrance, err = c.group.Entrance(); err != nil {
			return hostStep("group", err)
		}
		defer entrance.Close()
	}
	files := []*os.File{null, null, null, theirs, programs.init}
	files = append(append(files, fds.files...), entrance.Files...)
	attr := &syscall.ProcAttr{Env: c.spec.Env, Sys: &syscall.SysProcAttr{Setsid: true}}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	if entrance.BirthFD >= 0 {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, entrance.BirthFD
	}
	// The program is told where the entrances are, and enters by itself.
	argv := append([]string{"outer", strconv.Itoa(c.weakenCode()), c.spec.Python}, c.spec.Args...)
	argv[0] += fmt.Sprintf("-%02d-%02d", firstFD+len(fds.files), len(entrance.Files))
	if c.host.nest {
		argv[0] += "n"
	}
	outer, err := sys.StartProcess("/proc/self/fd/"+strconv.Itoa(selfFD), argv, attr)
	runtime.KeepAlive(files)
	if err != nil {
		return hostStep("start", err)
	}
	theirs.Close()
	// It is never killed when ctx ends, since only it can tell the init that
	// it cloned; it waits for nothing but this process and takes a moment.
	if err := c.adopt(outer); err != nil {
		c.disown(outer)
		return err
	}
	return hostStep("start", again(func() error { _, err := sys.Wait(outer); return err }))
}

// await answers what the init asks for until it says that the cell stands.
func (c *Cell) await(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, buildTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.process.Kill() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		n, fds, err := c.socket.Recv(buf)
		if err != nil {
			if ctx.Err() != nil {
				if parent.Err() == nil {
					return hostStep("await", os.ErrDeadlineExceeded)
				}
				return hostStep("await", fmt.Errorf("the init had not finished: %w", context.Cause(ctx)))
			}
			if !errors.Is(err, io.EOF) {
				return hostStep("await", err) // it lives: Close ends it
			}
			state, werr := c.process.Wait()
			if werr != nil {
				return hostStep("await", werr)
			}
			return hostStep("init", fmt.Errorf("it ended before the cell stood (%s)", state))
		}
		a, err := parseAnswer(buf[:n], fds)
		if err != nil {
			return hostStep("await", err)
		}
		switch a.kind {
		case 'w':
			c.workspace = os.NewFile(uintptr(a.fd), "workspace")
		case 'l':
			c.ruleset = os.NewFile(uintptr(a.fd), "landlock")
		case 'p':
			if err := c.sendProc(); err != nil {
				return hostStep("proc", err)
			}
		case 'r':
			return nil
		case 'e':
			step := "unknown"
			if int(a.pid) < len(c.steps) {
				step = c.steps[a.pid].name
			}
			errno := syscall.Errno(a.errno)
			return &StepError{Step: step, Index: int(a.pid), Errno: errno, Text: errno.Error()}
		default:
			return hostStep("await", fmt.Errorf("BUG(nsjail): message %q of the init", a.kind))
		}
	}
}
