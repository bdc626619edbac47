package mcp

import (
	"context"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

// Sandbox is what the tools of one conversation work in: a session that is made
// when it is first needed. It is safe for concurrent use. Its errors are told to
// the model as they are.
type Sandbox interface {
	// Execute runs code in the session, one request after another. As with
	// executor.Session, a Result may come with the error of a context that ended.
	Execute(ctx context.Context, r executor.Request) (executor.Result, error)
	// Files and OpenFile make no session: without one there is no file.
	Files(ctx context.Context) (files []executor.FileInfo, whole bool, err error)
	OpenFile(ctx context.Context, path string) (*executor.File, error)
	PutFile(ctx context.Context, path string, content []byte) error
	// Validate says what the lint finds.
	Validate(ctx context.Context, code string) (valid bool, issues []executor.Issue, err error)
	// Root is what a session has installed.
	Root(ctx context.Context) (*rootfs.Root, error)
	// Discard ends the session, if there is one, with its files. The next call
	// makes another.
	Discard() error
	// Close is Discard for good.
	Close() error
}

// Limits are what a model is told of a session's.
type Limits struct {
	Timeout        time.Duration // of an execution that names none
	MaxTimeout     time.Duration // that one may name
	MemoryBytes    int64
	WorkspaceBytes int64
	Processes      int
	UploadBytes    int64 // of one upload
}
