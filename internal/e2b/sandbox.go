package e2b

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cellblock/cellblock/internal/api"
)

// sandbox is a session with what E2B knows of it.
type sandbox struct {
	id, owner, secret, template string
	metadata                    map[string]string
	lease                       *api.Lease
	began                       time.Time
	ended                       chan struct{} // closed when its end begins

	contexts contexts

	mu    sync.Mutex
	until time.Time
	timer *time.Timer
	once  sync.Once
}

// sandboxes are those that live, by id.
type sandboxes struct {
	mu   sync.Mutex
	byID map[string]*sandbox
}

// make admits a sandbox of a caller and builds its cell.
func (s *Server) make(ctx context.Context, owner string, n newSandbox) (*sandbox, error) {
	id := "sbx" + strings.ToLower(rand.Text()[:20])
	b := &sandbox{
		id: id, owner: owner, secret: strings.ToLower(rand.Text() + rand.Text()), template: n.TemplateID,
		metadata: n.Metadata, began: time.Now(), ended: make(chan struct{}),
	}
	var err error
	if b.lease, err = s.service.Lease(ctx, owner, id, "e2b", api.Creation{Root: rootOf(n.TemplateID)}, n.EnvVars); err != nil {
		return nil, err
	}
	b.contexts.begin(b.lease.Session())
	s.publish(b, n.life)
	return b, nil
}

// publish lets calls find a sandbox, which has its timer by then: any of them
// may end it.
func (s *Server) publish(b *sandbox, life time.Duration) {
	b.mu.Lock()
	b.timer = time.AfterFunc(time.Hour, func() { s.end(b) })
	b.mu.Unlock()
	s.boxes.mu.Lock()
	s.boxes.byID[b.id] = b
	s.boxes.mu.Unlock()
	b.live(life)
}

// live sets how long the sandbox still lives.
func (b *sandbox) live(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Now().Add(d)
	b.timer.Reset(d)
}

// liveLonger does so where that is longer than it would have.
func (b *sandbox) liveLonger(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.until) {
		b.until = until
		b.timer.Reset(d)
	}
}

func (b *sandbox) endAt() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until
}

// end ends a sandbox; it returns when nothing of it is left, and may be called
// again.
func (s *Server) end(b *sandbox) error {
	var err error
	b.once.Do(func() {
		defer func() { err = b.lease.End() }() // whatever comes before it
		s.boxes.mu.Lock()
		delete(s.boxes.byID, b.id)
		s.boxes.mu.Unlock()
		close(b.ended)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.timer.Stop()
	})
	return err
}

// lookup is a sandbox that lives. One whose session was ended in another way is
// forgotten.
func (s *Server) lookup(id string) *sandbox {
	s.boxes.mu.Lock()
	b := s.boxes.byID[id]
	s.boxes.mu.Unlock()
	if b != nil && b.lease.Ended() {
		s.end(b)
		return nil
	}
	return b
}

// of are the sandboxes of a caller.
func (s *Server) of(owner string) []*sandbox {
	s.boxes.mu.Lock()
	defer s.boxes.mu.Unlock()
	var list []*sandbox
	for _, b := range s.boxes.byID {
		if b.owner == owner && !b.lease.Ended() {
			list = append(list, b)
		}
	}
	return list
}

// used is the sandbox that a request names in its header, if the request shows
// the sandbox's secret.
func (s *Server) used(r *http.Request) (*sandbox, error) {
	id := r.Header.Get("E2b-Sandbox-Id")
	if id == "" {
		return nil, invalid("the header E2b-Sandbox-Id is missing: this service tells sandboxes apart by it, and a SDK sends it when E2B_SANDBOX_URL is set (@e2b/code-interpreter from 2.7)")
	}
	b := s.lookup(id)
	if b == nil {
		return nil, gone(id)
	}
	for _, name := range []string{"X-Access-Token", "E2b-Traffic-Access-Token"} {
		if shown := r.Header.Get(name); shown != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(b.secret)) == 1 {
			return b, nil
		}
	}
	return nil, failed(http.StatusUnauthorized, "the sandbox's access token is needed: connect to the sandbox to get it")
}
