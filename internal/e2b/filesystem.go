package e2b

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/executor"
)

// filesystem registers the calls of E2B's service of that name, in Connect's form
// of JSON: a POST each, whose error has a word for a code.
func (s *Server) filesystem() {
	for name, f := range map[string]func(context.Context, *sandbox, *pathRequest) (any, error){
		"Stat": s.statCall, "ListDir": s.listDir, "MakeDir": s.makeDir, "Remove": s.removePath, "Move": s.move,
	} {
		s.handleUse("POST /filesystem.Filesystem/"+name, func(w http.ResponseWriter, r *http.Request, b *sandbox) error {
			var in pathRequest
			if err := readJSON(r, &in); err != nil {
				return err
			}
			out, err := f(r.Context(), b, &in)
			if err != nil {
				return err
			}
			writeJSON(w, http.StatusOK, out)
			return nil
		})
	}
	for pattern, what := range map[string]string{
		"POST /filesystem.Filesystem/": "events of directories are not told here",
		"POST /process.Process/":       "no program but Python runs in a cell: commands, terminals and git are not supported, run code instead",
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { fail(w, r, unsupported("%s", what)) })
	}
}

// pathRequest is the body of each of the calls.
type pathRequest struct {
	Path        string `json:"path"`
	Depth       int    `json:"depth"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

// entry is a name as E2B describes it.
func entry(e executor.Entry) map[string]any {
	kind := map[executor.Kind]string{executor.KindFile: "FILE_TYPE_FILE", executor.KindDir: "FILE_TYPE_DIRECTORY", executor.KindLink: "FILE_TYPE_SYMLINK"}[e.Kind]
	if kind == "" {
		kind = "FILE_TYPE_UNSPECIFIED"
	}
	name := strings.ToValidUTF8(e.Path, "\uFFFD")
	d := map[string]any{
		"name": path.Base(shown(name)), "type": kind, "path": shown(name), "size": strconv.FormatInt(e.Size, 10),
		"mode": e.Mode, "permissions": permissions(e), "owner": "user", "group": "user",
	}
	if !e.Modified.IsZero() {
		d["modifiedTime"] = stamp(e.Modified)
	}
	return d
}

func permissions(e executor.Entry) string {
	mode := os.FileMode(e.Mode & 0o777)
	switch e.Kind {
	case executor.KindDir:
		mode |= os.ModeDir
	case executor.KindLink:
		mode |= os.ModeSymlink
	}
	return mode.String()
}

// stat is what a name stands for; "" is the workspace.
func (b *sandbox) stat(name string) (executor.Entry, error) {
	if name == "" {
		return executor.Entry{Kind: executor.KindDir}, nil
	}
	all, _, err := b.lease.Session().Entries()
	if err != nil {
		return executor.Entry{}, err
	}
	for _, e := range all {
		if e.Path == name {
			return e, nil
		}
	}
	return executor.Entry{}, failed(http.StatusNotFound, "there is no %q", shown(shorten(name)))
}

func (s *Server) statCall(_ context.Context, b *sandbox, in *pathRequest) (any, error) {
	name, err := inside(in.Path)
	if err != nil {
		return nil, err
	}
	e, err := b.stat(name)
	if err != nil {
		return nil, err
	}
	return map[string]any{"entry": entry(e)}, nil
}

func (s *Server) listDir(_ context.Context, b *sandbox, in *pathRequest) (any, error) {
	name, err := inside(in.Path)
	if err != nil {
		return nil, err
	}
	if e, err := b.stat(name); err != nil {
		return nil, err
	} else if e.Kind != executor.KindDir {
		return nil, invalid("%q is no directory", shown(name))
	}
	found, err := b.under(name)
	if err != nil {
		return nil, err
	}
	depth, entries := max(in.Depth, 1), []any{}
	for _, e := range found {
		rest := strings.TrimPrefix(strings.TrimPrefix(e.Path, name), "/")
		if strings.Count(rest, "/") < depth {
			entries = append(entries, entry(e))
		}
	}
	return map[string]any{"entries": entries}, nil
}

// under are the names below a directory, by path.
func (b *sandbox) under(dir string) ([]executor.Entry, error) {
	all, whole, err := b.lease.Session().Entries()
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, failed(http.StatusInsufficientStorage, "the workspace holds more names than can be listed")
	}
	found := slices.DeleteFunc(all, func(e executor.Entry) bool { return dir != "" && !strings.HasPrefix(e.Path, dir+"/") })
	slices.SortFunc(found, func(x, y executor.Entry) int { return strings.Compare(x.Path, y.Path) })
	return found, nil
}

func (s *Server) makeDir(ctx context.Context, b *sandbox, in *pathRequest) (any, error) {
	name, err := below(in.Path)
	if err != nil {
		return nil, err
	}
	if e, err := b.stat(name); err == nil {
		if e.Kind == executor.KindDir {
			return nil, failed(http.StatusConflict, "the directory %q is there already", shown(name))
		}
		return nil, invalid("%q is there already, and no directory", shown(name))
	}
	if err := b.lease.Session().MakeDir(ctx, name); err != nil {
		return nil, err
	}
	return map[string]any{"entry": entry(executor.Entry{Path: name, Kind: executor.KindDir, Mode: 0o755})}, nil
}

// removePath deletes a file, or a directory with all that is in it; one that is
// not there is no error.
func (s *Server) removePath(ctx context.Context, b *sandbox, in *pathRequest) (any, error) {
	name, err := below(in.Path)
	if err != nil {
		return nil, err
	}
	session := b.lease.Session()
	found, err := b.under(name)
	if err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(found) { // what is in a directory comes behind it
		if err := session.RemoveFile(ctx, e.Path); err != nil {
			return nil, err
		}
	}
	if err := session.RemoveFile(ctx, name); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}

// move gives a file another name: it is copied, and then deleted.
func (s *Server) move(ctx context.Context, b *sandbox, in *pathRequest) (any, error) {
	from, err := below(in.Source)
	if err != nil {
		return nil, err
	}
	to, err := below(in.Destination)
	if err != nil {
		return nil, err
	}
	e, err := b.stat(from)
	if err != nil {
		return nil, err
	}
	if e.Kind != executor.KindFile {
		return nil, unsupported("only files can be renamed here, and %q is none", shown(from))
	}
	session := b.lease.Session()
	if from != to {
		f, err := session.OpenFile(from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		spooled, remove, err := b.lease.Spool(f)
		if err != nil {
			return nil, err
		}
		defer remove()
		if err := session.PutFile(ctx, spooled, to); err != nil {
			return nil, err
		}
		if err := session.RemoveFile(ctx, from); err != nil {
			return nil, err
		}
	}
	if e, err = b.stat(to); err != nil {
		return nil, fmt.Errorf("after the move: %w", err)
	}
	return map[string]any{"entry": entry(e)}, nil
}
