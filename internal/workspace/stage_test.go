package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func newStage(t *testing.T) (*Stage, place) {
	state := t.TempDir()
	s, err := OpenStage(state)
	must(t, err)
	t.Cleanup(func() { removeTree(s.dir) })
	return s, at(t, s.dir)
}

func TestStageDirectory(t *testing.T) {
	s, kept := newStage(t)
	src := newPlace(t)
	src.write(t, "a.csv", "1,2")
	src.write(t, "bin/run", "#!")
	src.write(t, "deep/er/x", "x")
	must(t, os.Chmod(src.at("bin/run"), 0o6755))
	must(t, os.Mkdir(src.at("empty"), 0o700))
	src.link(t, "a.csv", "inside")
	src.link(t, "../a.csv", "bin/up")
	src.link(t, "deep/er", "dirlink")
	for name, target := range map[string]string{
		"abs": "/etc/passwd", "out": "../x", "bin/out": "../../x", "bounce": "deep/../a.csv", "trick": "dirlink/../../../x",
	} {
		src.link(t, target, name)
	}
	mkfifo(t, src.at("fifo"))
	got, err := s.Add(t.Context(), src.path, Limits{})
	must(t, err)
	defer got.Close()
	if got.Reused || got.Path != filepath.Join(s.dir, got.Digest) || got.Bytes != 3+2+1 || strings.Contains(got.Path, src.path) {
		t.Errorf("%+v", got)
	}
	copied := at(t, got.Path)
	same(t, "copied", copied.names(t), "a.csv", "bin", "bin/run", "bin/up", "deep", "deep/er", "deep/er/x", "dirlink", "empty", "inside")
	for _, name := range []string{"abs", "out", "bin/out", "bounce", "trick"} {
		wantSkipped(t, got.Skipped, name, "leads out")
	}
	wantSkipped(t, got.Skipped, "fifo", "not a regular file")
	for name, mode := range map[string]uint32{"": 0o555, "a.csv": 0o444, "bin": 0o555, "bin/run": 0o555, "deep/er": 0o555, "empty": 0o555} {
		var st syscall.Stat_t
		must(t, syscall.Lstat(copied.at(name), &st))
		if st.Mode&0o7777 != mode || int(st.Uid) != os.Geteuid() {
			t.Errorf("%q: mode %o, owner %d", name, st.Mode&0o7777, st.Uid)
		}
	}
	if copied.read(t, "a.csv") != "1,2" || copied.read(t, "bin/up") != "1,2" {
		t.Error("another content")
	}

	again, err := s.Add(t.Context(), src.path, Limits{})
	must(t, err)
	if !again.Reused || again.Path != got.Path || again.Bytes != got.Bytes || len(again.Skipped) != len(got.Skipped) {
		t.Errorf("%+v", again)
	}
	must(t, again.Close())
	must(t, again.Close())

	src.write(t, "a.csv", "9,9")
	third, err := s.Add(t.Context(), src.path, Limits{})
	must(t, err)
	if third.Reused || third.Digest == got.Digest || at(t, third.Path).read(t, "a.csv") != "9,9" {
		t.Errorf("%+v", third)
	}
	must(t, third.Close())

	// got is in use, third is not.
	n, err := s.Prune(0)
	if n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	same(t, "kept", topNames(t, kept), got.Digest, got.Digest+lockSuffix)
	must(t, got.Close())
	if n, err := s.Prune(time.Hour); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Prune(0); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	same(t, "kept", topNames(t, kept))
}

func topNames(t *testing.T, p place) []string {
	var out []string
	list, err := os.ReadDir(p.path)
	must(t, err)
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestStageFile(t *testing.T) {
	s, kept := newStage(t)
	src := newPlace(t)
	src.write(t, "big.bin", strings.Repeat("x", 3<<20))
	src.link(t, src.at("big.bin"), "link") // the caller's own path may be one
	got, err := s.Add(t.Context(), src.at("link"), Limits{})
	must(t, err)
	defer got.Close()
	b, err := os.ReadFile(got.Path)
	if err != nil || len(b) != 3<<20 || filepath.Base(got.Path) != stagedFile {
		t.Errorf("%d bytes, %v, %s", len(b), err, got.Path)
	}
	for _, bad := range []string{src.at("none"), "/dev/zero"} {
		if _, err := s.Add(t.Context(), bad, Limits{}); err == nil {
			t.Errorf("%s was staged", bad)
		}
	}
	if _, err := s.Add(t.Context(), src.at("big.bin"), Limits{FileBytes: 1 << 20}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("%v", err)
	}
	for _, name := range topNames(t, kept) {
		if strings.HasPrefix(name, partialPrefix) {
			t.Errorf("%s was left behind", name)
		}
	}
}

// Many stage the same at once, while another prunes.
func TestStageAtOnce(t *testing.T) {
	s, _ := newStage(t)
	src := newPlace(t)
	for i := range 20 {
		src.write(t, fmt.Sprintf("d/%d", i), "content")
	}
	stop := attack(func(int) {
		if _, err := s.Prune(0); err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got, err := s.Add(t.Context(), src.path, Limits{})
				if err != nil {
					t.Error(err)
					return
				}
				if list, err := os.ReadDir(filepath.Join(got.Path, "d")); err != nil || len(list) != 20 {
					t.Errorf("%d files, %v", len(list), err)
				}
				got.Close()
			}
		})
	}
	wg.Wait()
	stop()
}

