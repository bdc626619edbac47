package warden

import (
	"context"
	"errors"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

// Engine makes sessions and keeps them. It is safe for concurrent use. Errors are
// those of package executor and the ones below.
type Engine interface {
	// Ready returns when cells can be built, which it has tried. The first root
	// may have to be built for that, which can take minutes.
	Ready(ctx context.Context) error
	// Defaults are what a session has that asks for nothing else.
	Defaults() Defaults
	// NewSession makes a session with a Python that is ready.
	NewSession(ctx context.Context, spec Spec) (Session, error)
	// Found are the sessions that a process before this one has made.
	Found(ctx context.Context) ([]Found, error)
	// Lasting says whether sessions outlive this process, unless they are closed.
	Lasting() bool
	// Validate says what the lint finds in code.
	Validate(ctx context.Context, code string) (valid bool, issues []executor.Issue, err error)
	// Root is what sessions have installed.
	Root(ctx context.Context) (*rootfs.Root, error)
	// Renew is executor.Renew.
	Renew(ctx context.Context) error
	// Close lets go of the engine. Sessions that are not Lasting end.
	Close() error
}

// Defaults are what a session has that asks for nothing else.
type Defaults struct {
	Limits  executor.Limits `json:"limits"` // none is 0 for "default"
	Preload []string        `json:"preload"`
}

// Spec is what a session is to be. Owner, ID, Kind and Created are its maker's,
// and come back with Found; Env does not.
type Spec struct {
	Owner   string    `json:"owner"`
	ID      string    `json:"id"`
	Kind    string    `json:"kind,omitempty"` // of a protocol whose state does not last
	Created time.Time `json:"created"`

	Root    string            `json:"root,omitempty"`    // name or digest of a prepared one; "": the service's own
	Preload []string          `json:"preload,omitempty"` // none: the service's own; those that the root lacks are left out
	Limits  executor.Limits   `json:"limits"`            // 0: the default
	Env     map[string]string `json:"env,omitempty"`
}

// Found is a session that is there already.
type Found struct {
	Spec    Spec
	Session Session
	Status  Status
}

// REPL runs code, one execution after the other. It is safe for concurrent use.
// The methods are those of executor.Session.
type REPL interface {
	// Execute runs code. One whose context ended with the cause ErrDetach goes on.
	Execute(ctx context.Context, r executor.Request) (executor.Result, error)
	Interrupt() error
	Restart(ctx context.Context) error
	// Alive says whether there is a namespace that lives.
	Alive() bool
	Close() error
}

// Session is a session with all that it has.
type Session interface {
	REPL
	// Limits are those that it has.
	Limits() executor.Limits
	// Preload are the modules that it has.
	Preload() []string
	// Status is how it is now.
	Status() (Status, error)
	// Lost says whether its last execution, as far as this process was told of it,
	// took the namespace along. It asks nobody.
	Lost() bool
	// Result is what came of its last execution, also where nobody was there to be
	// told; it waits for those under way. ErrNoResult: there is none, or it is no
	// longer kept. executor.ErrClosed: the session ended first.
	Result(ctx context.Context) (executor.Result, error)

	Files() (files []executor.FileInfo, whole bool, err error)
	Entries() (entries []executor.Entry, whole bool, err error)
	OpenFile(path string) (*executor.File, error)
	PutFile(ctx context.Context, host, name string) error
	RemoveFile(ctx context.Context, path string) error
	MakeDir(ctx context.Context, path string) error
	NewContext(ctx context.Context, o executor.ContextOptions) (REPL, error)
}

// Status is how a session is.
type Status struct {
	Usage      executor.SessionUsage `json:"usage"`
	Alive      bool                  `json:"alive"`
	Running    int                   `json:"running"` // executions under way or waiting
	Executions int                   `json:"executions"`
	Used       time.Time             `json:"used"` // when the last one ended, or the session was made
}

// ErrDetach is the cause of a context whose execution is to go on without the
// process that asked for it.
var ErrDetach = errors.New("the service restarts: the code goes on, and its result can be had later")

// ErrNoResult says that no result of a session is kept.
var ErrNoResult = errors.New("no result is kept: nothing was executed yet, or it was long ago and large")

// ErrExhausted says that a bound of the engine's is reached.
var ErrExhausted = errors.New("the bound of sessions, or of their memory, is reached")
