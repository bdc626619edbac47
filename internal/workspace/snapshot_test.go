package workspace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSnapshot(t *testing.T) {
	for name, make := range map[string]func(testing.TB) place{"disk": newPlace, "tmpfs": newTmpfs} {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			same(t, "empty", paths(p.snap(t, Limits{})))
			p.write(t, "b.txt", "12345")
			p.write(t, "a/x/deep.txt", "1")
			p.write(t, ".hidden", "")
			must(t, os.Chmod(p.at("b.txt"), 0o755))
			must(t, os.Mkdir(p.at("empty"), 0o755))
			s := p.snap(t, Limits{})
			same(t, "files", paths(s), ".hidden", "a/x/deep.txt", "b.txt")
			same(t, "dirs", s.Dirs, "a", "a/x", "empty")
			if !s.Complete() {
				t.Errorf("unread: %v", s.Unread)
			}
			e, _ := s.find("b.txt")
			var st syscall.Stat_t
			must(t, syscall.Stat(p.at("b.txt"), &st))
			if e != entryOf("b.txt", &st) || e.Size != 5 || e.Mode != 0o755 {
				t.Errorf("%+v, want %+v", e, st)
			}
			if again := p.snap(t, Limits{}); len(Diff(s, again)) != 0 {
				t.Errorf("two listings differ: %v", Diff(s, again))
			}
		})
	}
}

// Probes 29, 32, 33: what is no file is never opened, and never blocks.
func TestSnapshotTakesRegularFilesOnly(t *testing.T) {
	p := newPlace(t)
	p.link(t, "/etc/passwd", "passwd")
	p.link(t, "..", "up")
	p.link(t, "chain2", "chain1")
	p.link(t, "/etc/shadow", "chain2")
	p.link(t, "nowhere", "dangling")
	p.link(t, "loop", "loop")
	p.link(t, "/etc", "etc")
	mkfifo(t, p.at("fifo"))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: p.at("socket")}))
	p.write(t, "real", "x")
	special := []string{"passwd", "up", "chain1", "chain2", "dangling", "loop", "etc", "fifo", "socket"}
	if os.Geteuid() == 0 {
		if err := unix.Mknod(p.at("zero"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err == nil {
			special = append(special, "zero")
		}
	}
	out := newPlace(t)
	before := openFDs(t)
	within(t, 5*time.Second, func() {
		s := p.snap(t, Limits{})
		same(t, "files", paths(s), "real")
		if len(s.Others) != len(special) || len(s.Dirs) != 0 {
			t.Errorf("others %v, dirs %q", s.Others, s.Dirs)
		}
		for _, name := range append(special, "etc/passwd", "up/x", "real/x", "", ".", "..", "/etc/passwd", "a//b", "a\x00") {
			if f, err := p.OpenFile(name); err == nil {
				t.Errorf("%q was opened", name)
				f.Close()
			}
		}
		// Asked to copy them by name, it refuses them one by one.
		var all []Change
		for _, name := range special {
			all = append(all, Change{name, 0, Created})
		}
		r, err := p.CopyOut(t.Context(), all, out.Dir, Limits{})
		if err != nil || len(r.Copied) != 0 || len(r.Skipped) != len(special) {
			t.Errorf("%+v, %v", r, err)
		}
		same(t, "copied", out.names(t))
	})
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// Probe 37: names are bytes.
func TestSnapshotNames(t *testing.T) {
	p, out := newPlace(t), newPlace(t)
	names := []string{"-rf", "a\nb", "\x1b[31mred", "\xff\xfe", "  ", "*", "'; rm -rf", "a\\b", "%2e%2e", "\u202etxt.exe", "...", strings.Repeat("n", 255)}
	for _, n := range names {
		p.write(t, n, n)
		p.write(t, "d\xff/"+n, n)
	}
	r := copyAll(t, p, out, Limits{})
	if len(r.Copied) != 2*len(names) || len(r.Skipped) != 0 {
		t.Errorf("%+v", r)
	}
	for _, n := range names {
		if out.read(t, n) != n || out.read(t, "d\xff/"+n) != n {
			t.Errorf("%q did not arrive", n)
		}
	}
}

// Probe 39: a path that is longer than PATH_MAX, made step by step.
func TestSnapshotDeep(t *testing.T) {
	for name, make := range map[string]func(testing.TB) place{"disk": newPlace, "tmpfs": newTmpfs} {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			p.write(t, "top", "x")
			deepTree(t, p, 3000)
			before := openFDs(t)
			within(t, 10*time.Second, func() {
				s := p.snap(t, Limits{})
				same(t, "files", paths(s), "top")
				if len(s.Dirs) != 65 || len(s.Unread) != 1 {
					t.Errorf("%d directories, unread %v", len(s.Dirs), s.Unread)
				}
				deep := p.snap(t, Limits{Depth: 1 << 20})
				if deep.Complete() || len(deep.Dirs) < 2000 {
					t.Errorf("%d directories, unread %v", len(deep.Dirs), deep.Unread)
				}
			})
			if after := openFDs(t); after != before {
				t.Errorf("%d descriptors, %d before", after, before)
			}
			within(t, 20*time.Second, func() { must(t, p.Empty(t.Context())) })
			same(t, "after Empty", p.names(t))
		})
	}
}

