package nsjail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
)

// Cell is a standing cell. Its methods are safe for concurrent use. It ends
// with Close, or with the process that owns it.
type Cell struct {
	spec  Spec
	host  layout
	steps []step

	slot      *slot
	group     *cgroup.Group // nil without the layer
	workspace *os.File
	process   *process // the init: PID 1 of the cell
	socket    *sys.Packet
	ruleset   *os.File // Landlock's, for forked REPLs; nil without
	nest      *Nest    // it stands in; nil for most

	// lending is held for reading while descriptors of the cell are sent to somebody:
	// a number that was closed meanwhile may be another's.
	lending sync.RWMutex
	shut    bool // they are closed

	// What lookAtInit found, once it has: CheckPosture waits for it.
	standing   chan []string
	looking    bool
	namespaces map[string]string // of the init; before standing has a value

	ask   sync.Mutex  // one question to the init at a time
	reply chan answer // the answer to it

	mu     sync.Mutex
	broken error               // why its init cannot be heard
	exits  map[int32]chan Exit // by PID inside the cell
	killed chan struct{}       // closed when all code is gone
	owed   int                 // orders with descriptors that the init holds or may hold
	rest   chan struct{}       // closed when there are none any more
	frozen chan struct{}       // closed when the listener has ended for HandOver

	ended     chan struct{} // closed when the init is gone
	closeOnce sync.Once
	closeErr  error
}

// Exit is how a process of a cell ended, as its PID 1 saw it.
type Exit struct {
	Status syscall.WaitStatus
	CPU    time.Duration // its own and its waited-for children's
}

// answer is a message of the init: see init.c.
type answer struct {
	kind   byte
	step   byte
	pid    int32
	status int32
	errno  int32
	cpu    time.Duration
	fd     int
}

const answerSize = 40

// The steps of run_python in init.c that can fail, in its order.
var replSteps = []string{"", "setsid", "pass-descriptors", "close-descriptors", "clear-ambient", "setresgid", "setresuid", "drop-capabilities", "dumpable", "seccomp-filter", "exec-python", "fork"}

func parseAnswer(b []byte, fds []int) (answer, error) {
	if len(b) != answerSize || len(fds) > 1 {
		return answer{}, errors.New("BUG(nsjail): malformed answer of the init")
	}
	le := binary.NativeEndian
	a := answer{kind: b[0], step: b[1], pid: int32(le.Uint32(b[4:])), status: int32(le.Uint32(b[8:])), errno: int32(le.Uint32(b[12:])), fd: -1}
	a.cpu = time.Duration(le.Uint64(b[16:])+le.Uint64(b[24:])) * time.Microsecond
	if len(fds) == 1 {
		a.fd = fds[0]
	}
	return a, nil
}

// listen takes the init's messages until it is gone, or the cell is handed over.
func (c *Cell) listen() {
	buf := make([]byte, 4096)
	for {
		n, fds, err := c.socket.Recv(buf)
		var a answer
		if err == nil {
			a, err = parseAnswer(buf[:n], fds)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.stops() {
			return
		}
		if err != nil {
			defer close(c.ended)
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				// It lives and cannot be heard: it is of no more use.
				c.mu.Lock()
				c.broken = err
				c.mu.Unlock()
				c.giveUp()
			}
			return
		}
		switch a.kind {
		case 's', 'j':
			// Registered here, before an exit can be read, so that none is lost.
			if a.errno == 0 && a.pid > 0 {
				c.expect(a.pid)
			}
			c.reply <- a
		case 'x':
			c.tell(a.pid, Exit{syscall.WaitStatus(a.status), a.cpu})
		case 'k':
			c.pass(&c.killed)
		case 'q':
			c.settled()
		}
	}
}

// post sends the init a message. Those with which it gets descriptors are
// counted, until it says that it has closed them: see awaitRest.
func (c *Cell) post(b []byte, fds ...int) error {
	counted := b[0] == 'S' || b[0] == 'A' || b[0] == 'W'
	if counted {
		c.mu.Lock()
		if c.owed == 0 {
			c.rest = make(chan struct{})
		}
		c.owed++
		c.mu.Unlock()
	}
	err := c.socket.Send(b, fds...)
	if err != nil && counted {
		c.settled()
	}
	return c.gone(err)
}

