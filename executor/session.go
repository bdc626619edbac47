package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/internal/workspace"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// readyTime bounds the start of a REPL. Python takes some 10 ms; a machine
// that is short of everything takes longer.
const readyTime = 30 * time.Second

// preloadTime bounds the imports of Config.Preload in a fresh REPL.
const preloadTime = 2 * time.Minute

// SessionOptions say what a session is beyond its executor's Config.
type SessionOptions struct {
	// ID appears in results; it need not be unique.
	ID string
	// Folder on the host mirrors the workspace; "" means none.
	Folder string
	// Dirs are given to the cell when it starts.
	Dirs []Dir
	// Limits of this session, where they are not the executor's.
	Limits Limits
	// Env is added to the environment of the session's code.
	Env map[string]string
}

// Session is a cell with a REPL and a workspace. Its executions are
// serialised: it is safe for concurrent use, and a call that waits for its
// turn honours its context.
type Session struct {
	ex      *Executor
	cfg     Config // the executor's, with the session's own limits
	options SessionOptions
	of      *Session      // whose cell it runs in; nil: its own (see Context)
	turn    chan struct{} // holds one token while nobody executes

	// What follows belongs to who holds the turn; cell, work and mirror change
	// under mu as well, so that files can be had while code runs.
	ground    *ground
	cell      *nsjail.Cell
	staged    []*workspace.Staged
	work      *workspace.Dir
	folder    *workspace.Dir
	mirror    *workspace.Mirror
	conn      *repl.Conn
	execution int
	spent     bool         // the REPL has finished its program
	lost      bool         // one has ended that was handed over, or was to be
	oomKills  int64        // of the cell's group, after the last execution
	given     map[Dir]bool // directories that the cell has

	mu       sync.Mutex
	proc     *nsjail.Process // nil while there is no REPL
	closed   bool
	living   *nsjail.Cell // cell, for Close from another goroutine
	cells    int          // how many there were
	tenants  *tenants     // of the cell
	contexts map[*Session]bool

	closeOnce sync.Once // who closes it once more waits for the first
	closeErr  error
}

// NewSession makes a session. Its cell is built by the first execution.
func (e *Executor) NewSession(ctx context.Context, o SessionOptions) (*Session, error) {
	if o.ID != "" && !isSessionID(o.ID) {
		return nil, Request{SessionID: o.ID}.check()
	}
	cfg := o.Limits.apply(e.cfg)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := checkEnv(o.Env); err != nil {
		return nil, err
	}
	s := &Session{ex: e, cfg: cfg, options: o, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if err := e.adopt(s); err != nil {
		return nil, err
	}
	return s, nil
}

// take waits for the session's turn.
func (s *Session) take(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		s.give()
		return ErrClosed
	}
	return nil
}

func (s *Session) give() { s.turn <- struct{}{} }

