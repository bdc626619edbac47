// Package ndjson writes a stream of JSON values, one a line, as an HTTP answer:
// each is sent at once, a stream that is silent says that it lives, and output is
// cut between characters only.
//
//	s := ndjson.Start(w, 15*time.Second, keepAlive, cancel)
//	defer s.End()
//	out := ndjson.Text{To: func(text string) { s.Send(frame{text}) }}
package ndjson

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

// Type is the media type of such a stream.
const Type = "application/x-ndjson"

// Stream is an answer under way. It is safe for concurrent use.
type Stream struct {
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

// Start begins an answer, in which alive is sent after each silence of that
// length. cancel is called when nobody reads any more.
func Start(w http.ResponseWriter, every time.Duration, alive any, cancel context.CancelCauseFunc) *Stream {
	h := w.Header()
	h.Set("Content-Type", Type)
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	s := &Stream{w: w, control: http.NewResponseController(w), cancel: cancel, every: every, alive: time.NewTicker(every), done: make(chan struct{})}
	s.control.Flush()
	s.keeping.Go(func() { s.keepAlive(alive) })
	return s
}

// Send writes one value.
func (s *Stream) Send(frame any) {
	line, err := json.Marshal(frame)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		return
	}
	if err == nil {
		s.alive.Reset(s.every)
		_, err = s.w.Write(append(line, '\n'))
	}
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		s.failed = true
		s.cancel(errors.Join(context.Canceled, err))
	}
}

// End ends the keeping alive. The last value is to be sent before.
func (s *Stream) End() {
	s.alive.Stop()
	close(s.done)
	s.keeping.Wait()
}

func (s *Stream) keepAlive(frame any) {
	for {
		select {
		case <-s.alive.C:
			s.Send(frame)
		case <-s.done:
			return
		}
	}
}

// Text makes pieces of valid UTF-8 of a stream of bytes. A character that is cut
// between two pieces is held back until the rest has come; what is no character
// is U+FFFD.
type Text struct {
	To   func(string)
	held []byte
}

// Take takes the next bytes.
func (t *Text) Take(b []byte) {
	b = append(t.held, b...)
	whole := len(b) - incomplete(b)
	t.held = append([]byte(nil), b[whole:]...)
	t.send(b[:whole])
}

// End gives what was held back.
func (t *Text) End() { t.send(t.held) }

func (t *Text) send(b []byte) {
	if len(b) > 0 {
		t.To(strings.ToValidUTF8(string(b), "\uFFFD"))
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
