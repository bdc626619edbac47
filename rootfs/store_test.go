package rootfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/internal/testkit"
)

// ownStore copies the shared store, so that a test can spoil it.
func ownStore(t *testing.T) (*Store, *Root) {
	t.Helper()
	_, r := sharedRoot(t, stdlibSpec())
	dir := t.TempDir()
	t.Cleanup(func() { removeTree(dir) })
	s, _ := Open(dir)
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"roots/" + r.Digest, "index"} {
		if out, err := exec.Command("cp", "-a", "-T", filepath.Join(sharedDir, from), filepath.Join(dir, from)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// The copy has other inodes, so it is verified once and sealed anew.
	own, ok, err := s.Find(stdlibSpec())
	if !ok || err != nil {
		t.Fatalf("a copied store: %v %v", ok, err)
	}
	return s, own
}

// change writes to a file of a root and puts its modification time back.
func change(t *testing.T, file, content string) {
	t.Helper()
	os.Chmod(file, 0o644)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	os.Chmod(file, 0o444)
	os.Chtimes(file, normalTime, normalTime)
}

func TestVerifyFindsWhatWasDone(t *testing.T) {
	testkit.Require(t, testkit.Root) // or the read-only directories keep the test from its deeds
	s, r := ownStore(t)
	report, err := s.Verify(r.Digest, nil)
	if err != nil || !report.OK() || report.Files < 1000 {
		t.Fatalf("%v %+v", err, report)
	}
	lib := filepath.Join(r.Dir, r.Stdlib)
	change(t, filepath.Join(lib, "json/decoder.py"), "X")
	for _, err := range []error{
		os.Remove(filepath.Join(lib, "json/tool.py")),
		os.WriteFile(filepath.Join(lib, "json/extra.py"), nil, 0o444),
		os.Chmod(filepath.Join(r.Dir, r.Python), 0o4555|os.ModeSetuid),
		os.Chown(filepath.Join(lib, "abc.py"), 12345, 0),
		os.Remove(filepath.Join(r.Dir, "lib")),
		os.Symlink("/", filepath.Join(r.Dir, "lib")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var ticks int64
	report, err = s.Verify(r.Digest[:8], func(stage string, done, total int64) { ticks = done })
	if err != nil {
		t.Fatal(err)
	}
	rel := strings.TrimPrefix(r.Stdlib, "/")
	want := &Report{
		Digest: r.Digest, Files: report.Files, Bytes: report.Bytes,
		Changed: []string{"lib", rel + "/json/decoder.py"},
		Missing: []string{rel + "/json/tool.py"},
		Extra:   []string{rel + "/json/extra.py"},
		Modes:   []string{strings.TrimPrefix(r.Python, "/")},
		Owners:  []string{rel + "/abc.py"},
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Error(diff)
	}
	if ticks != int64(report.Files) {
		t.Errorf("progress ended at %d of %d", ticks, report.Files)
	}
	if strings.Contains(report.String(), "\n") || !strings.Contains(report.String(), "2 changed (/lib, …), 1 missing") {
		t.Errorf("in words: %s", report)
	}
}

func TestAStartNoticesTampering(t *testing.T) {
	testkit.Require(t, testkit.Root)
	s, r := ownStore(t)
	manifest := filepath.Join(s.dir, "roots", r.Digest, "manifest.json")
	kept, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	extra := filepath.Join(r.Dir, r.Stdlib, "evil.py")
	for _, tt := range []struct {
		name       string
		does, undo func() error
		says       string
	}{
		{
			"manifest", func() error { change(t, manifest, "["); return nil },
			func() error { return os.WriteFile(manifest, kept, 0o444) }, "the manifest was changed",
		},
		{
			"manifest gone", func() error { return os.Rename(manifest, manifest+"_") },
			func() error { return os.Rename(manifest+"_", manifest) }, "the manifest is missing",
		},
		{
			"tree that others can write to", func() error { return os.Chmod(r.Dir, 0o777) },
			func() error { return os.Chmod(r.Dir, 0o555) }, "1 with another mode",
		},
		{
			"tree of somebody else", func() error { return os.Chown(r.Dir, 12345, 0) },
			func() error { return os.Chown(r.Dir, 0, 0) }, "1 with another owner",
		},
		{
			"support file", func() error { change(t, filepath.Join(r.Dir, "cellblock/repl.py"), "DEF"); return nil },
			func() error { change(t, filepath.Join(r.Dir, "cellblock/repl.py"), "def"); return nil }, "1 changed (/cellblock/repl.py)",
		},
		{
			"extra module", func() error { return os.WriteFile(extra, nil, 0o444) },
			func() error { return os.Remove(extra) }, "1 extra (/usr/lib/python3.11/evil.py)",
		},
		{
			"tree gone", func() error { return os.Rename(r.Dir, r.Dir+"_") },
			func() error { return os.Rename(r.Dir+"_", r.Dir) }, "missing",
		},
		{
			"store that others can write to", func() error { return os.Chmod(s.dir, 0o775) },
			func() error { return os.Chmod(s.dir, 0o755) }, "others can write to",
		},
	} {
		if err := tt.does(); err != nil {
			t.Fatal(err)
		}
		for _, find := range []func() error{
			func() error { _, _, err := s.Find(stdlibSpec()); return err },
			func() error { _, err := s.Ensure(context.Background(), stdlibSpec(), nil); return err },
			func() error { _, err := s.Get(r.Digest); return err },
		} {
			if err := find(); !errors.Is(err, ErrTampered) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if err := tt.undo(); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := s.Find(stdlibSpec()); !ok || err != nil {
			t.Errorf("%s, put back: %v %v", tt.name, ok, err)
		}
	}
	// Removing it is the way out.
	os.WriteFile(extra, nil, 0o444)
	if err := s.Remove(r.Digest); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Find(stdlibSpec()); ok || err != nil {
		t.Errorf("after the removal: %v %v", ok, err)
	}
}

func TestNamesHoldAndRemove(t *testing.T) {
	s, r := ownStore(t)
	if err := s.Name(r.Digest, "science"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "../x", "a/b", ".x", strings.Repeat("x", 65)} {
		if err := s.Name(r.Digest, bad); !errors.Is(err, ErrSpec) {
			t.Errorf("name %q: %v", bad, err)
		}
		if _, err := s.Get(bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("get %q: %v", bad, err)
		}
	}
	for _, name := range []string{"science", r.Digest, r.Digest[:6]} {
		if got, err := s.Get(name); err != nil || got.Digest != r.Digest {
			t.Errorf("get %q: %v %v", name, got, err)
		}
	}
	release, err := r.Hold()
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.Hold() // any number of cells
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("science"); !errors.Is(err, ErrInUse) {
		t.Errorf("removing a root in use: %v", err)
	}
	release()
	infos, err := s.List()
	if err != nil || len(infos) != 1 {
		t.Fatalf("%v %v", infos, err)
	}
	info := infos[0]
	if !info.InUse || !cmp.Equal(info.Names, []string{"science"}) || info.Host.Python != systemPython ||
		info.Files < 1000 || info.Bytes < 10<<20 || time.Since(info.Created) > time.Hour || !cmp.Equal(info.Root, *r) {
		t.Errorf("%+v", info)
	}
	other()
	if err := s.Remove("science"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Hold(); !errors.Is(err, ErrNotFound) {
		t.Errorf("holding a removed root: %v", err)
	}
	if _, err := s.Get("science"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the name is still there: %v", err)
	}
	for _, dir := range []string{"roots", "index", "names", "tmp"} {
		if entries, _ := os.ReadDir(s.path(dir)); dir != "index" && len(entries) != 0 {
			t.Errorf("%s holds %v", dir, entries)
		}
	}
	if _, err := s.Verify(r.Digest, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("verifying a removed root: %v", err)
	}
}

func TestFindNoticesThatTheHostChanged(t *testing.T) {
	_, _ = sharedRoot(t, stdlibSpec())
	venv := t.TempDir()
	site := filepath.Join(venv, "lib/python3.11/site-packages")
	info := filepath.Join(site, "thing-1.dist-info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(p, s string) {
		t.Helper()
		if err := os.WriteFile(p, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(venv, "pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n")
	write(filepath.Join(site, "thing.py"), "x = 1\n")
	write(filepath.Join(info, "METADATA"), "Name: thing\nVersion: 1\n")
	write(filepath.Join(info, "RECORD"), "thing.py,,\n")
	spec := Spec{Venv: venv}
	s, r := sharedRoot(t, spec)
	if r.Packages["thing"] != "1" || !exists(filepath.Join(r.Dir, r.SysPath[0], "__pycache__/thing.cpython-311.pyc")) {
		t.Errorf("%+v", r)
	}
	if got, ok, err := s.Find(Spec{Python: filepath.Join(venv, "bin/python")}); !ok || err != nil || !cmp.Equal(got, r) {
		t.Errorf("by the environment's interpreter: %v %v %v", got, ok, err)
	}
	// Something else appears beside the package's files: still the same root
	// when no witness changed, and a fence that is written down as it is now.
	now := time.Now().Add(time.Second)
	os.Chtimes(filepath.Dir(site), now, now)
	if _, ok, err := s.Find(spec); !ok || err != nil {
		t.Errorf("after an unrelated change: %v %v", ok, err)
	}
	// An upgrade.
	write(filepath.Join(info, "RECORD"), "thing.py,,\nthing-1.dist-info/METADATA,,\n")
	write(filepath.Join(site, "thing.py"), "x = 2\n")
	write(filepath.Join(site, "new.py"), "")
	if _, ok, err := s.Find(spec); ok || err != nil {
		t.Errorf("after an upgrade: %v %v", ok, err)
	}
	if _, again := sharedRoot(t, spec); again.Digest == r.Digest {
		t.Error("the upgrade is not in the new root")
	}
}

func TestBuildersThatDieLeaveNothing(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	t.Cleanup(func() { removeTree(dir) })
	s, _ := Open(dir)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := s.Ensure(ctx, stdlibSpec(), func(stage string, done, total int64) {
		if stage == "compile" && done == 10 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a build that was cancelled: %v", err)
	}
	for _, d := range []string{"tmp", "roots", "index"} {
		if entries, _ := os.ReadDir(s.path(d)); len(entries) != 0 {
			t.Errorf("%s holds %v", d, entries)
		}
	}
	// One that was killed left its directory; one that lives has it locked.
	dead, alive := s.path("tmp", "build-dead"), s.path("tmp", "build-alive")
	os.MkdirAll(filepath.Join(dead, "root/tree/usr"), 0o755)
	os.Chmod(filepath.Join(dead, "root/tree"), 0o555)
	os.Mkdir(alive, 0o755)
	lock, err := lockRoot(alive, exclusive)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	_, release, err := s.tempDir()
	if err != nil {
		t.Fatal(err)
	}
	release()
	if exists(dead) || !exists(alive) {
		t.Errorf("dead one there: %v, living one there: %v", exists(dead), exists(alive))
	}
	// A waiting builder honours its context.
	held, err := lockFile(context.Background(), s.path("locks", "k"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, s.path("locks", "k")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	held()
}

func TestSupportFileMustCompile(t *testing.T) {
	needPython(t)
	s, _ := Open(sharedDir)
	_, err := s.Ensure(context.Background(), Spec{Python: systemPython, Support: map[string][]byte{"/cellblock/repl.py": []byte("def")}}, nil)
	if !errors.Is(err, ErrSpec) {
		t.Error(err)
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("CELLBLOCK_STATE_DIR", "/x/y")
	if dir, err := DefaultDir(); dir != "/x/y" || err != nil {
		t.Error(dir, err)
	}
	t.Setenv("CELLBLOCK_STATE_DIR", "")
	t.Setenv("XDG_DATA_HOME", "/home/u/data")
	want := "/home/u/data/cellblock"
	if os.Geteuid() == 0 {
		want = "/var/lib/cellblock"
	}
	if dir, err := DefaultDir(); dir != want || err != nil {
		t.Error(dir, err)
	}
}

func BenchmarkFind(b *testing.B) {
	spec := stdlibSpec()
	s, _ := sharedRoot(b, spec)
	for b.Loop() {
		if _, ok, err := s.Find(spec); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