func (s *Session) startCell(ctx context.Context, dirs []Dir) (err error) {
	if s.of != nil {
		return s.borrow(ctx)
	}
	cfg := s.cfg
	g, err := s.ex.stand(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ground = g
	s.mu.Unlock()
	cfg.Trace.Mark("root found")
	inputs, err := s.stage(ctx, append(append([]Dir{}, s.options.Dirs...), dirs...))
	if err != nil {
		return err
	}
	cell, proc, err := s.buildCell(ctx, inputs)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cell, s.living, s.proc, s.tenants = cell, cell, proc, newTenants()
	s.cells++
	if proc != nil {
		s.tenants.enter(proc)
	}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	work, err := workspace.Open(int(cell.Workspace().Fd()))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.work = work
	s.mu.Unlock()
	if s.options.Folder != "" {
		if s.folder, err = workspace.OpenFolder(s.options.Folder); err != nil {
			return err
		}
	}
	mirror, err := workspace.NewMirror(s.work, s.folder, s.copyLimits())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mirror = mirror
	s.mu.Unlock()
	return nil
}

// buildCell gives a cell, and a REPL that starts in it but where it is to be
// forked from the template.
func (s *Session) buildCell(ctx context.Context, inputs []nsjail.Input) (*nsjail.Cell, *nsjail.Process, error) {
	spec := s.cfg.spec(s.ground.root, s.ex.without)
	spec.Inputs = inputs
	if s.ground.keeper == nil {
		return nsjail.StartWithREPL(ctx, spec)
	}
	own := &spec
	if len(inputs) == 0 && s.options.Limits == (Limits{}) {
		own = nil // as all others: one of the pool does
	}
	cell, err := s.ground.keeper.Cell(ctx, own)
	return cell, nil, err
}

// spec is what the cells of this configuration are.
func (c Config) spec(root *rootfs.Root, without []nsjail.Layer) nsjail.Spec {
	return nsjail.Spec{
		Root:           root.Dir,
		Python:         root.Python,
		Args:           repl.Bootstrap(root.SysPath),
		Env:            environ(c.Env),
		Limits:         cgroup.Limits{MemoryBytes: int64(c.MaxMemoryMB) << 20, PIDs: int64(c.PIDs), CPUs: c.CPUs, CPUWeight: c.CPUWeight},
		CgroupParent:   c.CgroupParent,
		Scope:          c.Scope,
		WorkspaceBytes: c.WorkspaceBytes,
		WorkspaceFiles: c.WorkspaceFiles,
		Without:        without,
		RuntimeDir:     c.RuntimeDir,
		Trace:          c.Trace,
	}
}

// newREPL starts a Python in the cell, or forks one into it if no code runs there.
func (s *Session) newREPL(ctx context.Context) (*nsjail.Process, error) {
	if s.ground.keeper == nil || !s.tenants.isQuiet() {
		return s.cell.StartREPL(ctx)
	}
	return s.ground.keeper.Fork(ctx, s.cell)
}

// startREPL starts a Python in the cell and hands it over only when the kernel
// says of it what the cell promises.
func (s *Session) startREPL(ctx context.Context) error {
	if err := s.checkedREPL(ctx); err != nil {
		return err
	}
	if !s.proc.Forked() {
		if err := s.preload(ctx); err != nil {
			return err
		}
	}
	return s.setEnv(ctx)
}

// checkedREPL starts a Python and checks its posture.
func (s *Session) checkedREPL(ctx context.Context) error {
	cfg, t := s.cfg, s.tenants
	t.starting.Lock()
	defer t.starting.Unlock()
	s.mu.Lock()
	proc := s.proc // of a cell that was just built
	s.mu.Unlock()
	var err error
	if proc == nil {
		if proc, err = s.newREPL(ctx); err != nil {
			return err
		}
		t.enter(proc)
		s.mu.Lock()
		s.proc = proc
		s.mu.Unlock()
	}
	cfg.Trace.Mark("python exec'ed")
	if s.conn, err = repl.FromFile(proc.Control); err != nil {
		return err
	}
	rctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if _, err := s.conn.Ready(rctx); err != nil {
		return s.startFailure(err)
	}
	cfg.Trace.Mark("REPL ready")
	if s.oomKills, err = limitData(proc, s.cell.Group(), int64(cfg.MaxMemoryMB)<<20); err != nil {
		return err
	}
	err = s.cell.CheckPosture(proc)
	cfg.Trace.Mark("posture checked")
	if err != nil {
		return err
	}
	return proc.WidenStack()
}

// setEnv gives the REPL the session's own variables.
func (s *Session) setEnv(ctx context.Context) error {
	if len(s.options.Env) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return s.conn.SetEnv(ctx, variables(s.options.Env))
}

// preload imports what is preloaded, where no template has.
func (s *Session) preload(ctx context.Context) error {
	if len(s.ground.preload) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, preloadTime)
	defer cancel()
	return template.Import(ctx, s.conn, s.ground.preload, nil)
}

