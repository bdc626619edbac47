package nsjail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// What a template gets for each fork, by its number in the message: the REPL's
// ends of its streams, the cell's init, and then what is not always there.
const (
	slotControl = held(3)
	slotCell    = held(4)
	slotRuleset = held(5) // with Landlock
)

// The parts of a fork's plan, by who carries them out: see fork.c.
const (
	inTemplate = iota
	inChild    // C1
	inREPL
	forkParts
)

// forkStep is a step of a fork's plan.
type forkStep struct {
	part int
	step
}

// ForkPlan is what a template does for each REPL, for fork.c. It is the same
// for all cells that are made with spec in this nest.
type ForkPlan struct {
	steps []forkStep
	bytes []byte
}

// PlanFork resolves how a REPL gets from the template into a cell of spec.
func (n *Nest) PlanFork(spec Spec) (*ForkPlan, error) {
	programs, err := programsOnce()
	if err != nil {
		return nil, hostStep("native-programs", err)
	}
	doors := 0
	if n.cell.group != nil {
		files, err := n.cell.group.Doors()
		if err != nil {
			return nil, hostStep("group", err)
		}
		doors = len(files)
		closeAll(files)
	}
	f := &ForkPlan{steps: weakenFork(forkSteps(spec, n.cell.host, doors, programs.filter))}
	return f, f.encode()
}

// Bytes is the plan as fork.c reads it.
func (f *ForkPlan) Bytes() []byte { return f.bytes }

func (f *ForkPlan) encode() error {
	p := &program{slots: maxSlots}
	var counts [forkParts]int
	for i, s := range f.steps {
		before := len(p.insns)
		p.step = uint32(i)
		s.emit(p)
		counts[s.part] += len(p.insns) - before
	}
	var b []byte
	for _, n := range counts {
		b = binary.NativeEndian.AppendUint32(b, uint32(n))
	}
	f.bytes = p.body(append(b, 0, 0, 0, 0))
	return nil
}

// forkSteps is the whole order of what a fork does. Its end is what init.c and
// lock.c do for a REPL that is exec'ed; what differs is that this one comes
// from another user namespace and brings the template's memory along.
func forkSteps(s Spec, l layout, doors int, filter []byte) []forkStep {
	var list []forkStep
	add := func(part int, name string, emit func(*program)) {
		list = append(list, forkStep{part, step{name, emit}})
	}
	first := slotRuleset
	if !s.without(LayerLandlock) {
		first++
	}
	// For the children only; the template stays where it is.
	add(inTemplate, "born-in-cell", func(p *program) { p.call(sys.SysSetns, slotCell, syscall.CLONE_NEWPID) })
	// Before the fork, so that page tables are charged to the session.
	if doors > 0 {
		add(inChild, "enter-group", func(p *program) {
			for i := range doors {
				p.call(syscall.SYS_WRITE, first+held(i), "0", 1)
			}
		})
	}
	// The user namespace comes first by itself: it gives the capability that
	// the others are entered with.
	add(inChild, "enter-namespaces", func(p *program) {
		const cgroupNS = 0x02000000
		p.call(sys.SysSetns, slotCell, syscall.CLONE_NEWUSER|syscall.CLONE_NEWNS|syscall.CLONE_NEWNET|syscall.CLONE_NEWIPC|syscall.CLONE_NEWUTS|cgroupNS)
	})
	add(inREPL, "setsid", func(p *program) { p.call(syscall.SYS_SETSID) })
	add(inREPL, "chdir", func(p *program) { p.call(syscall.SYS_CHDIR, "/workspace") })
	add(inREPL, "bounding-set", func(p *program) { boundingSet(p, l.lastCap, 0); noRoot(p) })
	add(inREPL, "ids", func(p *program) {
		p.call(syscall.SYS_SETGROUPS, 0, 0)
		p.call(syscall.SYS_SETRESGID, codeID, codeID, codeID)
		p.call(syscall.SYS_SETRESUID, codeID, codeID, codeID)
	})
	// As the code's user, whose quota it counts against: the nest's root would
	// have it used up by 200 sessions.
	add(inREPL, "keyring", func(p *program) { p.tolerate(syscall.ENOSYS, syscall.SYS_KEYCTL, 1, 0) })
	add(inREPL, "drop-capabilities", func(p *program) { capset(p, 0) })
	add(inREPL, "dumpable", func(p *program) { p.call(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0, 0, 0) })
	add(inREPL, "no-new-privs", func(p *program) { p.call(syscall.SYS_PRCTL, sys.PrSetNoNewPrivs, 1, 0, 0, 0) })
	if !s.without(LayerLandlock) {
		add(inREPL, "landlock", func(p *program) { p.call(sys.SysLandlockRestrict, slotRuleset, 0) })
	}
	add(inREPL, "pass-descriptors", func(p *program) {
		for i := range slotControl + 1 {
			p.call(syscall.SYS_DUP3, i, int(i), 0)
		}
	})
	add(inREPL, "close-descriptors", func(p *program) { p.call(sys.SysCloseRange, 4, 1<<32-1, 0) })
	add(inREPL, "seccomp-filter", func(p *program) { p.filter(filter) })
	add(inREPL, "lock", func(p *program) { p.lock() })
	return list
}

