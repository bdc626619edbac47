package nsjail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/handover"
)

// CellState is what a process needs to know of a cell to take it over from another
// one: see HandOver and TakeOver. Descriptors are numbers of a handover.Load.
type CellState struct {
	Spec       Spec
	Nest       bool // it is one
	Nested     bool // it stands in one
	Mknod      bool // its devices are of its own
	Slot       int
	PID        int // of its init, on this host
	Groups     []string
	Identities []uint64

	Record    int // the lock on its number
	Socket    int // its lifeline
	Init      int // a pidfd
	Workspace int
	Ruleset   int
}

// ProcessState is the same of a REPL.
type ProcessState struct {
	PID     int // on this host
	Inner   int32
	Forked  bool
	Pidfd   int
	Control int
	Stdin   int
	Stdout  int
	Stderr  int
}

// HandOver has nobody hear the cell's init any more, so that all that it says from now
// on is for the process that takes the cell over. Until Thaw the cell can do nothing
// but end. Nothing may be under way in it: the caller sees to that. An error leaves
// the cell as it was.
func (c *Cell) HandOver(ctx context.Context, load *handover.Load) (_ CellState, err error) {
	if len(c.spec.Inputs) > 0 {
		return CellState{}, errors.New("cannot hand over a cell with directories of the host")
	}
	c.standing <- <-c.standing // who looks at its init has looked
	c.ask.Lock()
	defer func() {
		if err != nil {
			c.ask.Unlock()
		}
	}()
	if err := c.freeze(ctx); err != nil {
		return CellState{}, err
	}
	defer func() {
		if err != nil {
			c.resume()
		}
	}()
	spec := c.spec
	spec.Trace = nil
	s := CellState{Spec: spec, Nest: c.host.nest, Nested: c.host.nested, Mknod: c.host.mknod, Slot: c.slot.n, PID: c.process.Pid, Record: handover.None}
	if c.group != nil {
		s.Groups = c.group.Paths()
		if s.Identities, err = cgroup.Identities(s.Groups); err != nil {
			return s, fmt.Errorf("cannot hand over the group: %w", err)
		}
	}
	for _, d := range []struct {
		to   *int
		file *os.File
	}{{&s.Record, c.slot.file}, {&s.Socket, c.socket.File()}, {&s.Init, c.process.pidfd}, {&s.Workspace, c.workspace}, {&s.Ruleset, c.ruleset}} {
		if *d.to, err = load.Add(d.file); err != nil {
			return s, err
		}
	}
	return s, nil
}

// freeze ends the listener between two messages. The caller holds ask.
func (c *Cell) freeze(ctx context.Context) error {
	c.mu.Lock()
	rest, killing := c.rest, c.killed != nil
	c.mu.Unlock()
	if killing {
		return errors.New("cannot hand over a cell whose code is being killed")
	}
	if rest != nil {
		select {
		case <-rest:
		case <-c.ended:
		case <-ctx.Done():
			return fmt.Errorf("cannot hand over a cell whose init has not finished: %w", ctx.Err())
		}
	}
	c.mu.Lock()
	c.frozen = make(chan struct{})
	frozen := c.frozen
	c.mu.Unlock()
	if err := c.socket.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return c.gone(err)
	}
	select {
	case <-frozen:
		return nil
	case <-c.ended:
		return c.Err()
	}
}

// stops says whether the listener has been told to end, and ends the wait for that.
func (c *Cell) stops() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen == nil {
		return false
	}
	close(c.frozen)
	c.frozen = nil
	return true
}

func (c *Cell) resume() {
	if c.socket.SetReadDeadline(time.Time{}) == nil {
		go c.listen()
	}
}

// Thaw undoes HandOver: nobody has taken the cell over.
func (c *Cell) Thaw() {
	c.resume()
	c.ask.Unlock()
}

// HandOver is what the process that takes over this REPL's cell needs of it. The cell
// is frozen already. alive is false where the REPL has ended; then there is nothing to
// be handed over. control is the host's end of its control channel.
func (p *Process) HandOver(load *handover.Load, control *os.File) (s ProcessState, alive bool, err error) {
	// What the init had said of its end is with the process or on its way there.
	if exit := p.cell.exit(p.inner); exit == nil || len(exit) > 0 {
		<-p.ended
	}
	select {
	case <-p.ended:
		return s, false, nil
	default:
	}
	s = ProcessState{PID: p.PID, Inner: p.inner, Forked: p.forked}
	p.mu.Lock()
	pidfd := p.pidfd
	p.mu.Unlock()
	for _, d := range []struct {
		to   *int
		file *os.File
	}{{&s.Pidfd, pidfd}, {&s.Control, control}, {&s.Stdout, p.Stdout}, {&s.Stderr, p.Stderr}} {
		if *d.to, err = load.Add(d.file); err != nil {
			return s, true, err
		}
	}
	// It is at its end from the first execution on.
	if s.Stdin, err = load.Add(p.Stdin); errors.Is(err, os.ErrClosed) {
		s.Stdin, err = handover.None, nil
	}
	return s, true, err
}

// HandOver is Cell.HandOver for the nest.
func (n *Nest) HandOver(ctx context.Context, load *handover.Load) (CellState, error) {
	return n.cell.HandOver(ctx, load)
}

// Thaw is Cell.Thaw for the nest.
func (n *Nest) Thaw() { n.cell.Thaw() }