// deepTree makes directories "d" below each other, n deep.
func deepTree(t testing.TB, p place, n int) {
	t.Helper()
	fd, err := unix.Open(p.path+"/", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range n {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
}

// Probe 40: a million names. In a short run a tenth, with the limit's tenth.
func TestSnapshotManyEntries(t *testing.T) {
	n, limit := 100_000, 10_000
	if !testing.Short() && os.Getenv("REQUIRE_ALL") == "1" {
		n, limit = 1_000_000, 100_000
	}
	p := newPlace(t)
	fd, err := unix.Open(p.path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	for i := range n {
		must(t, unix.Mknodat(fd, fmt.Sprintf("f%07d", i), unix.S_IFREG|0o600, 0))
	}
	within(t, 10*time.Second, func() {
		s := p.snap(t, Limits{Entries: limit})
		if len(s.Files) != limit || s.Complete() || s.Unread[0].Path != "" {
			t.Errorf("%d files, unread %v", len(s.Files), s.Unread)
		}
		// What was not seen is not taken for deleted.
		all := make([]Entry, n)
		for i := range all {
			all[i] = Entry{Path: fmt.Sprintf("f%07d", i)}
		}
		for _, c := range Diff(Snapshot{Files: all}, s) {
			if c.Kind == Deleted {
				t.Fatalf("%v", c)
			}
		}
	})
	s := p.snap(t, Limits{Entries: n + 1, Time: time.Nanosecond})
	if s.Complete() {
		t.Error("no time, and yet complete")
	}
	must(t, p.Empty(t.Context()))
}

// Long names use memory too.
func TestSnapshotPathBytes(t *testing.T) {
	p := newTmpfs(t)
	name := strings.Repeat("n", 255)
	dir := p.path
	fd, err := unix.Open(dir+"/", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 15 {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	defer unix.Close(fd)
	for i := range 12_000 {
		must(t, unix.Mknodat(fd, fmt.Sprintf("%0250d", i), unix.S_IFREG|0o600, 0))
	}
	s := p.snap(t, Limits{})
	total := 0
	for _, e := range s.Files {
		total += len(e.Path)
	}
	if s.Complete() || total > maxPathBytes {
		t.Errorf("%d bytes of names, unread %v", total, s.Unread)
	}
}

// Probe 41: nothing is hidden from root, and all of it goes, for its owner too.
func TestModeZeroTree(t *testing.T) {
	p := newPlace(t)
	p.write(t, "a/b/c/file", "x")
	for _, name := range []string{"a/b/c/file", "a/b/c", "a/b", "a"} {
		must(t, os.Chmod(p.at(name), 0))
	}
	s := p.snap(t, Limits{})
	if os.Geteuid() == 0 {
		same(t, "files", paths(s), "a/b/c/file")
	} else if whyOf(s.Unread, "a") != "permission denied" {
		t.Errorf("%+v", s)
	}
	must(t, p.Empty(t.Context()))
	same(t, "after Empty", p.names(t))
}

func TestEmptyFollowsNothing(t *testing.T) {
	p, outside := newPlace(t), newPlace(t)
	outside.write(t, "keep/canary", "alive")
	p.link(t, outside.path, "l")
	p.link(t, outside.at("keep"), "l2")
	p.write(t, "d/e/f/g", "x")
	p.link(t, outside.path, "d/e/l")
	mkfifo(t, p.at("d/fifo"))
	must(t, p.Empty(t.Context()))
	same(t, "after Empty", p.names(t))
	if outside.read(t, "keep/canary") != "alive" {
		t.Error("the canary is gone")
	}
}

func TestUnreadIsNotDeleted(t *testing.T) {
	before := Snapshot{Files: []Entry{{Path: "a/x"}, {Path: "a/y/z"}, {Path: "ab"}, {Path: "b"}}, Dirs: []string{"a", "a/y"}}
	after := Snapshot{Files: []Entry{{Path: "a/x"}}, Dirs: []string{"a"}, Unread: []Skipped{{Path: "a/y"}}}
	got := fmt.Sprint(Diff(before, after))
	if got != "[{ab 0 deleted} {b 0 deleted}]" {
		t.Error(got)
	}
	kept := carry(before, after)
	same(t, "carried", paths(kept), "a/x", "a/y/z")
	same(t, "carried dirs", kept.Dirs, "a", "a/y")
}

func TestFolderIsNoLink(t *testing.T) {
	base := t.TempDir()
	target := t.TempDir()
	must(t, os.Symlink(target, filepath.Join(base, "demo")))
	for _, path := range []string{base + "/demo", base + "/demo/"} {
		if d, err := OpenFolder(path); err == nil {
			t.Errorf("%s was opened", path)
			d.Close()
		}
	}
	d, err := OpenFolder(filepath.Join(base, "new/folder"))
	must(t, err)
	must(t, d.Close())
	must(t, d.Close())
	if _, err := d.Snapshot(Limits{}); err == nil {
		t.Error("a closed folder was listed")
	}
}

// What leads nowhere outside is refused all the same: a link on the way, and
// another mount. /proc is one on every machine.
func TestOpenIsStrict(t *testing.T) {
	p := newPlace(t)
	p.write(t, "dir/f", "x")
	p.link(t, "dir", "link")
	if _, err := p.OpenFile("link/f"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("through a link: %v", err)
	}
	root := at(t, "/")
	if _, err := root.OpenFile("proc/version"); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("on another mount: %v", err)
	}
	proc := at(t, fmt.Sprintf("/proc/%d", os.Getpid()))
	if _, err := proc.OpenFile("exe"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a magic link: %v", err)
	}
	if s := root.snap(t, Limits{Depth: 1, Entries: 5000}); whyOf(s.Unread, "proc") == "" {
		t.Errorf("/proc was listed: %v", s.Unread)
	}
}
