package nsjail

import (
	"context"
	"sync"
	"time"

	"github.com/cellblock/cellblock/cgroup"
)

// scopeTime bounds systemd's answer.
const scopeTime = 10 * time.Second

// groups are those of this process, which are looked for once, and once more
// when it has moved into a scope.
type groups struct {
	mu       sync.Mutex
	host     *cgroup.Host
	asked    bool  // for a scope
	scopeErr error // why there is none
}

var ownGroups groups

// find returns the groups below which cells are made. With scope it first
// takes a scope of systemd where the own groups are not to be used for cells;
// scopeErr says why there is none, and is of interest when no cell can be made
// without it either.
func (g *groups) find(ctx context.Context, scope bool) (host *cgroup.Host, scopeErr, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.host == nil {
		if g.host, err = cgroup.Probe(); err != nil {
			return nil, nil, err
		}
	}
	if !scope || g.asked || !g.host.NeedsScope() {
		return g.host, g.scopeErr, nil
	}
	bounded, cancel := context.WithTimeout(ctx, scopeTime)
	defer cancel()
	if g.scopeErr = cgroup.TakeScope(bounded); g.scopeErr != nil {
		g.asked = ctx.Err() == nil // a caller that went away is no answer
		return g.host, g.scopeErr, nil
	}
	moved, err := cgroup.Probe()
	if err != nil {
		return nil, nil, err
	}
	g.host = moved
	return g.host, nil, nil
}
