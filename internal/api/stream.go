package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const ndjson = "application/x-ndjson"

// stream runs an execution and tells of it frame by frame. When nobody reads
// any more, the execution is interrupted as if the client had gone away.
func (e *execution) stream(ctx context.Context, w http.ResponseWriter) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h := w.Header()
	h.Set("Content-Type", ndjson)
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	every := e.server.settings.KeepAlive
	f := &frames{w: w, control: http.NewResponseController(w), cancel: cancel, every: every, alive: time.NewTicker(every), done: make(chan struct{})}
	f.control.Flush()
	f.keeping.Go(f.keepAlive)
	out, err := text{kind: "stdout", to: f}, text{kind: "stderr", to: f}
	result, failure := e.execute(ctx, out.take, err.take)
	out.end()
	err.end()
	if failure != nil {
		p := problemOf(failure)
		note(ctx, p)
		f.send(Frame{Kind: "error", Error: p})
	} else {
		f.send(Frame{Kind: "result", Result: &result})
	}
	f.send(Frame{Kind: "end"})
	f.alive.Stop()
	close(f.done)
	f.keeping.Wait()
}

// frames writes one frame at a time.
type frames struct {
	control *http.ResponseController
	cancel  context.CancelCauseFunc
	every   time.Duration
	alive   *time.Ticker
	done    chan struct{}
	keeping sync.WaitGroup

	mu     sync.Mutex
	w      http.ResponseWriter
	failed bool
}

func (f *frames) send(frame Frame) {
	line, err := json.Marshal(frame)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed {
		return
	}
	if err == nil {
		_, err = f.w.Write(append(line, '\n'))
	}
	if err == nil {
		err = f.control.Flush()
	}
	if err != nil {
		f.failed = true
		f.cancel(errors.Join(context.Canceled, err))
	}
}

func (f *frames) keepAlive() {
	for {
		select {
		case <-f.alive.C:
			f.send(Frame{Kind: "keep-alive"})
		case <-f.done:
			return
		}
	}
}

// text makes frames of a stream of bytes. A character that is cut between two
// pieces is held back until the rest has come.
type text struct {
	kind string
	to   *frames
	held []byte
}

func (t *text) take(b []byte) {
	b = append(t.held, b...)
	whole := len(b) - incomplete(b)
	t.held = append([]byte(nil), b[whole:]...)
	t.send(b[:whole])
}

// end gives what was held back.
func (t *text) end() { t.send(t.held) }

func (t *text) send(b []byte) {
	if len(b) > 0 {
		t.to.alive.Reset(t.to.every)
		t.to.send(Frame{Kind: t.kind, Text: strings.ToValidUTF8(string(b), "\uFFFD")})
	}
}

// incomplete is how many bytes at the end of b begin a character that could
// still be completed.
func incomplete(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		c := b[len(b)-n]
		if utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}
