package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

type FilePath struct {
	SessionPath
	Path string `path:"path" doc:"The file, relative to the workspace; its slashes may be percent-encoded."`
}

// FilePart is a file, or a part of it.
type FilePart struct {
	FilePath
	Range string `header:"Range" doc:"A part of the file, such as bytes=0-1023, or bytes=-100: the last 100. One beyond its end is a 416."`
}

const octets = "application/octet-stream"

// addFile: GET, PUT and DELETE /v1/sessions/{id}/files/{path}.
func addFile(s *Server, api huma.API) {
	const path = "/v1/sessions/{id}/files/{path}"
	bytes := map[string]*huma.MediaType{octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	content := func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{
			"200": {Description: "The file", Content: bytes},
			"206": {Description: "The part that Range names", Content: bytes},
		}
	}
	huma.Register(api, operation("readFile", http.MethodGet, path, "Read a file of the workspace, or a range of it", content),
		func(ctx context.Context, in *FilePart) (*huma.StreamResponse, error) {
			return s.readFile(ctx, &in.FilePath)
		})
	upload := func(op *huma.Operation) {
		op.RequestBody = &huma.RequestBody{Required: true, Content: bytes}
		op.DefaultStatus = http.StatusNoContent
	}
	huma.Register(api, operation("writeFile", http.MethodPut, path, "Write a file into the workspace, with the directories above it", upload),
		func(ctx context.Context, in *FilePath) (*struct{}, error) { return nil, s.writeFile(ctx, in) })
	huma.Register(api, operation("deleteFile", http.MethodDelete, path, "Delete a file or an empty directory; one that is not there is no error"),
		func(ctx context.Context, in *FilePath) (*struct{}, error) {
			x, done, err := s.keeper.find(callOf(ctx).owner, in.ID)
			if err != nil {
				return nil, failed(ctx, err)
			}
			defer done()
			if err := x.session.RemoveFile(ctx, in.Path); err != nil {
				return nil, failed(ctx, err)
			}
			return nil, nil
		})
}

// readFile never lets a browser take a file that code made for a page.
func (s *Server) readFile(ctx context.Context, in *FilePath) (*huma.StreamResponse, error) {
	x, done, err := s.keeper.find(callOf(ctx).owner, in.ID)
	if err != nil {
		return nil, failed(ctx, err)
	}
	f, err := x.session.OpenFile(in.Path)
	if err != nil {
		done()
		return nil, failed(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer done()
		defer f.Close()
		r, w := humago.Unwrap(hctx)
		h := w.Header()
		h.Set("Content-Type", octets)
		h.Set("Content-Disposition", "attachment")
		part := &rangeAnswer{ResponseWriter: w}
		http.ServeContent(part, r, "", time.Unix(0, f.Mtime), f)
		if part.refused {
			h.Del("Content-Disposition")
			h.Set("Cache-Control", "no-store")
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", f.Size))
			p := problem(KindInvalid, "the file has %d bytes, and the range %q is none of it", f.Size, shorten(r.Header.Get("Range")))
			p.Status = http.StatusRequestedRangeNotSatisfiable
			writeProblem(w, r, p)
		}
	}}, nil
}

// rangeAnswer holds back what package http says of a range that a file has not.
type rangeAnswer struct {
	http.ResponseWriter
	refused bool
}

func (a *rangeAnswer) WriteHeader(status int) {
	if a.refused = status == http.StatusRequestedRangeNotSatisfiable; !a.refused {
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *rangeAnswer) Write(b []byte) (int, error) {
	if a.refused {
		return len(b), nil
	}
	return a.ResponseWriter.Write(b)
}

func (s *Server) writeFile(ctx context.Context, in *FilePath) error {
	c := callOf(ctx)
	x, done, err := s.keeper.find(c.owner, in.ID)
	if err != nil {
		return failed(ctx, err)
	}
	defer done()
	limit := x.session.Limits().WorkspaceBytes
	if c.r.ContentLength > limit {
		return failed(ctx, problem(KindTooLarge, "the file is larger than its workspace (%d bytes)", limit))
	}
	path, remove, err := s.spool.put(c.owner, c.r.Body, limit)
	if err != nil {
		return failed(ctx, bodyFailure(err))
	}
	defer remove()
	if err := x.session.PutFile(ctx, path, in.Path); err != nil {
		return failed(ctx, err)
	}
	return nil
}

// bodyFailure is an error of a body that could not be read.
func bodyFailure(err error) error {
	if os.IsTimeout(err) {
		p := problem(KindTimedOut, "the body came too slowly")
		p.Status = http.StatusRequestTimeout
		return p
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return problem(KindInvalid, "the body was cut: its client went away, and nothing was written")
	}
	return err
}
