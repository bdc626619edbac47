package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A Report says how a root differs from its manifest. Paths are relative to
// the tree, sorted; "" is the tree itself.
type Report struct {
	Digest   string   `json:"digest"`
	Files    int      `json:"files"` // compared
	Bytes    int64    `json:"bytes"`
	Changed  []string `json:"changed"` // content, size, type or link target
	Missing  []string `json:"missing"`
	Extra    []string `json:"extra"`
	Modes    []string `json:"modes"`    // permissions, setuid and the like
	Owners   []string `json:"owners"`   // not the store's owner
	Manifest string   `json:"manifest"` // why the manifest itself is not to be trusted, or ""
}

// OK says whether the root is as it was built.
func (r *Report) OK() bool {
	return r.Manifest == "" && len(r.Changed)+len(r.Missing)+len(r.Extra)+len(r.Modes)+len(r.Owners) == 0
}

// String says in one line what is wrong.
func (r *Report) String() string {
	if r.OK() {
		return fmt.Sprintf("root %s: %d files as they were built", r.Digest, r.Files)
	}
	if r.Manifest != "" {
		return fmt.Sprintf("root %s: %s", r.Digest, r.Manifest)
	}
	var parts []string
	for _, kind := range []struct {
		word  string
		paths []string
	}{{"changed", r.Changed}, {"missing", r.Missing}, {"extra", r.Extra}, {"with another mode", r.Modes}, {"with another owner", r.Owners}} {
		if n := len(kind.paths); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (/%s%s)", n, kind.word, kind.paths[0], map[bool]string{true: ", …"}[n > 1]))
		}
	}
	return fmt.Sprintf("root %s: %s", r.Digest, strings.Join(parts, ", "))
}

// Verify compares every file of a root with the manifest, and the manifest
// with the digest. A difference is in the report, not an error.
func (s *Store) Verify(nameOrDigest string, progress Progress) (*Report, error) {
	digest, err := s.Resolve(nameOrDigest)
	if err != nil {
		return nil, err
	}
	report, _, err := s.verify(digest, progress)
	return report, err
}

func (s *Store) verify(digest string, progress Progress) (*Report, *manifest, error) {
	report := &Report{Digest: digest}
	data, err := os.ReadFile(s.path("roots", digest, "manifest.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(s.path("roots", digest)); err != nil {
			return nil, nil, fmt.Errorf("%w: %s", ErrNotFound, digest)
		}
		report.Manifest = "the manifest is missing"
		return report, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("cannot verify root %s: %w", digest, err)
	case digestOf(data) != digest:
		report.Manifest = "the manifest was changed"
		return report, nil, nil
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot verify root %s: %w", digest, err)
	}
	tree := s.path("roots", digest, "tree")
	owner, err := os.Lstat(s.path("roots", digest))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot verify root %s: %w", digest, err)
	}
	found, foreign, err := scan(tree, statOf(owner).Uid)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without a tree everything is missing
		return nil, nil, fmt.Errorf("cannot verify root %s: %w", digest, err)
	}
	var hashed func(done, total int64)
	if progress != nil {
		hashed = func(done, total int64) { progress("verify", done, total) }
	}
	if err := hashEntries(tree, found, hashed); err != nil {
		return nil, nil, fmt.Errorf("cannot verify root %s: %w", digest, err)
	}
	report.Owners = foreign
	report.compare(m.Entries, found)
	return report, m, nil
}

// compare fills the report in.
func (r *Report) compare(want, got []manifestEntry) {
	have := map[string]manifestEntry{}
	for _, e := range got {
		have[e.Path] = e
		if e.Type == "file" {
			r.Files++
			r.Bytes += e.Size
		}
	}
	for _, w := range want {
		g, ok := have[w.Path]
		delete(have, w.Path)
		switch {
		case !ok:
			r.Missing = append(r.Missing, w.Path)
			continue
		case g.Type != w.Type || g.Size != w.Size || g.SHA256 != w.SHA256 || g.Target != w.Target:
			r.Changed = append(r.Changed, w.Path)
		}
		if g.Mode != w.Mode && g.Type == w.Type {
			r.Modes = append(r.Modes, w.Path)
		}
	}
	for p := range have {
		r.Extra = append(r.Extra, p)
	}
	slices.Sort(r.Extra)
}
