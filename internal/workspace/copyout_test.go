package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCopyOut(t *testing.T) {
	p, out := newCell(t), newPlace(t)
	p.write(t, "a.txt", "hello")
	p.write(t, "d/e/run.sh", "#!/bin/sh\n")
	p.write(t, "d/e/empty", "")
	p.write(t, "suid", "x")
	must(t, os.Chmod(p.at("d/e/run.sh"), 0o700))
	must(t, syscall.Chmod(p.at("suid"), 0o6777))
	if os.Geteuid() == 0 {
		must(t, os.Chown(p.at("a.txt"), 12345, 12345))
	}
	r := copyAll(t, p, out, Limits{})
	same(t, "copied", r.Copied, "a.txt", "d/e/empty", "d/e/run.sh", "suid")
	same(t, "names", out.names(t), "a.txt", "d", "d/e", "d/e/empty", "d/e/run.sh", "suid")
	if out.read(t, "a.txt") != "hello" || r.Bytes != 5+10+1 {
		t.Errorf("%q, %+v", out.read(t, "a.txt"), r)
	}
	mask := syscall.Umask(0)
	syscall.Umask(mask)
	for name, mode := range map[string]int{"a.txt": 0o644, "d/e/run.sh": 0o755, "suid": 0o755} {
		var st syscall.Stat_t
		must(t, syscall.Lstat(out.at(name), &st))
		if int(st.Mode&0o7777) != mode&^mask || int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() || st.Nlink != 1 {
			t.Errorf("%s: mode %o, owner %d:%d", name, st.Mode, st.Uid, st.Gid)
		}
	}
	r, err := p.CopyOut(t.Context(), []Change{
		{"a.txt", 0, Deleted}, {"d/e", 0, Deleted}, {"gone/x", 0, Deleted}, {"never", 0, Deleted}, {"../x", 0, Deleted}, {"../y", 1, Created},
	}, out.Dir, Limits{})
	must(t, err)
	same(t, "deleted", r.Deleted, "a.txt")
	wantSkipped(t, r.Skipped, "d/e", "directory")
	wantSkipped(t, r.Skipped, "../x", "element")
	wantSkipped(t, r.Skipped, "../y", "element")
}

// The folder of the host holds links of whatever origin: none is followed, for
// writing, making directories or deleting.
func TestCopyOutFollowsNoLinkOfTheHost(t *testing.T) {
	p, out, outside := newPlace(t), newPlace(t), newPlace(t)
	outside.write(t, "canary", "alive")
	outside.write(t, "sub/canary", "alive")
	before := outside.names(t)
	for _, name := range []string{"canary", "link", "dir/new", "dir/sub/canary", "dir/sub/deep/new", "hard", "fifo", "isdir"} {
		p.write(t, name, "from the cell")
	}
	out.link(t, outside.at("canary"), "link")
	out.link(t, outside.path, "dir")
	must(t, os.Link(outside.at("canary"), out.at("hard")))
	mkfifo(t, out.at("fifo"))
	must(t, os.Mkdir(out.at("isdir"), 0o755))
	var r Report
	within(t, 5*time.Second, func() { r = copyAll(t, p, out, Limits{}) })
	same(t, "copied", r.Copied, "canary", "fifo", "hard", "link")
	for _, name := range []string{"dir/new", "dir/sub/canary", "dir/sub/deep/new"} {
		wantSkipped(t, r.Skipped, name, "in its way")
	}
	wantSkipped(t, r.Skipped, "isdir", "directory")
	if e, err := os.Lstat(out.at("link")); err != nil || !e.Mode().IsRegular() {
		t.Errorf("link: %v, %v", e, err)
	}
	r, err := p.CopyOut(t.Context(), []Change{{"dir/canary", 0, Deleted}, {"dir/sub/canary", 0, Deleted}, {"dir/sub", 0, Deleted}}, out.Dir, Limits{})
	if err != nil || len(r.Deleted) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	same(t, "outside", outside.names(t), before...)
	if outside.read(t, "canary") != "alive" || outside.read(t, "sub/canary") != "alive" {
		t.Error("a canary is dead")
	}
	for _, name := range out.names(t) {
		if strings.Contains(name, tempPrefix) {
			t.Errorf("%s was left behind", name)
		}
	}
}

