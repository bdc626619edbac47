package warden

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/workspace"
)

// remoteREPL is a REPL that a warden has.
type remoteREPL struct {
	client  *Client
	handle  string
	context string
	lost    atomic.Bool
}

func (r *remoteREPL) call(method string) call {
	return call{Method: method, Session: r.handle, Context: r.context}
}

// Execute implements REPL.
func (r *remoteREPL) Execute(ctx context.Context, q executor.Request) (executor.Result, error) {
	x := &exchange{call: r.call("execute"), stdout: q.Stdout, stderr: q.Stderr}
	for _, path := range slices.Sorted(maps.Keys(q.InputFiles)) {
		f, err := os.Open(path)
		if err != nil {
			return executor.Result{}, &executor.InvalidError{What: "input file", Got: path, Why: err.Error()}
		}
		defer f.Close()
		x.files = append(x.files, f)
	}
	names := slices.Sorted(maps.Keys(q.InputFiles))
	for i, path := range names {
		names[i] = q.InputFiles[path]
	}
	q.InputFiles = nil
	var err error
	if x.Request, err = ask(q); err != nil {
		return executor.Result{}, err
	}
	x.Request.Given = names
	var done executedAnswer
	x.answer = &done
	if err := r.client.ask(ctx, x); err != nil {
		return executor.Result{}, err
	}
	r.lost.Store(done.Lost)
	if done.Failure != nil {
		return done.Result, done.Failure.err()
	}
	return done.Result, nil
}

// Interrupt implements REPL.
func (r *remoteREPL) Interrupt() error {
	return r.client.ask(context.Background(), &exchange{call: r.call("interrupt")})
}

// Restart implements REPL.
func (r *remoteREPL) Restart(ctx context.Context) error {
	err := r.client.ask(ctx, &exchange{call: r.call("restart")})
	if err == nil {
		r.lost.Store(false)
	}
	return err
}

// Alive implements REPL.
func (r *remoteREPL) Alive() bool {
	var alive bool
	return r.client.ask(context.Background(), &exchange{call: r.call("alive"), answer: &alive}) == nil && alive
}

// Close implements REPL.
func (r *remoteREPL) Close() error {
	return r.client.ask(context.Background(), &exchange{call: r.call("end")})
}

// remote is a Session that a warden has.
type remote struct {
	remoteREPL
	limits  executor.Limits
	preload []string

	mu    sync.Mutex
	lent  *workspace.Lent // of the cell that is the session's
	cells int             // its number
}

func (c *Client) session(made madeAnswer) *remote {
	r := &remote{remoteREPL: remoteREPL{client: c, handle: made.Handle}, limits: made.Limits, preload: made.Preload, lent: new(workspace.Lent)}
	r.lost.Store(!made.Status.Alive)
	c.learn(made.Handle)
	return r
}

// Limits implements Session.
func (r *remote) Limits() executor.Limits { return r.limits }

// Preload implements Session.
func (r *remote) Preload() []string { return r.preload }

// Lost implements Session.
func (r *remote) Lost() bool { return r.lost.Load() }

// Status implements Session.
func (r *remote) Status() (status Status, err error) {
	err = r.client.ask(context.Background(), &exchange{call: r.call("status"), answer: &status})
	return status, err
}

// Result implements Session.
func (r *remote) Result(ctx context.Context) (executor.Result, error) {
	var done executedAnswer
	if err := r.client.ask(ctx, &exchange{call: r.call("result"), answer: &done}); err != nil {
		return executor.Result{}, err
	}
	r.lost.Store(done.Lost)
	return done.Result, nil
}

// Files implements Session.
func (r *remote) Files() ([]executor.FileInfo, bool, error) {
	var list filesAnswer
	err := r.client.ask(context.Background(), &exchange{call: r.call("files"), answer: &list})
	return list.Files, list.Whole, err
}

// Entries implements Session.
func (r *remote) Entries() (entries []executor.Entry, whole bool, err error) {
	var list entriesAnswer
	err = r.client.ask(context.Background(), &exchange{call: r.call("entries"), answer: &list})
	for _, e := range list.Entries {
		e.Entry.Path = string(e.Path)
		entries = append(entries, e.Entry)
	}
	return entries, list.Whole, err
}

// OpenFile implements Session.
func (r *remote) OpenFile(path string) (*executor.File, error) {
	f, cells, err := r.client.openFile(r.at("open", path))
	if err != nil {
		return nil, err
	}
	if err := r.lend(f, cells); err != nil {
		return nil, err
	}
	return f, nil
}

// lend has a file closed when the session ends, or another cell is seen to be its.
func (r *remote) lend(f *executor.File, cells int) error {
	r.mu.Lock()
	before := r.lent
	if cells > r.cells {
		r.lent, r.cells = new(workspace.Lent), cells
	}
	lent := r.lent
	r.mu.Unlock()
	var err error
	if before != lent {
		err = before.End()
	}
	return errors.Join(err, lent.Add(f))
}

// Close implements Session.
func (r *remote) Close() error {
	r.mu.Lock()
	lent := r.lent
	r.cells = math.MaxInt
	r.mu.Unlock()
	r.client.forget(r.handle) // the next warden has it end, if this one cannot be asked
	return errors.Join(lent.End(), r.remoteREPL.Close())
}

// PutFile implements Session.
func (r *remote) PutFile(ctx context.Context, host, name string) (err error) {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return r.client.ask(ctx, &exchange{call: r.at("put", name), files: []*os.File{f}})
}

// RemoveFile implements Session.
func (r *remote) RemoveFile(ctx context.Context, path string) error {
	return r.client.ask(ctx, &exchange{call: r.at("remove", path)})
}

// MakeDir implements Session.
func (r *remote) MakeDir(ctx context.Context, path string) error {
	return r.client.ask(ctx, &exchange{call: r.at("mkdir", path)})
}

func (r *remote) at(method, path string) call {
	c := r.call(method)
	c.Path = []byte(path)
	return c
}

// NewContext implements Session.
func (r *remote) NewContext(ctx context.Context, o executor.ContextOptions) (REPL, error) {
	// A name of ours, so that one of which no answer came can be ended.
	c := r.call("context")
	c.Context, c.Asker, c.Env = newHandle(), r.client.asker, o.Env
	name := c.Context
	if err := r.client.ask(ctx, &exchange{call: c, answer: &name}); err != nil {
		lost := remoteREPL{client: r.client, handle: r.handle, context: name} // it may be there
		return nil, errors.Join(err, lost.Close())
	}
	return &remoteREPL{client: r.client, handle: r.handle, context: name}, nil
}
