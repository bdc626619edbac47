package mcp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// When a client that asked for it is told how far a call is: first after a
// moment, then when there is output, and now and then without.
const (
	firstProgress = 250 * time.Millisecond
	mostOften     = 100 * time.Millisecond
	heartbeat     = time.Second
	pendingBytes  = 8 << 10
)

// progress tells the client of a call that it goes on, and what it prints. The
// number is of seconds, the total of those that the call may take.
type progress struct {
	session   *sdk.ServerSession
	token     any
	total     time.Duration
	preparing func() string
	began     time.Time
	wake      chan struct{}
	stop      chan struct{}
	done      sync.WaitGroup

	mu      sync.Mutex
	pending []byte
	lost    int // bytes of output that were too many to tell
}

// newProgress begins to tell, if the client wants that. The methods of nil do
// nothing.
func newProgress(ctx context.Context, req *sdk.CallToolRequest, total time.Duration, preparing func() string) *progress {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	p := &progress{session: req.Session, token: token, total: total, preparing: preparing, began: time.Now(), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	p.done.Go(func() { p.run(ctx) })
	return p
}

// output takes what was printed. It never waits.
func (p *progress) output(b []byte) {
	p.mu.Lock()
	room := pendingBytes - len(p.pending)
	p.pending = append(p.pending, b[:min(room, len(b))]...)
	p.lost += max(len(b)-room, 0)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end tells what is left and stops.
func (p *progress) end() {
	if p == nil {
		return
	}
	close(p.stop)
	p.done.Wait()
}

func (p *progress) run(ctx context.Context) {
	timer := time.NewTimer(firstProgress)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stop:
		return // a short call
	}
	for {
		p.tell(ctx, false)
		select {
		case <-time.After(mostOften):
		case <-p.stop:
			p.tell(ctx, true)
			return
		}
		timer.Reset(heartbeat)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.stop:
			p.tell(ctx, true)
			return
		}
	}
}

// tell sends one notification. Whether it arrives is the client's matter.
func (p *progress) tell(ctx context.Context, last bool) {
	text := p.take(last)
	if last && text == "" {
		return
	}
	if text == "" {
		text = p.preparing()
	}
	_ = p.session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{
		ProgressToken: p.token, Progress: time.Since(p.began).Seconds(), Total: p.total.Seconds(), Message: text,
	})
}

// take is what was printed since the last time. A character that is cut in two
// waits for its other half.
func (p *progress) take(last bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.pending)
	if !last && p.lost == 0 {
		for i := 1; i < utf8.UTFMax && i <= n; i++ {
			if c := p.pending[n-i]; utf8.RuneStart(c) {
				if !utf8.FullRune(p.pending[n-i:]) {
					n -= i
				}
				break
			}
		}
	}
	text := strings.ToValidUTF8(string(p.pending[:n]), "\uFFFD")
	if p.lost > 0 {
		text += fmt.Sprintf("\n[… %d bytes left out …]\n", p.lost)
	}
	p.pending, p.lost = append(p.pending[:0], p.pending[n:]...), 0
	return text
}
