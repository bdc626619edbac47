package nsjail

import (
	"context"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
)

// Nest is a user namespace without any capability on the host, in which a
// template and cells stand. A process may enter the namespaces of a cell only
// with a capability over them, which whoever owns the user namespace that they
// are nested in has, and nobody else but the host. So a template that lives in
// a nest can fork REPLs into cells of that nest.
//
// Its methods are safe for concurrent use. Its end, by Close or by itself, is
// the end of all cells in it.
type Nest struct{ cell *Cell }

// StartNest builds a nest. The spec's Root and Python are those of the
// template, Limits what builder and template may use together; it must be
// what cells are made with otherwise.
func StartNest(ctx context.Context, spec Spec) (*Nest, error) {
	host, err := hostOnce()
	if err != nil {
		return nil, hostStep("look-at-host", err)
	}
	if host.rootless {
		return nil, &StepError{Step: "nest", Index: -1, Errno: syscall.EPERM, Text: "a template needs CAP_SYS_ADMIN on the host: do without one here"}
	}
	// Nobody in the nest can raise it again, and sessions may have more.
	spec.FileBytes = math.MaxInt64
	c, err := start(ctx, spec, birth{nest: true})
	if err != nil {
		return nil, err
	}
	found := <-c.standing
	c.standing <- found
	if len(found) > 0 {
		c.Close()
		return nil, &PostureError{found}
	}
	return &Nest{c}, nil
}

// Start is package nsjail's Start, in the nest.
func (n *Nest) Start(ctx context.Context, spec Spec) (*Cell, error) {
	return start(ctx, spec, birth{in: n})
}

// StartTemplate starts the Python of a template. It has the streams of a REPL
// and no filter, for it runs trusted code only.
func (n *Nest) StartTemplate(ctx context.Context) (*Process, error) { return n.cell.StartREPL(ctx) }

// Ended is closed when the nest has ended, for whatever reason.
func (n *Nest) Ended() <-chan struct{} { return n.cell.ended }

// Group is the group of builder and template; nil without the layer.
func (n *Nest) Group() *cgroup.Group { return n.cell.group }

// Close ends the nest and every cell in it.
func (n *Nest) Close() error { return n.cell.Close() }

// cloneIn has the nest's init clone this cell's.
func (c *Cell) cloneIn(n *Nest, fds *passed) error {
	ours, theirs, err := sys.Pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return hostStep("socket", err)
	}
	defer theirs.Close()
	c.nest, c.socket = n, sys.NewPacket(ours)
	if err := ours.SetReadDeadline(time.Now().Add(buildTime)); err != nil {
		return hostStep("socket", err)
	}
	defer ours.SetReadDeadline(time.Time{})
	var doors []*os.File
	if c.group != nil {
		if doors, err = c.group.Doors(); err != nil {
			return hostStep("group", err)
		}
		defer closeAll(doors)
	}
	message := append([]byte{'C', byte(len(doors))}, c.slot.ids()...)
	all := numbers(append(append([]*os.File{theirs}, doors...), fds.files...))
	if err := n.cell.socket.Send(message, all...); err != nil {
		return hostStep("nest", n.cell.gone(err))
	}
	theirs.Close()
	return c.takeOver()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func numbers(files []*os.File) []int {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	return fds
}
