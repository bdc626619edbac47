// Package template keeps a warm template: a Python that has imported what every
// session is to have, in a nest (package nsjail), from which REPLs are forked
// into cells; and a few cells ahead of need.
//
//	k := template.New(template.Options{Spec: spec, Modules: modules, Size: 2})
//	defer k.Close()
//	cell, err := k.Cell(ctx, nil)
//	proc, err := k.Fork(ctx, cell)
//	err = cell.CheckPosture(proc)
//
// It knows neither sessions nor results (package executor), and enters no
// namespace itself (package nsjail, and fork.c).
package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/nsjail"
)

// startTime bounds the start of a template and each import.
const startTime = 2 * time.Minute

// template is one process that REPLs are forked from. It is safe for concurrent
// use; forks happen one after the other.
type template struct {
	proc *nsjail.Process

	mu     sync.Mutex // one message at a time
	socket *net.UnixConn
}

// start starts a template in the nest, imports the modules, and makes it serve.
func start(ctx context.Context, nest *nsjail.Nest, plan *nsjail.ForkPlan, modules []Module) (_ *template, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	proc, err := nest.StartTemplate(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = proc.Signal(syscall.SIGKILL)
			proc.Close()
		}
	}()
	proc.Stdin.Close()
	// What it prints is nobody's output. Read it, or it would wait for that.
	for _, f := range []*os.File{proc.Stdout, proc.Stderr} {
		go io.Copy(io.Discard, f)
	}
	conn, err := repl.FromFile(proc.Control)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if _, err := conn.Ready(ctx); err != nil {
		return nil, fmt.Errorf("cannot start the template: %w", err)
	}
	if err := conn.PrepareTemplate(ctx); err != nil {
		return nil, fmt.Errorf("cannot make a template of Python: %w", err)
	}
	oneThread := func(m Module) error {
		threads, err := os.ReadDir("/proc/" + strconv.Itoa(proc.PID) + "/task")
		if err != nil {
			return &PreloadError{Module: m, Message: err.Error()}
		}
		if len(threads) != 1 {
			return &PreloadError{Module: m, Message: fmt.Sprintf("it started %d threads, which no forked session would have", len(threads)-1)}
		}
		return nil
	}
	if err := Import(ctx, conn, modules, oneThread); err != nil {
		return nil, err
	}
	socket, err := conn.Template(ctx, plan.Bytes())
	if err != nil {
		return nil, fmt.Errorf("cannot make a template of Python: %w", err)
	}
	return &template{proc: proc, socket: socket}, nil
}

// ask sends it the descriptors of one fork.
func (t *template) ask(fds ...int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _, err := t.socket.WriteMsgUnix([]byte{'f'}, syscall.UnixRights(fds...), nil)
	if errors.Is(err, net.ErrClosed) {
		// It died and was replaced meanwhile. An error of a step keeps its errno only.
		return os.NewSyscallError("sendmsg", syscall.EPIPE)
	}
	return err
}

// dead says whether it cannot fork any more.
func (t *template) dead() bool {
	select {
	case <-t.proc.Ended():
		return true
	default:
		return false
	}
}

// end ends the process; REPLs that were forked from it live on.
func (t *template) end() {
	t.socket.Close() // it exits by itself
	_ = t.proc.Signal(syscall.SIGKILL)
	t.proc.Close()
}

// lost says that err may come from the end of the template and not of the cell.
func lost(err error) bool {
	return errors.Is(err, nsjail.ErrNotForked) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
