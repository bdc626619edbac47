package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// scheme begins the URIs of a conversation's resources. They mean something in
// that conversation only.
const scheme = "cellblock://"

// mostResource bounds one resource: it travels in one message.
const mostResource = 8 << 20

func (s *Server) addResources() {
	s.sdk.AddResourceTemplate(&sdk.ResourceTemplate{
		Name: "workspace-file", Title: "A file of the workspace", URITemplate: scheme + "workspace/{+path}",
		Description: "A file of the sandbox's workspace; list_files lists them.",
	}, s.readFileResource)
	s.sdk.AddResourceTemplate(&sdk.ResourceTemplate{
		Name: "result", Title: "What a run_python call gave", URITemplate: scheme + "results/{+path}",
		Description: "Output or a result of one of the last run_python calls, whole: its answer names the URI.",
	}, s.readResultResource)
}

// readOne waits for its turn to hold a resource in memory.
func (s *Server) readOne(ctx context.Context) (done func(), err error) {
	select {
	case s.reading <- struct{}{}:
		return func() { <-s.reading }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fileURI is the URI of a workspace's file.
func fileURI(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return scheme + "workspace/" + strings.Join(parts, "/")
}

func (s *Server) readFileResource(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	uri := req.Params.URI
	name, err := url.PathUnescape(strings.TrimPrefix(uri, scheme+"workspace/"))
	if err != nil {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	done, err := s.readOne(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	f, err := s.conversation(req.Session).box.OpenFile(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size > mostResource {
		return nil, fmt.Errorf("the file has %d bytes, and a resource may have %d: split it with run_python", f.Size, mostResource)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	p := part{mime: mimeOf(name, data[:min(len(data), 512)])}
	if isText(data, true) {
		p.text = string(data)
	} else {
		p.data = data
	}
	return contents(uri, p), nil
}

func (s *Server) readResultResource(_ context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	c := s.conversation(req.Session)
	c.mu.Lock()
	p, ok := c.kept.find(req.Params.URI)
	c.mu.Unlock()
	if !ok {
		return nil, sdk.ResourceNotFoundError(req.Params.URI)
	}
	return contents(req.Params.URI, p), nil
}

func contents(uri string, p part) *sdk.ReadResourceResult {
	c := &sdk.ResourceContents{URI: uri, MIMEType: p.mime, Text: p.text}
	if p.data != nil || p.text == "" {
		c.Blob = append([]byte{}, p.data...) // one of the two must be there
	}
	return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{c}}
}
