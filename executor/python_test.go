package executor_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// pythons are the interpreters of this machine that a root can be built from.
func pythons(t *testing.T) []string {
	t.Helper()
	list := []string{"/usr/bin/python3"}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for minor := 9; minor <= 13; minor++ {
		found, err := filepath.Glob(fmt.Sprintf("%s/.pyenv/versions/3.%d.*/bin/python3", home, minor))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

// The main path on every CPython that is here: state, a traceback, a time-out,
// a refused exec and socket, memory, threads, a file.
func TestEveryPython(t *testing.T) {
	for _, python := range pythons(t) {
		t.Run(strings.ReplaceAll(strings.Trim(python, "/"), "/", "_"), func(t *testing.T) {
			ex := newExecutor(t, executor.Config{Python: python, MaxMemoryMB: 256, Timeout: testkit.Paced(20 * time.Second)})
			soon := testkit.Paced(300 * time.Millisecond)
			for _, c := range []struct {
				code, output, error string
				timeout             time.Duration
			}{
				{code: "import sys, json, re, sqlite3, ctypes, hashlib, zlib, lzma, decimal\nx = 1\nprint('%d.%d' % sys.version_info[:2])", output: "3."},
				{code: "print(x); 1/0", output: "1\n", error: "ZeroDivisionError"},
				{code: "while True: pass", timeout: soon, error: fmt.Sprintf("Execution timeout after %g seconds", soon.Seconds())},
				{code: "import subprocess; subprocess.run(['/bin/true'])", error: "PermissionError"},
				{code: "import socket; socket.socket()", error: "Address family not supported"},
				{code: "bytearray(1 << 34)", error: "MemoryError"},
				{code: "import asyncio\nasync def f(): return await asyncio.sleep(0.01, 'a')\nprint(asyncio.run(f()))", output: "a\n"},
				{code: "from concurrent.futures import ThreadPoolExecutor as T\nprint(sum(T(4).map(lambda i: i * i, range(10))))", output: "285\n"},
				{code: "import multiprocessing as m\nq = m.get_context('fork')\np = q.Pool(2); print(p.map(abs, [-1, -2])); p.close(); p.join()", output: "[1, 2]\n"},
				{code: "import tempfile, zipfile\nwith zipfile.ZipFile('a.zip', 'w') as z: z.writestr('b', 'c')\nprint(zipfile.ZipFile('a.zip').read('b'), x)", output: "b'c' 1\n"},
			} {
				r := run(t, ex, executor.Request{SessionID: "p", Code: c.code, Timeout: c.timeout})
				if !strings.HasPrefix(r.Output, c.output) || !strings.Contains(errorText(r), c.error) || (c.error == "") != r.Success {
					t.Errorf("%s\noutput %q, error %s", c.code, r.Output, errorText(r))
				}
				if r.Session.Lost {
					t.Errorf("%s\nthe namespace is lost", c.code)
				}
			}
		})
	}
}

// An unprivileged user gets a cell too, when it says that the group may be
// missing, and is told the layer's name when it does not.
func TestRootless(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.UserNamespaces)
	const nobody = 65534
	home, err := os.MkdirTemp("/var/tmp", "cellblock-rootless-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(home, "test")
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestAsNobody$", "-test.v")
	cmd.Dir = home
	cmd.Env = []string{"CELLBLOCK_TEST_ROOTLESS=1", "HOME=" + home, "XDG_RUNTIME_DIR=" + home, "PATH=/usr/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAsNobody") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestAsNobody(t *testing.T) {
	if os.Getenv("CELLBLOCK_TEST_ROOTLESS") == "" {
		return
	}
	ctx := t.Context()
	strict, err := executor.New(executor.Config{ExecutionBaseDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	if _, err := strict.Execute(ctx, executor.Request{Code: "1"}); err == nil || !strings.Contains(err.Error(), "--without cgroup") {
		t.Errorf("without a group: %v", err)
	}
	ex, err := executor.New(executor.Config{ExecutionBaseDir: t.TempDir(), Without: []string{"cgroup"}, Timeout: testkit.Paced(5 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close()
	for _, c := range []struct{ code, output, error string }{
		{"x = 1; open('f', 'w').write('1')", "", ""},
		{"print(x)", "1\n", ""},
		{"import os; os.kill(1, 9); os.kill(1, 11); print(os.getppid())", "1\n", ""},
		{"open('/proc/1/mem', 'rb')", "", "PermissionError"},
		{"open('/usr/x', 'w')", "", "OSError"},
		{"import socket; socket.socket()", "", "Address family"},
		{"import subprocess; subprocess.run(['/bin/true'])", "", "PermissionError"},
		{"bytearray(1 << 34)", "", "MemoryError"},
		{"print(open('f').read())", "1\n", ""},
	} {
		r, err := ex.Execute(ctx, executor.Request{SessionID: "s", Code: c.code})
		if err != nil {
			t.Fatal(err)
		}
		if r.Output != c.output || !strings.Contains(errorText(r), c.error) || (c.error == "") != r.Success {
			t.Errorf("%s\noutput %q, error %s", c.code, r.Output, errorText(r))
		}
		if u := r.Usage; !slices.Contains(u.Unmeasured, "memory_peak_bytes") || u.MemoryPeakBytes != 0 {
			t.Errorf("usage without a group: %+v", u)
		}
	}
}
