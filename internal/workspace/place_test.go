package workspace

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/testkit"
)

// place is a directory of the test's own, as the cell (or the host) sees it by
// path and as the host holds it.
type place struct {
	path string
	*Dir
}

func newPlace(t testing.TB) place {
	t.Helper()
	return at(t, t.TempDir())
}

func at(t testing.TB, path string) place {
	t.Helper()
	d, err := openExisting(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return place{path, d}
}

// newTmpfs is a workspace as a cell has it: a tmpfs with limits that is mounted
// nowhere.
func newTmpfs(t testing.TB) place { return tmpfs(t, "64M") }

// newCell is a tmpfs, or for a user who cannot make one just a directory.
func newCell(t testing.TB) place {
	if os.Geteuid() == 0 {
		return newTmpfs(t)
	}
	return newPlace(t)
}

// newFull is a disk of 64 KiB.
func newFull(t testing.TB) place { return tmpfs(t, "64K") }

func tmpfs(t testing.TB, size string) place {
	t.Helper()
	testkit.Require(t, testkit.Root)
	fsfd, err := sys.FsOpen("tmpfs")
	if err != nil {
		t.Fatal(err)
	}
	defer sys.CloseFD(fsfd)
	for k, v := range map[string]string{"size": size, "nr_inodes": "16384", "mode": "0755"} {
		if err := sys.FsSet(fsfd, k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := sys.FsCreate(fsfd); err != nil {
		t.Fatal(err)
	}
	mnt, err := sys.FsMount(fsfd, sys.MountAttrNoSuid|sys.MountAttrNoDev|sys.MountAttrNoExec)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(mnt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); sys.CloseFD(mnt) })
	return place{fmt.Sprintf("/proc/self/fd/%d", mnt), d}
}

func (p place) at(name string) string { return filepath.Join(p.path, name) }

func (p place) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.at(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.at(name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (p place) link(t testing.TB, target, name string) {
	t.Helper()
	must(t, os.Symlink(target, p.at(name)))
}

func (p place) read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(p.at(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (p place) snap(t testing.TB, l Limits) Snapshot {
	t.Helper()
	s, err := p.Snapshot(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// names lists everything in the place, without following links.
func (p place) names(t testing.TB) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(p.path+"/", func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if rel, _ := filepath.Rel(p.path, path); rel != "." {
			out = append(out, rel)
		}
		return nil
	}))
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func paths(s Snapshot) []string {
	var out []string
	for _, e := range s.Files {
		out = append(out, e.Path)
	}
	return out
}

func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// within fails when f takes longer than d: nothing here may block.
func within(t testing.TB, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("still at it after %s", d)
	}
}

// copyAll copies everything that a listing shows.
func copyAll(t testing.TB, from, to place, l Limits) Report {
	t.Helper()
	r, err := from.CopyOut(context.Background(), Diff(Snapshot{}, from.snap(t, l)), to.Dir, l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func whyOf(skipped []Skipped, path string) string {
	for _, s := range skipped {
		if s.Path == path {
			return s.Why
		}
	}
	return ""
}

func wantSkipped(t testing.TB, skipped []Skipped, path, why string) {
	t.Helper()
	if got := whyOf(skipped, path); !strings.Contains(got, why) || got == "" {
		t.Errorf("%q: skipped because %q, want %q", path, got, why)
	}
}

// pathWriter is the cell's init as far as a mirror is concerned.
type pathWriter struct {
	place
	calls []string
	err   error
}

func (w *pathWriter) WriteFile(_ context.Context, path string, mode uint32, size int64, r io.Reader) error {
	w.calls = append(w.calls, path)
	if w.err != nil {
		return w.err
	}
	if err := os.MkdirAll(filepath.Dir(w.at(path)), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(w.at(path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, os.FileMode(mode))
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, r)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d", n, size)
	}
	if err != nil {
		os.Remove(w.at(path))
	}
	return err
}

func (w *pathWriter) MkdirAll(_ context.Context, path string) error {
	w.calls = append(w.calls, path+"/")
	return os.MkdirAll(w.at(path), 0o755)
}

func (w *pathWriter) Remove(_ context.Context, path string) error { return os.Remove(w.at(path)) }

// openFDs counts the descriptors of the test.
func openFDs(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func mkfifo(t testing.TB, path string) {
	t.Helper()
	must(t, syscall.Mkfifo(path, 0o666))
}