// lend sends a template what it forks a REPL into this cell with.
func (c *Cell) lend(streams []*os.File, ask func(fds ...int) error) error {
	c.lending.RLock()
	defer c.lending.RUnlock()
	if c.shut {
		return ErrClosed
	}
	fds := append(numbers(streams), c.process.number())
	if c.ruleset != nil {
		fds = append(fds, int(c.ruleset.Fd()))
	}
	if c.group != nil {
		doors, err := c.group.Doors()
		if err != nil {
			return hostStep("group", err)
		}
		defer closeAll(doors)
		fds = append(fds, numbers(doors)...)
	}
	if err := ask(fds...); err != nil {
		return hostStep("ask-template", err)
	}
	return nil
}

// ForkREPL has a template fork a REPL into this cell, which stands in the
// template's nest and in which no code runs. ask sends the template one message
// with the descriptors. As after StartREPL, the posture is checked before the
// REPL gets a byte that nobody trusts.
func (c *Cell) ForkREPL(ctx context.Context, plan *ForkPlan, ask func(fds ...int) error) (_ *Process, err error) {
	p, theirs, err := c.streams()
	if err != nil {
		return nil, err
	}
	p.forked = true
	defer closeAll(theirs[:])
	streams := p
	defer func() {
		if err != nil {
			streams.closeStreams()
		}
	}()
	if err := c.lend(theirs[:], ask); err != nil {
		return nil, err
	}
	closeAll(theirs[:])
	inner, err := plan.hear(ctx, p.Control)
	if err != nil {
		if fault := c.Fault(); fault != nil {
			err = hostStep("fork", fault) // what failed was to be forked into a dead cell
		}
		return nil, err
	}
	c.ask.Lock()
	defer c.ask.Unlock()
	if err := c.post(binary.NativeEndian.AppendUint32([]byte("A"), uint32(inner))); err != nil {
		return nil, orderFailure(err)
	}
	if p, err = c.receive(ctx, p); err != nil {
		return nil, err
	}
	return p, c.limit(p)
}

// limit gives a forked REPL this cell's limits where they are not the nest's,
// which it has inherited; the size of files always is.
func (c *Cell) limit(p *Process) error {
	inherited := limits(c.nest.cell.spec)
	for i, r := range limits(c.spec) {
		if r == inherited[i] && !r.ofMaker() {
			continue
		}
		if _, err := sys.Prlimit(p.PID, r.id, &sys.Rlimit{Soft: r.soft, Hard: r.hard}); err != nil {
			return hostStep(fmt.Sprintf("rlimit %d", r.id), err)
		}
	}
	return nil
}

// Steps of fork.c itself.
const (
	stepFork  = 0xffff
	stepClone = 0xfffe
)

// hear waits for what the REPL says when it has dropped all, or whoever failed
// before: step, errno, PID in the cell.
func (f *ForkPlan) hear(ctx context.Context, control *os.File) (inner int32, err error) {
	stop := context.AfterFunc(ctx, func() { control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := control.SetReadDeadline(time.Now().Add(buildTime)); err != nil {
		return 0, hostStep("fork", err)
	}
	var b [12]byte
	if _, err := io.ReadFull(control, b[:]); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if errors.Is(err, io.EOF) {
			return 0, ErrNotForked
		}
		return 0, hostStep("fork", err)
	}
	if !stop() {
		return 0, ctx.Err()
	}
	control.SetReadDeadline(time.Time{})
	le := binary.NativeEndian
	index, errno, pid := le.Uint32(b[0:]), syscall.Errno(le.Uint32(b[4:])), int32(le.Uint32(b[8:]))
	if errno != 0 {
		name := "unknown"
		switch {
		case index == stepFork:
			name = "fork"
		case index == stepClone:
			name = "clone"
		case int(index) < len(f.steps):
			name = f.steps[index].name
		}
		return 0, &StepError{Step: name, Index: int(index), Errno: errno, Text: errno.Error()}
	}
	if pid <= 1 {
		return 0, hostStep("fork", fmt.Errorf("BUG(nsjail): a forked REPL says that it is process %d", pid))
	}
	return pid, nil
}
