package rootfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A manifest lists every file of a root. Its bytes as they are on disk are
// what the digest is taken of, so it also holds how the root is used.
type manifest struct {
	Format   int               `json:"format"`
	Python   string            `json:"python"`
	Version  [3]int            `json:"version"`
	Prefix   string            `json:"prefix"`
	Stdlib   string            `json:"stdlib"`
	SysPath  []string          `json:"sys_path"`
	Packages map[string]string `json:"packages"`
	Entries  []manifestEntry   `json:"entries"`
}

// A manifestEntry is one path of a root. Everything belongs to the store's
// owner; directories are 0555 and links have no mode.
type manifestEntry struct {
	Path   string `json:"path"` // relative to the tree, "" for the tree itself
	Type   string `json:"type"` // dir, file or link
	Mode   string `json:"mode,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
}

// encode writes one entry a line, so that two manifests can be compared with
// diff.
func (m *manifest) encode() ([]byte, error) {
	head := *m
	head.Entries = []manifestEntry{}
	data, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(data, []byte("]}")))
	for i, e := range m.Entries {
		line, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}

// digestOf names a root by its manifest.
func digestOf(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:16])
}

func decodeManifest(data []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.Format != formatVersion {
		return nil, fmt.Errorf("manifest has format %d, and this program reads %d: build the root again", m.Format, formatVersion)
	}
	return m, nil
}

// scan reads a tree as it is on disk: every path with its type, mode and
// size, sorted; hashes are left to hashEntries. foreign holds the paths that
// belong to somebody else than owner.
func scan(tree string, owner uint32) (entries []manifestEntry, foreign []string, err error) {
	err = filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, tree), "/")
		if statOf(fi).Uid != owner {
			foreign = append(foreign, rel)
		}
		e := manifestEntry{Path: rel, Mode: modeString(fi.Mode())}
		switch {
		case fi.IsDir():
			e.Type = "dir"
		case fi.Mode().IsRegular():
			e.Type, e.Size = "file", fi.Size()
		case fi.Mode()&fs.ModeSymlink != 0:
			e.Type, e.Mode = "link", ""
			if e.Target, err = os.Readlink(p); err != nil {
				return err
			}
		default:
			e.Type = fi.Mode().Type().String() // never in a manifest: shows as extra
		}
		entries = append(entries, e)
		return nil
	})
	slices.SortFunc(entries, func(a, b manifestEntry) int { return strings.Compare(a.Path, b.Path) })
	return entries, foreign, err
}

// modeString writes permissions with the setuid, setgid and sticky bits, as
// chmod takes them.
func modeString(m fs.FileMode) string {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return fmt.Sprintf("%04o", bits)
}

// hashEntries fills in the hash of every file, on all processors.
func hashEntries(tree string, entries []manifestEntry, progress func(done, total int64)) error {
	var total int64
	for _, e := range entries {
		if e.Type == "file" {
			total++
		}
	}
	tick := counter(total, progress)
	return inParallel(len(entries), func(i int) error {
		e := &entries[i]
		if e.Type != "file" {
			return nil
		}
		var err error
		if e.SHA256, err = hashFile(filepath.Join(tree, e.Path)); err != nil {
			return err
		}
		tick()
		return nil
	})
}

func hashFile(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read %q: %w", p, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// inParallel calls do(0) … do(n-1) on all processors and returns the first
// error; after one, no further call is begun.
func inParallel(n int, do func(i int) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		next  int // guarded by mu, as is first
		first error
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == n {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(n, runtime.NumCPU()) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// counter returns a function that counts up and reports, from any goroutine.
func counter(total int64, progress func(done, total int64)) func() {
	var mu sync.Mutex
	var done int64
	return func() {
		mu.Lock()
		defer mu.Unlock()
		done++
		if progress != nil {
			progress(done, total)
		}
	}
}
