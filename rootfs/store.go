package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Store is a directory of prepared roots. It is safe for concurrent use, by
// several processes too.
//
//	roots/DIGEST/tree           what a cell sees
//	roots/DIGEST/manifest.json  every file with mode, size and hash; its hash is DIGEST
//	roots/DIGEST/seal           how the root is used, and the cheap check of a start
//	roots/DIGEST/about.json     when and from what it was built
//	index/KEY                   spec → digest, and the host files this rests on
//	names/NAME                  a digest
//	locks/KEY, tmp/             building
type Store struct {
	dir string
}

// A Root is one prepared root. It does not change.
type Root struct {
	Digest   string            `json:"digest"`
	Dir      string            `json:"dir"`      // the tree to bind, on the host
	Python   string            `json:"python"`   // the interpreter inside the root
	Version  [3]int            `json:"version"`  // e.g. 3, 11, 2
	Prefix   string            `json:"prefix"`   // sys.prefix inside the root
	Stdlib   string            `json:"stdlib"`   // the standard library inside the root
	SysPath  []string          `json:"sys_path"` // what sys.path must hold beyond the standard library
	Packages map[string]string `json:"packages"` // distribution → version ("" when it has none)
}

// Info is a Root with what List tells beyond it.
type Info struct {
	Root
	Names    []string  `json:"names"`
	Created  time.Time `json:"created"`
	Host     Origin    `json:"host"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	InUse    bool      `json:"in_use"`
	Warnings []string  `json:"warnings"` // what could not be carried
}

// Origin says what a root was built from, for people to read.
type Origin struct {
	Python   string   `json:"python"`
	Packages []string `json:"packages"`
	Venv     string   `json:"venv"`
}

// DefaultDir is $CELLBLOCK_STATE_DIR, or /var/lib/cellblock for root, or
// cellblock below the user's data directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv("CELLBLOCK_STATE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/cellblock", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cellblock"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find a directory for prepared roots: %w: set CELLBLOCK_STATE_DIR", err)
	}
	return filepath.Join(home, ".local/share/cellblock"), nil
}

// Open returns the store in dir; "" means DefaultDir. Nothing is made before
// the first root is built.
func Open(dir string) (*Store, error) {
	var err error
	if dir == "" {
		dir, err = DefaultDir()
	} else {
		dir, err = filepath.Abs(dir)
	}
	return &Store{dir: dir}, err
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Ensure returns the root for spec, building it when there is none or when
// the host's files have changed since. Two builders of one spec do not
// collide: the second waits and takes what the first made. A builder that
// dies leaves a temporary directory, which the next one removes.
func (s *Store) Ensure(ctx context.Context, spec Spec, progress Progress) (*Root, error) {
	if root, ok, err := s.Find(spec); ok || err != nil {
		return root, err
	}
	spec, err := spec.normalised()
	if err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, s.path("locks", spec.key()))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if root, ok, err := s.Find(spec); ok || err != nil {
		return root, err
	}
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	return s.build(ctx, spec, progress)
}

// build runs with the spec's lock held.
func (s *Store) build(ctx context.Context, spec Spec, progress Progress) (*Root, error) {
	progress("plan", 0, 1)
	in, err := queryInterpreter(ctx, spec.Python)
	if err != nil {
		return nil, err
	}
	plan, err := NewPlan(hostFS(), in, spec)
	if err != nil {
		return nil, err
	}
	progress("plan", 1, 1)
	// Looked at before copying: what is replaced meanwhile makes the root
	// stale instead of being missed.
	idx := newIndex(plan)
	dir, release, err := s.tempDir()
	if err != nil {
		return nil, err
	}
	defer release()
	// Staged one level down: the temporary directory stays locked by us, the
	// root that is moved out of it is free for others to hold.
	dir = filepath.Join(dir, "root")
	m, err := stage(ctx, plan, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("cannot build a root: %w", err)
	}
	if idx.Digest, err = s.adopt(plan, m, dir); err != nil {
		return nil, err
	}
	if err := writeRecord(s.path("index", spec.key()), idx, idx.inodes); err != nil {
		return nil, err
	}
	return s.open(idx.Digest)
}

// adopt moves a staged root to the place its digest names. A root that is
// there already has the same content, or was tampered with.
func (s *Store) adopt(plan *Plan, m *manifest, dir string) (string, error) {
	data, err := m.encode()
	if err != nil {
		return "", err
	}
	digest := digestOf(data)
	final := s.path("roots", digest)
	if _, err := os.Lstat(final); err == nil {
		_, err := s.open(digest)
		return digest, err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), data, 0o444); err != nil {
		return "", fmt.Errorf("cannot write the manifest of root %s: %w", digest, err)
	}
	about := about{
		Created: time.Now().UTC().Truncate(time.Second), Warnings: plan.Warnings,
		Host: Origin{Python: plan.Spec.Python, Packages: plan.Spec.Packages, Venv: plan.Spec.Venv},
	}
	if err := writeJSON(filepath.Join(dir, "about.json"), about); err != nil {
		return "", err
	}
	if err := os.Rename(dir, final); err != nil {
		// Another spec with the same content was faster.
		if _, statErr := os.Lstat(final); statErr == nil {
			_, err := s.open(digest)
			return digest, err
		}
		return "", fmt.Errorf("cannot move the new root to %q: %w", final, err)
	}
	return digest, s.seal(digest, m)
}

// prepare makes the store's directories and refuses those that others can
// write to.
func (s *Store) prepare() error {
	for _, dir := range []string{"", "roots", "index", "names", "locks", "tmp"} {
		p := s.path(dir)
		_, err := os.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.MkdirAll(p, 0o700)
		}
		if err == nil && dir == "" {
			// Cells get a root by descriptor. For other users of the host the
			// way ends here: who can open a directory can lock it.
			err = os.Chmod(p, 0o700)
		}
		if err != nil {
			return fmt.Errorf("cannot make the store of roots: %w: set CELLBLOCK_STATE_DIR to a directory that can be written", err)
		}
		if err := trustedDir(p); err != nil {
			return err
		}
	}
	return nil
}

// List returns all roots, the newest first. A root that cannot be read is
// returned with its digest alone.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.path("roots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list roots: %w", err)
	}
	names := s.names()
	var infos []Info
	for _, e := range entries {
		if digestPattern().MatchString(e.Name()) {
			infos = append(infos, s.info(e.Name(), names))
		}
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return b.Created.Compare(a.Created) })
	return infos, nil
}

// Info returns what List tells of one root.
func (s *Store) Info(nameOrDigest string) (Info, error) {
	digest, err := s.Resolve(nameOrDigest)
	if err != nil {
		return Info{}, err
	}
	if _, err := os.Lstat(s.path("roots", digest)); err != nil {
		return Info{}, fmt.Errorf("%w: %s", ErrNotFound, digest)
	}
	return s.info(digest, s.names()), nil
}

func (s *Store) info(digest string, names map[string]string) Info {
	info := Info{Root: Root{Digest: digest, Dir: s.path("roots", digest, "tree")}}
	var sl seal
	if err := readRecord(s.path("roots", digest, "seal"), &sl, &sl.files); err == nil {
		info.Root, info.Files, info.Bytes = s.rootOf(digest, &sl), sl.Files, sl.Bytes
	}
	var a about
	if err := readJSON(s.path("roots", digest, "about.json"), &a); err == nil {
		info.Created, info.Host, info.Warnings = a.Created, a.Host, a.Warnings
	}
	for name, d := range names {
		if d == digest {
			info.Names = append(info.Names, name)
		}
	}
	slices.Sort(info.Names)
	if f, err := lockRoot(s.path("roots", digest), exclusive); err != nil {
		info.InUse = errors.Is(err, ErrInUse)
	} else {
		f.Close()
	}
	return info
}

var (
	digestPattern = lazily(`^[0-9a-f]{32}$`)
	prefixPattern = lazily(`^[0-9a-f]{6,32}$`)
	namePattern   = lazily(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

func (s *Store) names() map[string]string {
	names := map[string]string{}
	entries, _ := os.ReadDir(s.path("names"))
	for _, e := range entries {
		if data, err := os.ReadFile(s.path("names", e.Name())); err == nil {
			names[e.Name()] = strings.TrimSpace(string(data))
		}
	}
	return names
}

// Resolve turns a name, a digest, or six or more first digits of one into a
// digest.
func (s *Store) Resolve(nameOrDigest string) (string, error) {
	if !namePattern().MatchString(nameOrDigest) {
		return "", fmt.Errorf("%w: %q is no name of a root", ErrNotFound, nameOrDigest)
	}
	if data, err := os.ReadFile(s.path("names", nameOrDigest)); err == nil {
		if digest := strings.TrimSpace(string(data)); digestPattern().MatchString(digest) {
			return digest, nil
		}
	}
	if prefixPattern().MatchString(nameOrDigest) {
		found, _ := filepath.Glob(s.path("roots", nameOrDigest+"*"))
		if len(found) == 1 {
			return filepath.Base(found[0]), nil
		}
		if len(found) > 1 {
			return "", fmt.Errorf("%w: %d roots begin with %q: give more digits", ErrNotFound, len(found), nameOrDigest)
		}
	}
	return "", fmt.Errorf("%w: %q in %s", ErrNotFound, nameOrDigest, s.dir)
}

// Get returns the root with that name or digest, after the same check as Find.
func (s *Store) Get(nameOrDigest string) (*Root, error) {
	digest, err := s.Resolve(nameOrDigest)
	if err != nil {
		return nil, err
	}
	return s.open(digest)
}

// Name gives a root a name, taking it from another root if need be. A named
// root is used as it is, even when the host's files have changed since.
func (s *Store) Name(digest, name string) error {
	if !namePattern().MatchString(name) {
		return fmt.Errorf("%w: %q is no name for a root: it must match %s", ErrSpec, name, namePattern())
	}
	digest, err := s.Resolve(digest)
	if err != nil {
		return err
	}
	return writeFile(s.path("names", name), []byte(digest+"\n"))
}

// Remove deletes a root, its names and what the index says of it. It refuses
// with ErrInUse while cells hold the root.
func (s *Store) Remove(nameOrDigest string) error {
	digest, err := s.Resolve(nameOrDigest)
	if err != nil {
		return err
	}
	root := s.path("roots", digest)
	f, err := lockRoot(root, exclusive)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := s.prepare(); err != nil {
		return err
	}
	gone := s.path("tmp", "removed-"+digest)
	if err := removeTree(gone); err != nil { // left by a removal that was cut off
		return fmt.Errorf("cannot remove root %s: %w", digest, err)
	}
	// Renamed first: at no moment is there a root with half of its files.
	if err := os.Rename(root, gone); err != nil {
		return fmt.Errorf("cannot remove root %s: %w", digest, err)
	}
	for name, d := range s.names() {
		if d == digest {
			os.Remove(s.path("names", name))
		}
	}
	entries, _ := os.ReadDir(s.path("index"))
	for _, e := range entries {
		var idx index
		if p := s.path("index", e.Name()); readRecord(p, &idx, &idx.inodes) == nil && idx.Digest == digest {
			os.Remove(p)
		}
	}
	if err := removeTree(gone); err != nil {
		return fmt.Errorf("cannot remove root %s: %w", digest, err)
	}
	return nil
}
