package nsjail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Process is a REPL of a cell. One goroutine may wait for it while others
// use its streams.
type Process struct {
	PID     int // on the host
	Stdin   *os.File
	Stdout  *os.File
	Stderr  *os.File
	Control *os.File

	cell   *Cell
	forked bool // from a template
	inner  int32
	ended  chan struct{}
	status Exit

	mu    sync.Mutex // a signal and Close take turns: a descriptor's number may become another's
	pidfd *os.File   // nil once closed
}

// StartREPL starts a Python in the cell. The caller checks its posture
// before it sends a byte that nobody trusts.
func (c *Cell) StartREPL(ctx context.Context) (*Process, error) {
	c.ask.Lock()
	defer c.ask.Unlock()
	p, err := c.order()
	if err != nil {
		return nil, err
	}
	return c.receive(ctx, p)
}

// StartWithREPL is Start and StartREPL in one: the init finds the order for a
// REPL when it has finished the plan, and need not wait for the host.
func StartWithREPL(ctx context.Context, spec Spec) (*Cell, *Process, error) {
	var p *Process
	c, err := start(ctx, spec, birth{behind: func(c *Cell) (err error) {
		p, err = c.order()
		return err
	}})
	if err == nil {
		c.ask.Lock()
		defer c.ask.Unlock()
		if p, err = c.receive(ctx, p); err == nil {
			return c, p, nil
		}
		c.Close()
	} else if p != nil {
		p.closeStreams()
	}
	return nil, nil, err
}

// order makes a REPL's streams and asks the init for the process.
func (c *Cell) order() (*Process, error) {
	p, theirs, err := c.streams()
	if err != nil {
		return nil, err
	}
	defer closeAll(theirs[:])
	if err := c.post([]byte("S"), numbers(theirs[:])...); err != nil {
		p.closeStreams()
		return nil, orderFailure(err)
	}
	return p, nil
}

func orderFailure(err error) error {
	if err == ErrClosed {
		return err
	}
	return hostStep("order-repl", err)
}

// streams makes a REPL's streams: the host's ends, and its own, in the order of
// their numbers.
func (c *Cell) streams() (p *Process, theirs [4]*os.File, err error) {
	p = &Process{cell: c, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			p.closeStreams()
			closeAll(theirs[:])
		}
	}()
	if theirs[0], p.Stdin, err = sys.Pipe(); err != nil {
		return p, theirs, hostStep("pipe", err)
	}
	if p.Stdout, theirs[1], err = sys.Pipe(); err != nil {
		return p, theirs, hostStep("pipe", err)
	}
	if p.Stderr, theirs[2], err = sys.Pipe(); err != nil {
		return p, theirs, hostStep("pipe", err)
	}
	p.Control, theirs[3], err = sys.Pair(syscall.SOCK_STREAM)
	return p, theirs, hostStep("socket", err)
}

// receive waits for the process that was ordered.
func (c *Cell) receive(ctx context.Context, p *Process) (_ *Process, err error) {
	defer func() {
		if err != nil {
			p.closeStreams()
		}
	}()
	a, err := c.answer(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot start a REPL: %w", err)
	}
	if a.fd >= 0 {
		p.pidfd = os.NewFile(uintptr(a.fd), "pidfd")
	}
	if a.errno != 0 {
		if p.pidfd != nil {
			p.pidfd.Close()
		}
		step := "unknown"
		if int(a.step) < len(replSteps) {
			step = replSteps[a.step]
		}
		return nil, hostStep(step, os.NewSyscallError(step, syscall.Errno(a.errno)))
	}
	if p.pidfd == nil {
		return nil, hostStep("start-repl", errors.New("BUG(nsjail): the init sent no pidfd"))
	}
	if p.PID, err = pidOf(p.pidfd); err != nil {
		p.pidfd.Close()
		return nil, hostStep("start-repl", err)
	}
	p.inner = a.pid
	go p.watch(c.exit(a.pid))
	return p, nil
}

// pidOf reads the PID on the host of a pidfd's process.
func pidOf(pidfd *os.File) (int, error) {
	info, err := sys.ReadControl("/proc/self/fdinfo/" + strconv.Itoa(int(pidfd.Fd())))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(info, "\nPid:\t")
	if !ok {
		return 0, errors.New("the kernel tells no PID of a pidfd")
	}
	line, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid <= 0 {
		return 0, fmt.Errorf("the REPL ended at once (pid %q)", line)
	}
	return pid, nil
}

// WidenStack lets the main thread's stack grow as far as anywhere else. The C
// library took the size of thread stacks from the smaller limit at start.
func (p *Process) WidenStack() error {
	_, err := sys.Prlimit(p.PID, sys.RlimitStack, &sys.Rlimit{Soft: mainStack, Hard: mainStack})
	return hostStep("widen-stack", err)
}

func (p *Process) watch(exit <-chan Exit) {
	defer close(p.ended)
	select {
	case p.status = <-exit:
	case <-p.cell.ended:
		// The kernel killed it with its cell.
		p.status = Exit{Status: syscall.WaitStatus(syscall.SIGKILL)}
	}
	p.cell.forget(p.inner)
}

// Forked says that it came from a template.
func (p *Process) Forked() bool { return p.forked }

// Ended is closed when the process has ended; then Exit tells how.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Exit is how it ended; only after Ended is closed.
func (p *Process) Exit() Exit { return p.status }

// Signal sends a signal to the process.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return os.ErrProcessDone
	}
	return sys.PidfdSignal(int(p.pidfd.Fd()), sig)
}

// Kill ends the process with all that is in its process group, and returns when
// it has ended. What has left the group lives on, until KillCode.
func (p *Process) Kill(ctx context.Context) error {
	if err := p.cell.post(binary.NativeEndian.AppendUint32([]byte("G"), uint32(p.inner))); err != nil {
		return err
	}
	return p.cell.hurried(func() error {
		select {
		case <-p.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Close closes the host's ends of its streams. It ends no process: that is
// for Kill, and for KillCode and Close of the cell.
func (p *Process) Close() {
	p.closeStreams()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd != nil {
		p.pidfd.Close()
		p.pidfd = nil
	}
}

func (p *Process) closeStreams() {
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr, p.Control} {
		if f != nil {
			f.Close()
		}
	}
}