// settled notes that the init has closed what one order brought it.
func (c *Cell) settled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed == 0 {
		return
	}
	if c.owed--; c.owed == 0 {
		close(c.rest)
		c.rest = nil
	}
}

// pass lets those go on who wait for what has happened now.
func (c *Cell) pass(wait *chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *wait != nil {
		close(*wait)
		*wait = nil
	}
}

// expect makes a place for the end of a process, a fresh one: an earlier
// process may have had the number.
func (c *Cell) expect(pid int32) {
	c.mu.Lock()
	c.exits[pid] = make(chan Exit, 1)
	c.mu.Unlock()
}

// tell puts the end of a process in its place. Where nobody waits any more it
// is dropped; the listener never blocks.
func (c *Cell) tell(pid int32, e Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.exits[pid] <- e:
	default:
	}
}

// exit is where the end of a process is told; nil, which never is ready, for
// one that nobody expects.
func (c *Cell) exit(pid int32) chan Exit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exits[pid]
}

func (c *Cell) forget(pid int32) {
	c.mu.Lock()
	delete(c.exits, pid)
	c.mu.Unlock()
}

// question sends a message and waits for its answer.
func (c *Cell) question(ctx context.Context, b []byte, fds ...int) (answer, error) {
	c.ask.Lock()
	defer c.ask.Unlock()
	if err := c.post(b, fds...); err != nil {
		return answer{}, err
	}
	return c.answer(ctx)
}

// answer waits for the answer to what was sent last.
func (c *Cell) answer(ctx context.Context) (answer, error) {
	select {
	case a := <-c.reply:
		return a, nil
	case <-c.ended:
		return answer{}, c.Err()
	case <-ctx.Done():
		// The answer would come to the next question: the cell is of no more use.
		c.giveUp()
		return answer{}, ctx.Err()
	}
}

// giveUp kills the init of a cell that is of no more use, and which gets all the
// CPU that it needs to end before its Close.
func (c *Cell) giveUp() {
	if c.group != nil {
		c.group.LiftCPU()
	}
	c.process.Kill()
}

func (c *Cell) gone(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return ErrClosed
	}
	return err
}

// Workspace is the directory /workspace of the cell. What is in it was
// written by code nobody trusts: reach it only through package workspace.
// It stays readable until Close.
func (c *Cell) Workspace() *os.File { return c.workspace }

// Group is the cell's group; nil without the layer.
func (c *Cell) Group() *cgroup.Group { return c.group }

// Ended is closed when the cell has ended, for whatever reason; then Err tells
// what is known of it.
func (c *Cell) Ended() <-chan struct{} { return c.ended }

// Err is ErrClosed, with its cause where the host has one; only after Ended is
// closed.
func (c *Cell) Err() error {
	if err := c.Fault(); err != nil {
		return err
	}
	return ErrClosed
}

// Fault is why the host ended the cell by itself: it could not hear its init any
// more. Nil when nothing of the kind has happened.
func (c *Cell) Fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		return nil
	}
	return fmt.Errorf("cannot hear the cell's init: %w: %w", c.broken, ErrClosed)
}

// KillCode kills every process of the cell but its PID 1 and returns when
// all are gone. The cell and its workspace live on.
func (c *Cell) KillCode(ctx context.Context) error {
	return c.hurried(func() error { return c.killCode(ctx) })
}

// hurried waits for processes of the cell with f, and sees to it that they get the
// CPU for what f waits for.
func (c *Cell) hurried(f func() error) error {
	if c.group == nil {
		return f()
	}
	done := c.group.Hurry()
	err := f()
	if held := done(); err == nil && held != nil {
		return fmt.Errorf("cannot set the cell's limit of CPU again: %w", held)
	}
	return err
}

