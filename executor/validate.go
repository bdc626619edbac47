package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/validator"
)

// ValidateImports looks at code and says whether the validator finds nothing
// to object to. It is a lint and never the boundary.
func (e *Executor) ValidateImports(ctx context.Context, code string) (bool, []Issue, error) {
	return e.checker.Validate(ctx, []byte(code))
}

// Validator is the one that ValidateImports and Request.Validate use, with
// AddBlockedImport, RemoveBlockedImport and IsBlocked.
func (e *Executor) Validator() *validator.Validator { return e.checker }

// refuse gives the issues that keep a request from running; nil when none do.
func (e *Executor) refuse(ctx context.Context, r Request) ([]Issue, error) {
	valid, issues, err := e.checker.Validate(ctx, []byte(r.Code))
	if err != nil || valid {
		return nil, err
	}
	return issues, nil
}

// refused is the Result of a request that the validator stopped.
func (s *Session) refused(issues []Issue) Result {
	r := Result{Namespace: map[string]Variable{}, CreatedFiles: []string{}, Results: []Bundle{}, Files: []FileChange{}, Verdict: VerdictRefused, ReturnCode: -1, Issues: issues}
	r.Session = SessionResult{ID: s.options.ID, Execution: s.execution}
	message := "Refused by the validator"
	for i, issue := range issues {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		message += fmt.Sprintf("%s%s (line %d)", sep, issue.Message, issue.Line)
	}
	r.Error = &message
	return r
}

// parserLimits are those of the cell in which source is parsed.
var parserLimits = cgroup.Limits{MemoryBytes: 256 << 20, PIDs: 8, CPUs: 1}

// parserCell is the validator's process: closing it ends its cell.
type parserCell struct {
	*os.File
	cell *nsjail.Cell
	proc *nsjail.Process
	// leave gives its ground back, once.
	leave func() error
	once  sync.Once
}

func (p *parserCell) Close() error {
	var err error
	p.once.Do(func() {
		err = p.cell.Close()
		p.proc.Close()
		err = errors.Join(err, p.leave())
	})
	return err
}

// startParser starts the reader of syntax trees in a cell of its own, and
// checks its posture once it has shown, by an answer, that it is past its lock.
func (e *Executor) startParser(ctx context.Context) (_ validator.Conn, err error) {
	g, err := e.stand(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.leave(g))
		}
	}()
	cell, proc, err := nsjail.StartWithREPL(ctx, nsjail.Spec{
		Root:           g.root.Dir,
		Python:         g.root.Python,
		Args:           []string{"-I", "-S", "-B", "-X", "utf8", factsPath},
		Env:            environ(nil),
		Limits:         parserLimits,
		CgroupParent:   e.cfg.CgroupParent,
		Scope:          e.cfg.Scope,
		WorkspaceBytes: 1 << 20,
		WorkspaceFiles: 16,
		Without:        e.without,
		RuntimeDir:     e.cfg.RuntimeDir,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			cell.Close()
		}
	}()
	conn := &parserCell{File: proc.Control, cell: cell, proc: proc, leave: func() error { return e.leave(g) }}
	if err := validator.NewPipe(conn).Ready(ctx); err != nil {
		return nil, fmt.Errorf("the parser does not answer: %w", err)
	}
	if err := cell.CheckPosture(proc); err != nil {
		return nil, err
	}
	return conn, nil
}