func TestStageOfMovingSource(t *testing.T) {
	s, kept := newStage(t)
	src := newPlace(t)
	src.write(t, "f", strings.Repeat("x", 1<<20))
	stop := attack(func(i int) { src.write(t, fmt.Sprintf("g%d", i%5), fmt.Sprint(i)) })
	for range 20 {
		got, err := s.Add(t.Context(), src.path, Limits{})
		if err == nil {
			got.Close()
		} else if !errors.Is(err, errMoved) {
			t.Error(err)
		}
	}
	stop()
	got, err := s.Add(t.Context(), src.path, Limits{})
	must(t, err)
	got.Close()
	_, err = s.Prune(0)
	must(t, err)
	same(t, "kept", topNames(t, kept))
}

func TestStaysInside(t *testing.T) {
	for _, c := range []struct {
		path, to string
		want     bool
	}{
		{"l", "a", true},
		{"l", "a/b", true},
		{"l", "./a", true},
		{"d/l", "../a", true},
		{"d/l", "..", true},
		{"d/e/l", "../../a", true},
		{"l", ".", true},
		{"l", "/a", false},
		{"l", "", false},
		{"l", "..", false},
		{"l", "../a", false},
		{"d/l", "../../a", false},
		{"d/l", "a/../../x", false},
		{"l", "a/..", false},
		{"d/l", "./../a", true},
		{"l", "..a", true},
	} {
		if got := staysInside(c.path, c.to); got != c.want {
			t.Errorf("staysInside(%q, %q) = %t", c.path, c.to, got)
		}
	}
}

// A link with ".." in it is followed while files are renamed elsewhere on the host, which
// is when the kernel does not know for a moment whether it stays inside.
func TestLinksWhileOthersRename(t *testing.T) {
	src, elsewhere := newPlace(t), newPlace(t)
	src.write(t, "big", "x")
	src.write(t, "pkg/a", "a")
	src.link(t, "../big", "pkg/up")
	elsewhere.write(t, "a", "a")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for from, to := elsewhere.at("a"), elsewhere.at("b"); ; from, to = to, from {
			select {
			case <-done:
				return
			default:
			}
			if err := os.Rename(from, to); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	defer func() { close(done); <-ended }()
	for range 3000 {
		f, err := src.openLinkTarget("pkg/up")
		must(t, err)
		f.Close()
	}
}

func TestCollectTree(t *testing.T) {
	src, outside := newPlace(t), newPlace(t)
	outside.write(t, "secret", secret)
	src.write(t, "pkg/a.py", "a = 1")
	src.write(t, "pkg/run", "#!")
	src.write(t, "big", strings.Repeat("x", 100))
	must(t, os.Chmod(src.at("pkg/run"), 0o700))
	must(t, os.Mkdir(src.at("empty"), 0o755))
	src.link(t, "pkg/a.py", "a_link.py")
	src.link(t, "../big", "pkg/up")
	for name, target := range map[string]string{
		"dirlink": "pkg", "abs": src.at("big"), "leave": outside.at("secret"), "out": "../" + filepath.Base(outside.path) + "/secret", "none": "nothing", "loop": "loop",
	} {
		src.link(t, target, name)
	}
	mkfifo(t, src.at("fifo"))
	tree, err := CollectTree(src.path, "project", Limits{})
	must(t, err)
	defer tree.Close()
	var got []string
	for _, u := range tree.Uploads {
		f, err := u.Open()
		must(t, err)
		b := make([]byte, 200)
		n, _ := f.Read(b)
		f.Close()
		if int64(n) != u.Size || strings.Contains(string(b), "SECRET") {
			t.Errorf("%s: %q", u.Path, b[:n])
		}
		got = append(got, fmt.Sprintf("%s %o %d", u.Path, u.Mode, u.Size))
	}
	same(t, "uploads", got, "project/a_link.py 644 5", "project/big 644 100", "project/pkg/a.py 644 5", "project/pkg/run 755 2", "project/pkg/up 644 100")
	same(t, "dirs", tree.Dirs, "project", "project/empty", "project/pkg")
	for name, why := range map[string]string{
		"dirlink": "no regular file", "abs": "leads out", "leave": "leads out", "out": "leads out", "none": "to nothing", "loop": "circle", "fifo": "not a regular file",
	} {
		wantSkipped(t, tree.Skipped, name, why)
	}

	// Queued, it goes to the workspace and not to the folder, and is no change.
	s := newSession(t)
	s.Queue(tree.Uploads, tree.Dirs)
	s.push("project/a_link.py", "project/big", "project/pkg/a.py", "project/pkg/run", "project/pkg/up")
	s.pull()
	same(t, "host", s.host.names(t))
	s.cell.write(t, "project/pkg/a.py", "a = 2")
	s.pull("changed project/pkg/a.py 5")
	same(t, "host", s.host.names(t), "project", "project/pkg", "project/pkg/a.py")

	small, err := CollectTree(src.path, "", Limits{TotalBytes: 10})
	must(t, err)
	defer small.Close()
	wantSkipped(t, small.Skipped, "big", "limit of the whole copy")
	if _, err := CollectTree(src.path, "../x", Limits{}); err == nil {
		t.Error("a bad name was taken")
	}
	if _, err := CollectTree(src.at("big"), "x", Limits{}); err == nil {
		t.Error("a file was taken for a directory")
	}
}