// startFailure says why a REPL did not get ready.
func (s *Session) startFailure(err error) error {
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	select {
	case <-s.proc.Ended():
		if isClosed(s.cell.Ended()) {
			err = s.cell.Err()
			break
		}
		out := stream{file: s.proc.Stderr, keep: 4096}
		out.start()
		out.finish()
		err = fmt.Errorf("the interpreter ended before it was ready (%s): %s", describe(s.proc.Exit().Status), out.kept)
	case <-wait.C:
	}
	return fmt.Errorf("cannot start Python in the cell: %w", err)
}

// endREPL kills what the session's REPL runs (see tenants.kill) and forgets it.
// The cell and its workspace stay.
func (s *Session) endREPL() {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	if s.cell != nil {
		if _, err := s.killREPL(ctx); err != nil && !errors.Is(err, nsjail.ErrClosed) {
			s.cell.Close()
			s.endCell()
			return
		}
	}
	s.dropREPL()
}

func (s *Session) dropREPL() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	s.spent = false
	s.mu.Lock()
	proc, t := s.proc, s.tenants
	s.proc = nil
	s.mu.Unlock()
	if proc != nil {
		t.leave(proc)
		proc.Close()
	}
}

// endCell ends all; a context's cell is its session's to end. The folder on the
// host stays.
func (s *Session) endCell() error {
	var err error
	s.mu.Lock()
	cell, work, g := s.cell, s.work, s.ground
	s.cell, s.living, s.work, s.mirror, s.ground = nil, nil, nil, nil, nil
	s.mu.Unlock()
	if s.of != nil {
		s.dropREPL()
		return nil
	}
	if cell != nil {
		err = cell.Close()
	}
	s.dropREPL()
	for _, d := range []*workspace.Dir{work, s.folder} {
		if d != nil {
			d.Close()
		}
	}
	s.folder, s.given = nil, nil
	for _, st := range s.staged {
		st.Close()
	}
	s.staged = nil
	if g != nil {
		err = errors.Join(err, s.ex.leave(g))
	}
	return err
}

// Interrupt sends the code that runs a KeyboardInterrupt. The namespace lives
// on. It does nothing when no code runs.
func (s *Session) Interrupt() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	return s.proc.Signal(syscall.SIGINT)
}

// Complete returns the names that text can be completed to.
func (s *Session) Complete(ctx context.Context, text string) ([]string, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.give()
	if _, err := s.ready(ctx, nil); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	names, err := s.conn.Complete(ctx, text)
	if err != nil {
		// The channel is of no more use: completion ran code that hangs.
		s.endREPL()
	}
	return names, err
}

// Check says whether source, as typed so far, is "complete", "incomplete" or
// "invalid".
func (s *Session) Check(ctx context.Context, source string) (string, error) {
	if err := s.take(ctx); err != nil {
		return "", err
	}
	defer s.give()
	if _, err := s.ready(ctx, nil); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	state, err := s.conn.Check(ctx, source)
	if err != nil {
		s.endREPL()
	}
	return state, err
}

// Alive says whether the session has a REPL whose namespace lives.
func (s *Session) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && !isClosed(s.proc.Ended())
}

// Cells is how many cells the session has had. Each begins with an empty workspace.
func (s *Session) Cells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells
}

// Close ends the session's cell, also in the middle of an execution, and
// returns when nothing of it is left but the folder.
func (s *Session) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.end() })
	return s.closeErr
}

func (s *Session) end() error {
	s.mu.Lock()
	s.closed = true
	cell, contexts := s.living, slices.Collect(maps.Keys(s.contexts))
	s.mu.Unlock()
	if s.of != nil {
		return s.closeContext()
	}
	if cell != nil {
		cell.Close() // what waits for the code returns
	}
	for _, c := range contexts {
		c.Close()
	}
	<-s.turn
	err := s.endCell()
	s.give()
	s.ex.drop(s)
	return err
}