func (c *Cell) killCode(ctx context.Context) error {
	c.mu.Lock()
	first := c.killed == nil
	if first {
		c.killed = make(chan struct{})
	}
	done := c.killed
	c.mu.Unlock()
	if first {
		if err := c.socket.Send([]byte("K")); err != nil {
			return c.gone(err)
		}
	}
	select {
	case <-done:
		return nil
	case <-c.ended:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WriteFile writes a file of exactly size bytes into the workspace. A process
// of the cell does it, as the code's own user: what it writes is charged to
// the cell, and no path that code prepared leads anywhere else.
func (c *Cell) WriteFile(ctx context.Context, path string, mode uint32, size int64, r io.Reader) error {
	pr, pw, err := sys.Pipe()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { pw.SetDeadline(time.Now()) })
	defer stop()
	wait, err := c.job(ctx, 'W', path, mode, size, int(pr.Fd()))
	pr.Close()
	if err != nil {
		pw.Close()
		return err
	}
	_, copyErr := io.Copy(pw, r)
	pw.Close()
	if err := wait(); err != nil {
		return fmt.Errorf("cannot write %q in the workspace: %w", path, err)
	}
	if copyErr != nil {
		return fmt.Errorf("cannot write %q in the workspace: %w", path, copyErr)
	}
	return nil
}

// Remove deletes a file or an empty directory of the workspace.
func (c *Cell) Remove(ctx context.Context, path string) error {
	return c.wait(ctx, 'D', path, "remove")
}

// MkdirAll makes a directory of the workspace and those above it.
func (c *Cell) MkdirAll(ctx context.Context, path string) error {
	return c.wait(ctx, 'M', path, "make directory")
}

func (c *Cell) wait(ctx context.Context, kind byte, path, what string) error {
	wait, err := c.job(ctx, kind, path, 0, 0)
	if err == nil {
		err = wait()
	}
	if err != nil {
		return fmt.Errorf("cannot %s %q in the workspace: %w", what, path, err)
	}
	return nil
}

// job starts a file job in the cell and returns what waits for its end.
func (c *Cell) job(ctx context.Context, kind byte, path string, mode uint32, size int64, fds ...int) (func() error, error) {
	if path == "" || len(path) > 4096 {
		return nil, fmt.Errorf("%q is no path of a workspace", path)
	}
	b := binary.NativeEndian.AppendUint32([]byte{kind}, mode)
	b = binary.NativeEndian.AppendUint64(b, uint64(size))
	a, err := c.question(ctx, append(b, path...), fds...)
	if err != nil {
		return nil, err
	}
	if a.errno != 0 {
		return nil, os.NewSyscallError("fork", syscall.Errno(a.errno))
	}
	exit := c.exit(a.pid)
	return func() error {
		defer c.forget(a.pid)
		select {
		case e := <-exit:
			if e.Status.Signaled() {
				return fmt.Errorf("%w by %s", ErrWriterEnded, e.Status.Signal())
			}
			if code := e.Status.ExitStatus(); code != 0 {
				return syscall.Errno(code)
			}
			return nil
		case <-c.ended:
			return c.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

// Close ends the cell: every process in it, its mounts, its group, its
// record. It returns when they are gone, and may be called again.
func (c *Cell) Close() error {
	c.closeOnce.Do(func() { c.closeErr = c.end() })
	return c.closeErr
}

// shutDescriptors closes what the host has of a cell that is gone.
func (c *Cell) shutDescriptors() {
	c.lending.Lock()
	defer c.lending.Unlock()
	c.shut = true
	if c.process != nil {
		c.process.Close()
	}
	if c.socket != nil {
		c.socket.Close()
	}
	for _, f := range []*os.File{c.workspace, c.ruleset} {
		if f != nil {
			f.Close()
		}
	}
}

func (c *Cell) end() error {
	if c.looking {
		// lookAtInit must not look at a process that took over the PID.
		c.standing <- <-c.standing
	}
	// The init is PID 1 of its namespace: with it the kernel ends all others.
	var errs []error
	if c.process != nil {
		// All of it is dead then: whether its limit of CPU is set again is no matter.
		_ = c.hurried(func() error {
			if err := c.process.Kill(); err != nil {
				c.socket.Close() // the other way: the init ends with its lifeline
				errs = append(errs, fmt.Errorf("cannot kill the cell: %w", err))
			}
			if _, err := c.process.Wait(); err != nil {
				errs = append(errs, fmt.Errorf("cannot wait for the end of the cell: %w", err))
			}
			return nil
		})
	}
	c.spec.Trace.Mark("processes gone")
	c.shutDescriptors()
	var err error
	if c.group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), buildTime)
		defer cancel()
		err = c.group.Destroy(ctx)
	}
	switch {
	case c.slot == nil:
	case err != nil:
		c.slot.file.Close() // keep the record: a later sweep tries again
	default:
		if err := c.slot.release(); err != nil {
			errs = append(errs, fmt.Errorf("cannot forget the record of the cell: %w", err))
		}
	}
	c.spec.Trace.Mark("group and record gone")
	return errors.Join(append(errs, err)...)
}
