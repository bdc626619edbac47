package mcp

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cellblock/cellblock/executor"
)

// errInterrupted ends executions that the tool interrupt, or reset, stops.
var errInterrupted = errors.New("interrupted")

// conversation is one MCP session: its sandbox, what runs in it, and what of
// its results can still be read.
type conversation struct {
	box Sandbox
	end func() error // stops all and ends the session for good; a second call waits for the first

	mu         sync.Mutex
	running    map[*execution]bool
	executions int  // that ended, of this conversation
	lived      bool // the session has executed something that a new one would not know
	kept       keptResults
	ended      bool
}

// execution is one that runs or waits.
type execution struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

func newConversation(box Sandbox, kept *atomic.Int64) *conversation {
	c := &conversation{box: box, running: map[*execution]bool{}, kept: keptResults{all: kept}}
	c.end = sync.OnceValue(c.finish)
	return c
}

// outcome is a result, with what only the conversation knows about it.
type outcome struct {
	executor.Result
	number      int
	interrupted bool
	renewed     bool // the session before this one is gone, files and all
}

// execute runs a request so that interrupt can stop it.
func (c *conversation) execute(ctx context.Context, r executor.Request) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	x := &execution{cancel, make(chan struct{})}
	c.mu.Lock()
	c.running[x] = true
	c.mu.Unlock()
	defer func() {
		cancel(nil)
		c.mu.Lock()
		delete(c.running, x)
		c.mu.Unlock()
		close(x.done)
	}()
	result, err := c.box.Execute(ctx, r)
	out := outcome{Result: result}
	if err != nil {
		if !errors.Is(context.Cause(ctx), errInterrupted) {
			return out, err
		}
		if result.Verdict == "" {
			return out, errors.New("interrupted while it waited for its turn: nothing was run")
		}
		out.interrupted = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.executions++
	out.number = c.executions
	if result.Verdict != executor.VerdictRefused {
		out.renewed = c.lived && result.Session.Execution == 1
		c.lived = true
	}
	if !c.ended {
		c.kept.add(out.number, result)
	}
	return out, nil
}

// interrupt stops what runs and drops what waits; it returns when that has
// happened, and says how many there were.
func (c *conversation) interrupt(ctx context.Context) int {
	c.mu.Lock()
	var all []*execution
	for x := range c.running {
		all = append(all, x)
	}
	c.mu.Unlock()
	for _, x := range all {
		x.cancel(errInterrupted)
	}
	for _, x := range all {
		select {
		case <-x.done:
		case <-ctx.Done():
		}
	}
	return len(all)
}

// reset starts anew, with the files or without.
func (c *conversation) reset(ctx context.Context, deleteFiles bool) (err error) {
	c.interrupt(ctx)
	if deleteFiles {
		err = c.box.Discard()
		c.mu.Lock()
		c.lived = false
		c.kept.clear()
		c.mu.Unlock()
		return err
	}
	c.mu.Lock()
	lived := c.lived
	c.mu.Unlock()
	if !lived {
		return nil
	}
	_, err = c.box.Execute(ctx, executor.Request{FreshNamespace: true, NoResults: true})
	return err
}

// finish is end, done once.
func (c *conversation) finish() error {
	c.mu.Lock()
	for x := range c.running {
		x.cancel(errInterrupted)
	}
	c.ended = true
	c.kept.clear()
	c.mu.Unlock()
	return c.box.Close()
}