// Probe 35 and holes in general.
func TestCopyOutSparse(t *testing.T) {
	p, out := newTmpfs(t), newPlace(t)
	big, err := os.Create(p.at("big"))
	must(t, err)
	defer big.Close()
	must(t, big.Truncate(1<<50))
	p.write(t, "mixed", "")
	must(t, os.Truncate(p.at("mixed"), 200<<20))
	f, err := os.OpenFile(p.at("mixed"), os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	for _, off := range []int64{0, 1 << 20, 100<<20 + 77} {
		_, err := f.WriteAt([]byte("data"), off)
		must(t, err)
	}
	var r Report
	within(t, 5*time.Second, func() { r = copyAll(t, p, out, Limits{}) })
	same(t, "copied", r.Copied, "mixed")
	wantSkipped(t, r.Skipped, "big", "larger (1PiB) than the limit of 512MiB")
	var st syscall.Stat_t
	must(t, syscall.Stat(out.at("mixed"), &st))
	if st.Size != 200<<20 || st.Blocks*512 > 1<<20 {
		t.Errorf("size %d, on disk %d", st.Size, st.Blocks*512)
	}
	g, err := os.Open(out.at("mixed"))
	must(t, err)
	defer g.Close()
	for _, off := range []int64{0, 1 << 20, 100<<20 + 77} {
		b := make([]byte, 6)
		_, err := g.ReadAt(b, off)
		must(t, err)
		if string(b) != "data\x00\x00" {
			t.Errorf("at %d: %q", off, b)
		}
	}
	// Reading holes gives the workspace no pages.
	must(t, syscall.Stat(p.at("mixed"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("the workspace's file grew to %d bytes of memory", st.Blocks*512)
	}
}

// Probe 36: the source changes in every way while it is read.
func TestCopyOutOfMovingFiles(t *testing.T) {
	p, out := newCell(t), newPlace(t)
	const limit = 4 << 20
	p.write(t, "moving", strings.Repeat("x", 1<<20))
	p.write(t, "growing", "x")
	stop := attack(
		func(i int) { os.Truncate(p.at("moving"), int64(i%7)<<19) },
		func(i int) { appendTo(p.at("growing"), 64<<10); truncateIfLarge(p.at("growing"), 40<<20) },
		func(i int) {
			if f, err := os.OpenFile(p.at("moving"), os.O_WRONLY, 0); err == nil {
				f.WriteAt([]byte("yyyy"), int64(i%900)<<12)
				unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(i%300)<<12, 8<<12)
				f.Close()
			}
		},
	)
	defer stop()
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	within(t, 60*time.Second, func() {
		for range rounds {
			r := copyAll(t, p, out, Limits{FileBytes: limit})
			if r.Bytes > 2*limit {
				t.Fatalf("%d bytes", r.Bytes)
			}
			for _, name := range r.Copied {
				var st syscall.Stat_t
				must(t, syscall.Stat(out.at(name), &st))
				if st.Size > limit {
					t.Fatalf("%s has %d bytes", name, st.Size)
				}
			}
		}
	})
}

func appendTo(path string, n int) {
	if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		f.Write(make([]byte, n))
		f.Close()
	}
}

func truncateIfLarge(path string, most int64) {
	if st, err := os.Lstat(path); err == nil && st.Size() > most {
		os.Truncate(path, 1)
	}
}

// attack runs each function over and over, with a count, until stop.
func attack(fs ...func(i int)) (stop func() int) {
	var over atomic.Bool
	var total atomic.Int64
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(func() {
			for i := 0; !over.Load(); i++ {
				f(i)
				total.Add(1)
			}
		})
	}
	return func() int {
		over.Store(true)
		wg.Wait()
		return int(total.Load())
	}
}

// Probe 34: a lease makes a blocking open wait for up to 45 s.
func TestCopyOutLease(t *testing.T) {
	p, out := newCell(t), newPlace(t)
	p.write(t, "leased", "x")
	f, err := os.OpenFile(p.at("leased"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatalf("cannot take a lease: %v", err)
	}
	var r Report
	within(t, 2*time.Second, func() { r = copyAll(t, p, out, Limits{}) })
	wantSkipped(t, r.Skipped, "leased", "lease")
	if !r.Skipped[0].again {
		t.Error("not tried again")
	}
}

// Probe 42: each link of a file counts.
func TestCopyOutHardLinks(t *testing.T) {
	p, out := newCell(t), newPlace(t)
	p.write(t, "f", strings.Repeat("x", 1<<20))
	for i := range 10_000 {
		must(t, os.Link(p.at("f"), p.at(fmt.Sprintf("l%05d", i))))
	}
	within(t, 20*time.Second, func() {
		r := copyAll(t, p, out, Limits{TotalBytes: 10<<20 + 5})
		if len(r.Copied) != 10 || r.Bytes != 10<<20 || len(r.Skipped) != 9991 {
			t.Errorf("%d copied, %d bytes, %d skipped", len(r.Copied), r.Bytes, len(r.Skipped))
		}
		wantSkipped(t, r.Skipped, "l09999", "limit of the whole copy")
	})
}

func TestCopyOutLimitsAndErrors(t *testing.T) {
	p, out := newPlace(t), newPlace(t)
	p.write(t, "a", "12345")
	p.write(t, "b", "1")
	p.write(t, tempPrefix+"x", "mine")
	r := copyAll(t, p, out, Limits{FileBytes: 4})
	same(t, "copied", r.Copied, "b")
	wantSkipped(t, r.Skipped, "a", "larger (5B) than the limit of 4B")
	wantSkipped(t, r.Skipped, tempPrefix+"x", "its name begins")

	r, err := p.CopyOut(t.Context(), []Change{{"a", 5, Created}}, out.Dir, Limits{Time: time.Nanosecond})
	must(t, err)
	wantSkipped(t, r.Skipped, "a", "time")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.CopyOut(ctx, []Change{{"a", 5, Created}}, out.Dir, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	full := newFull(t)
	if _, err := p.CopyOut(t.Context(), []Change{{"big", 0, Created}, {"a", 5, Created}}, full.Dir, Limits{}); err != nil {
		t.Errorf("%v", err)
	}
	p.write(t, "big", strings.Repeat("x", 1<<20))
	_, err = p.CopyOut(t.Context(), []Change{{"big", 1 << 20, Created}}, full.Dir, Limits{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	same(t, "left on the full disk", full.names(t), "a")
}
