package e2b

import (
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// files registers the calls behind the SDK's files.
func (s *Server) files() {
	s.handleUse("GET /files", s.readFile)
	s.handleUse("POST /files", s.writeFiles)
	s.filesystem()
}

// readFile never lets a browser take a file that code made for a page.
func (s *Server) readFile(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	name, err := below(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	entry, err := b.stat(name)
	if err != nil {
		return err
	}
	if entry.Kind != executor.KindFile {
		return invalid("%q is no regular file", shown(name))
	}
	f, err := b.lease.Session().OpenFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	http.ServeContent(w, r, "", time.Unix(0, f.Mtime), f)
	return nil
}

// maxParts bounds the files of one upload.
const maxParts = 1000

// writeFiles writes what comes in parts, each named by itself unless the query
// names it, or as one body.
func (s *Server) writeFiles(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	named := r.URL.Query().Get("path")
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return invalid("the upload's Content-Type: %v", err)
	}
	written := []any{}
	if kind == "application/octet-stream" {
		body, err := unzipped(r)
		if err != nil {
			return err
		}
		file, err := s.writeFile(r, b, named, body)
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, append(written, file))
		return nil
	}
	if kind != "multipart/form-data" || params["boundary"] == "" {
		return invalid("an upload is multipart/form-data or application/octet-stream, and not %q", shorten(kind))
	}
	// The sum of all parts is bounded as one file is: by the workspace.
	limit := b.lease.Limits().WorkspaceBytes
	parts := multipart.NewReader(http.MaxBytesReader(w, r.Body, limit+1<<20), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bodyFailure(err)
		}
		if part.FormName() != "file" {
			continue
		}
		if len(written) >= maxParts {
			return invalid("an upload has at most %d files", maxParts)
		}
		name := named
		if name == "" {
			name = fileName(part)
		}
		file, err := s.writeFile(r, b, name, part)
		if err != nil {
			return err
		}
		written = append(written, file)
	}
	if len(written) == 0 {
		return invalid("the upload has no part named file")
	}
	writeJSON(w, http.StatusOK, written)
	return nil
}

// bodyFailure is an error of a body that could not be read as what it says it is.
func bodyFailure(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || os.IsTimeout(err) {
		return err
	}
	return invalid("the upload cannot be read: %v", err)
}

// fileName is the whole path that a part names; multipart.Part.FileName cuts it.
func fileName(p *multipart.Part) string {
	_, params, err := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return params["filename"]
}

// unzipped is a body without its Content-Encoding.
func unzipped(r *http.Request) (io.Reader, error) {
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, bodyFailure(err)
		}
		return z, nil
	}
	return nil, failed(http.StatusUnsupportedMediaType, "a body is sent as it is, or as gzip")
}

func (s *Server) writeFile(r *http.Request, b *sandbox, to string, body io.Reader) (map[string]string, error) {
	name, err := below(to)
	if err != nil {
		return nil, err
	}
	spooled, remove, err := b.lease.Spool(body)
	if err != nil {
		return nil, err
	}
	defer remove()
	if err := b.lease.Session().PutFile(r.Context(), spooled, name); err != nil {
		return nil, err
	}
	return map[string]string{"name": path.Base(name), "type": "file", "path": shown(name)}, nil
}
