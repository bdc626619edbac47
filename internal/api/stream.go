package api

import (
	"context"
	"net/http"

	"github.com/cellblock/cellblock/internal/ndjson"
)

// stream runs an execution and tells of it frame by frame. When nobody reads
// any more, the execution is interrupted as if the client had gone away.
func (e *execution) stream(ctx context.Context, w http.ResponseWriter) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := ndjson.Start(w, e.server.settings.KeepAlive, Frame{Kind: "keep-alive"}, cancel)
	defer s.End()
	text := func(kind string) *ndjson.Text {
		return &ndjson.Text{To: func(text string) { s.Send(Frame{Kind: kind, Text: text}) }}
	}
	out, err := text("stdout"), text("stderr")
	result, failure := e.execute(ctx, out.Take, err.Take)
	out.End()
	err.End()
	if failure != nil {
		p := problemOf(failure)
		note(ctx, p)
		s.Send(Frame{Kind: "error", Error: p})
	} else {
		s.Send(Frame{Kind: "result", Result: &result})
	}
	s.Send(Frame{Kind: "end"})
}
