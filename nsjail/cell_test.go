package nsjail_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// standardRoot is the root with the standard library, built once for all.
func standardRoot(t testing.TB) *rootfs.Root {
	t.Helper()
	spec, err := executor.Config{}.RootSpec()
	if err != nil {
		t.Fatal(err)
	}
	store, err := rootfs.Open("")
	if err != nil {
		t.Fatal(err)
	}
	root, err := store.Ensure(context.Background(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func spec(t testing.TB) nsjail.Spec {
	root := standardRoot(t)
	return nsjail.Spec{
		Root: root.Dir, Python: root.Python, Args: repl.Bootstrap(root.SysPath), Env: []string{"LANG=C.UTF-8"},
		Limits: cgroup.Limits{MemoryBytes: 256 << 20, PIDs: 32, CPUs: 1}, RuntimeDir: t.TempDir(),
	}
}

// start builds a cell with a REPL that answers.
func start(t *testing.T, s nsjail.Spec) (*nsjail.Cell, *nsjail.Process, *repl.Conn) {
	t.Helper()
	ctx := context.Background()
	cell, err := nsjail.Start(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cell.Close() })
	proc, conn := startREPL(t, cell)
	return cell, proc, conn
}

func startREPL(t *testing.T, cell *nsjail.Cell) (*nsjail.Process, *repl.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Paced(20*time.Second))
	defer cancel()
	proc, err := cell.StartREPL(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Close)
	conn, err := repl.FromFile(proc.Control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return proc, conn
}

func value(t *testing.T, conn *repl.Conn, code string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Paced(20*time.Second))
	defer cancel()
	reply, err := conn.Exec(ctx, repl.Request{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	if reply.Value == nil {
		t.Fatalf("%s: %+v", code, reply.Exception)
	}
	return *reply.Value
}

func TestCellStandsAsPlanned(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	cell, proc, conn := start(t, spec(t))
	if err := cell.CheckPosture(proc); err != nil {
		t.Fatal(err)
	}
	value(t, conn, "import os; 1")
	for _, c := range []struct{ code, want string }{
		{"os.getpid() > 1 and os.getppid()", "1"},
		{"(os.getuid(), os.geteuid(), os.getgid())", "(1, 1, 1)"},
		{"os.getcwd()", "'/workspace'"},
		{"os.uname().nodename", "'cell'"},
		{"[d for d in ('bin', 'home/root', 'root', 'sys', 'var', 'mnt') if os.path.exists('/' + d)]", "[]"},
		{"open('/proc/1/comm').read()", "'cell-init\\n'"},
		{"[n for n in sorted(os.listdir('/proc')) if not n.isdigit()]", "['self', 'thread-self']"},
		{"sorted(os.listdir('/dev'))", "['fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']"},
	} {
		if got := value(t, conn, c.code); got != c.want {
			t.Errorf("%s is %s, not %s", c.code, got, c.want)
		}
	}
}

func TestCellOutlivesItsREPL(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	ctx := context.Background()
	cell, proc, conn := start(t, spec(t))
	value(t, conn, "open('kept','w').write('x')")
	if err := cell.KillCode(ctx); err != nil {
		t.Fatal(err)
	}
	<-proc.Ended()
	if s := proc.Exit().Status; !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Errorf("the REPL ended with %v, not by SIGKILL", s)
	}
	again, conn := startREPL(t, cell)
	if err := cell.CheckPosture(again); err != nil {
		t.Fatal(err)
	}
	if got := value(t, conn, "open('kept').read()"); got != "'x'" {
		t.Errorf("the workspace holds %s", got)
	}
}

func TestFilesAreWrittenByTheCell(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	ctx := context.Background()
	cell, _, conn := start(t, spec(t))
	if err := cell.WriteFile(ctx, "a/b/c.txt", 0o644, 5, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	if got := value(t, conn, "import os; (open('a/b/c.txt').read(), os.stat('a/b/c.txt').st_uid, os.listdir('a/b'))"); got != "('hello', 1, ['c.txt'])" {
		t.Error(got)
	}
	if err := cell.WriteFile(ctx, "short", 0o644, 9, strings.NewReader("hello")); err == nil {
		t.Error("a file shorter than announced was taken")
	}
	value(t, conn, "os.symlink('/workspace/a', 'link'); os.mkdir('dir'); open('dir/x','w').write('1')")
	for _, path := range []string{"link/x", "dir"} {
		if err := cell.WriteFile(ctx, path, 0o644, 1, strings.NewReader("x")); err == nil {
			t.Errorf("writing %q was not refused", path)
		}
	}
	if err := cell.WriteFile(ctx, "link", 0o644, 1, strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if got := value(t, conn, "(os.path.islink('link'), open('link').read(), sorted(os.listdir('a')))"); got != "(False, 'x', ['b'])" {
		t.Error(got)
	}
	if err := cell.Remove(ctx, "link"); err != nil {
		t.Error(err)
	}
	if err := cell.Remove(ctx, "dir"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("removing a full directory: %v", err)
	}
}

// A step that fails arrives with its name and errno, soon, and leaves nothing.
func TestFailedSteps(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	good := spec(t)
	stage := t.TempDir()
	file := stage + "/file"
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		edit  func(*nsjail.Spec)
		step  string
		errno syscall.Errno
	}{
		{"no root", func(s *nsjail.Spec) { s.Root = "/nonexistent" }, "mount root", syscall.ENOENT},
		{"no input", func(s *nsjail.Spec) { s.Inputs = []nsjail.Input{{Stage: "/nonexistent", Name: "x"}} }, "mount input0", syscall.ENOENT},
		{"a mount point below a read-only one", func(s *nsjail.Spec) {
			s.Inputs = []nsjail.Input{{Stage: file, Name: "a", File: true}, {Stage: stage, Name: "a/b"}}
		}, "attach workspace/a/b", syscall.EROFS},
		{"an empty root", func(s *nsjail.Spec) { s.Root = t.TempDir() }, "attach dev", syscall.ENOENT},
		{"a huge limit", func(s *nsjail.Spec) { s.OpenFiles = 1 << 40 }, "rlimit 7", syscall.EPERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.Leaks(t)
			s := good
			c.edit(&s)
			began := time.Now()
			cell, err := nsjail.Start(context.Background(), s)
			if err == nil {
				cell.Close()
				t.Fatal("it was built")
			}
			var step *nsjail.StepError
			if !errors.As(err, &step) || step.Step != c.step || !errors.Is(err, c.errno) {
				t.Errorf("the error is %q (%+v), not step %s with %v", err, step, c.step, c.errno)
			}
			if d := time.Since(began); d > testkit.Paced(time.Second) {
				t.Errorf("it took %s", d)
			}
		})
	}
	t.Run("no python", func(t *testing.T) {
		testkit.Leaks(t)
		s := good
		s.Python = "/usr/bin/python9"
		cell, err := nsjail.Start(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer cell.Close()
		_, err = cell.StartREPL(context.Background())
		var step *nsjail.StepError
		if !errors.As(err, &step) || step.Step != "exec-python" || !errors.Is(err, syscall.ENOENT) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	s := spec(t)
	testkit.Leaks(t)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*500*time.Microsecond)
		cell, err := nsjail.Start(ctx, s)
		if err == nil {
			cell.Close()
		}
		cancel()
	}
	if left, _ := filepath.Glob(filepath.Join(s.RuntimeDir, "cells", "*")); len(left) > 0 {
		t.Errorf("records are left: %v", left)
	}
}

// In containers something is mounted below /proc, and the kernel then refuses
// a new proc inside; the host makes it.
func TestMaskedProc(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	standardRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=TestInsideMaskedProc", "-test.v")
	cmd.Env = append(os.Environ(), "CELLBLOCK_TEST_MASKED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestInsideMaskedProc")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestInsideMaskedProc(t *testing.T) {
	if os.Getenv("CELLBLOCK_TEST_MASKED") == "" {
		return
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("/proc/sys", "/proc/sys", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"by name of the namespace", "by the helper"} {
		nsjail.ProcByHelperOnly(way == "by the helper")
		cell, proc, conn := start(t, spec(t))
		if err := cell.CheckPosture(proc); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if got := value(t, conn, "import os; [n for n in sorted(os.listdir('/proc')) if not n.isdigit()]"); got != "['self', 'thread-self']" {
			t.Errorf("%s: /proc holds %s", way, got)
		}
		// The order for the first REPL must not be taken for the answer.
		cell, proc, err := nsjail.StartWithREPL(t.Context(), spec(t))
		if err != nil {
			t.Fatalf("%s, with a REPL: %v", way, err)
		}
		if _, err := repl.FromFile(proc.Control); err != nil {
			t.Errorf("%s, with a REPL: %v", way, err)
		}
		proc.Close()
		cell.Close()
	}
}

// systemd makes / shared. The root of a cell must not be a peer of the host's:
// what the init mounts on it would appear on the host.
func TestSharedMounts(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	standardRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=TestInsideSharedMounts", "-test.v")
	cmd.Env = append(os.Environ(), "CELLBLOCK_TEST_SHARED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestInsideSharedMounts")) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestInsideSharedMounts(t *testing.T) {
	if os.Getenv("CELLBLOCK_TEST_SHARED") == "" {
		return
	}
	for _, flag := range []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED} { // new peers, not the host's own
		if err := syscall.Mount("", "/", "", syscall.MS_REC|flag, ""); err != nil {
			t.Fatal(err)
		}
	}
	mounts := func() string {
		b, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := mounts()
	s := spec(t)
	s.Inputs = []nsjail.Input{{Name: "shared", Stage: t.TempDir()}}
	cell, proc, _ := start(t, s)
	if err := cell.CheckPosture(proc); err != nil {
		t.Error(err)
	}
	if after := mounts(); after != before {
		t.Errorf("while the cell stands the host has the mounts\n%s\nbefore it had\n%s", after, before)
	}
}

// A cell that got another weight of CPU than its own runs no code.
func TestPostureFindsAnotherWeight(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	s := spec(t)
	s.Limits.CPUWeight = 10
	cell, proc, _ := start(t, s)
	if err := cell.CheckPosture(proc); err != nil {
		t.Fatal(err)
	}
	for _, dir := range cell.Group().Paths() {
		for name, usual := range map[string]string{"cpu.shares": "1024", "cpu.weight": "100"} {
			if _, err := os.Stat(dir + "/" + name); err != nil {
				continue
			}
			if err := os.WriteFile(dir+"/"+name, []byte(usual), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	var posture *nsjail.PostureError
	if err := cell.CheckPosture(proc); !errors.As(err, &posture) || !strings.Contains(err.Error(), "the group's weight of CPU is 100, not 10") {
		t.Errorf("%v", err)
	}
}

func TestPostureFindsWhatIsMissing(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	ctx := context.Background()
	s := spec(t)
	// A root whose lock is not preloaded: exec would be allowed.
	s.Args = append([]string{}, s.Args...)
	cell, proc, conn := start(t, s)
	if got := value(t, conn, "import ctypes, os; ctypes.CDLL(None).prctl(4, 0)"); got != "0" {
		t.Fatal(got)
	}
	// What code itself can change shows: another descriptor, another thread.
	value(t, conn, "f = open('/dev/null'); f.fileno()")
	var posture *nsjail.PostureError
	if err := cell.CheckPosture(proc); !errors.As(err, &posture) || !strings.Contains(err.Error(), "descriptors [0 1 2 3 4]") {
		t.Errorf("an open descriptor gives %v", err)
	}
	value(t, conn, "f.close()\nimport threading; e = threading.Event(); th = threading.Thread(target=e.wait); th.start(); 1")
	value(t, conn, "import mmap; m = mmap.mmap(-1, 4096); 1")
	if err := cell.CheckPosture(proc); err == nil || !strings.Contains(err.Error(), "shared writable mapping") {
		t.Errorf("a shared mapping gives %v", err)
	}
	if err := cell.KillCode(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cell.CheckPosture(proc); err == nil {
		t.Error("a process that is gone has a good posture")
	}
}

func TestREPLsOfOneCell(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	cell, first, one := start(t, spec(t))
	second, two := startREPL(t, cell)
	for _, p := range []*nsjail.Process{first, second} {
		if err := cell.CheckPosture(p); err != nil {
			t.Fatal(err)
		}
	}
	value(t, one, "import os; x = 1; x")
	value(t, two, "import os, time; x = 2; os.fork() or time.sleep(99)")
	left := value(t, two, "r, w = os.pipe()\nleft = os.fork()\nif not left: os.setsid(); os.write(w, b'x'); time.sleep(99)\nos.read(r, 1) and left")
	if err := second.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := second.Exit().Status; !s.Signaled() || s.Signal() != syscall.SIGKILL {
		t.Errorf("the REPL ended with %v, not by SIGKILL", s)
	}
	value(t, one, `def others(): return [p for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]
import time
end = time.time() + 10
while len(others()) > 1 and time.time() < end: time.sleep(0.001) # they are killed, and then reaped
1`)
	if got := value(t, one, "x, others()"); got != "(1, ['"+left+"'])" {
		t.Errorf("after the kill of a group there are %s, not the child %s that had left it", got, left)
	}
	third, three := startREPL(t, cell)
	if err := cell.CheckPosture(third); err != nil {
		t.Fatal(err)
	}
	value(t, three, "1")
	if err := second.Kill(t.Context()); err != nil {
		t.Errorf("a second kill: %v", err)
	}
	value(t, three, "1")
}
