package rootfs

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/internal/testkit"
)

// These tests build roots from the Pythons of this machine and run them.

var sharedDir string // a store for all tests of a run, because building takes seconds

func TestMain(m *testing.M) {
	if dir := os.Getenv("ROOTFS_TEST_BUILD_IN"); dir != "" {
		os.Exit(buildAsSomebodyElse(dir))
	}
	var err error
	if sharedDir, err = os.MkdirTemp("", "cellblock-roots-"); err != nil {
		panic(err)
	}
	os.Chmod(sharedDir, 0o755)
	code := m.Run()
	removeTree(sharedDir)
	os.Exit(code)
}

const systemPython = "/usr/bin/python3"

func needPython(t testing.TB) {
	testkit.Require(t, testkit.File(systemPython))
}

var testSupport = map[string][]byte{"/cellblock/repl.py": []byte("def f(): raise ValueError\nif __name__ == '__main__': print('repl'); f()\n")}

func sharedRoot(t testing.TB, spec Spec) (*Store, *Root) {
	t.Helper()
	needPython(t)
	s, err := Open(sharedDir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Ensure(context.Background(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func stdlibSpec() Spec { return Spec{Python: systemPython, Support: testSupport} }

// in runs the root's Python with its root changed to dir and returns what it
// prints on both streams.
func (r *Root) in(dir string, args ...string) (string, error) {
	cmd := exec.Command(r.Python, args...)
	cmd.Env = []string{"LANG=C.UTF-8", "HOME=/workspace", "MPLCONFIGDIR=/tmp", "OPENBLAS_NUM_THREADS=1"}
	for _, kv := range os.Environ() { // an older OpenBLAS may need to be told the processor
		if strings.HasPrefix(kv, "OPENBLAS_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// importable runs python on the host or in the root and returns which of the
// modules can be imported.
const importScript = `
import importlib, json, sys
ok = []
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
        ok.append(name)
    except Exception as e:
        print(name, repr(e), file=sys.stderr)
print(json.dumps(ok))
`

func TestEveryPythonHereRunsFromItsRoot(t *testing.T) {
	testkit.Require(t, testkit.Root)
	needPython(t)
	pythons := []string{systemPython}
	for minor := oldestPython[1]; minor <= newestMinor; minor++ {
		found, _ := filepath.Glob(fmt.Sprintf("/root/.pyenv/versions/3.%d.*/bin/python3", minor))
		pythons = append(pythons, found...)
	}
	for _, python := range pythons {
		t.Run(strings.Trim(strings.ReplaceAll(python, "/", "_"), "_"), func(t *testing.T) {
			_, r := sharedRoot(t, Spec{Python: python, Support: testSupport})
			t.Logf("%s: %s", r.Digest, r.Python)

			modules := stdlibModules(t, r)
			host, err := exec.Command(python, "-I", "-S", "-B", "-c", importScript, modules).Output()
			if err != nil {
				t.Fatal(err)
			}
			cell, err := r.in(r.Dir, "-I", "-S", "-B", "-W", "ignore", "-c", importScript, modules)
			if err != nil {
				t.Fatalf("%v\n%s", err, cell)
			}
			if diff := cmp.Diff(lastList(t, string(host)), lastList(t, cell)); diff != "" {
				t.Errorf("modules that can be imported differ (- host, + root):\n%s", diff)
			}

			out, err := r.in(r.Dir, "-I", "-S", "-c", `import sys, json, os, sysconfig, ssl, sqlite3, ctypes, decimal, lzma, zoneinfo, pwd
assert sys.prefix == sysconfig.get_config_var("prefix") == `+fmt.Sprintf("%q", r.Prefix)+`, sys.prefix
assert all(p.startswith(sys.prefix) for p in sys.path), sys.path
assert os.path.dirname(os.__file__) == `+fmt.Sprintf("%q", r.Stdlib)+`
assert os.path.exists(json.__cached__), json.__cached__
assert json.loads.__code__.co_filename == json.__file__, json.loads.__code__.co_filename
assert open(json.__cached__, "rb").read(8)[4:] == b"\1\0\0\0"
assert pwd.getpwuid(1).pw_name == "cell"
assert "pyenv" not in repr(sysconfig.get_config_vars())
assert zoneinfo.ZoneInfo("Europe/Berlin")
ctypes.CDLL("libgcc_s.so.1")
sqlite3.connect(":memory:").execute("select 1")
print("%d.%d.%d" % sys.version_info[:3])`)
			if want := fmt.Sprintf("%d.%d.%d\n", r.Version[0], r.Version[1], r.Version[2]); err != nil || out != want {
				t.Errorf("%v: %s, want %s", err, out, want)
			}

			out, _ = r.in(r.Dir, "-I", "-S", "/cellblock/repl.pyc")
			if !strings.HasPrefix(out, "repl\n") || !strings.Contains(out, `File "/cellblock/repl.py", line 1, in f`) {
				t.Errorf("the compiled support file says:\n%s", out)
			}
		})
	}
}

// stdlibModules lists, as JSON, what the root's standard library holds.
func stdlibModules(t *testing.T, r *Root) string {
	t.Helper()
	var names []string
	for _, dir := range []string{r.Stdlib, r.Stdlib + "/lib-dynload"} {
		entries, err := os.ReadDir(filepath.Join(r.Dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name, _, _ := strings.Cut(e.Name(), ".")
			switch {
			case name == "antigravity" || name == "this" || name == "__pycache__" || strings.Contains(name, "-"):
			case e.IsDir() && !exists(filepath.Join(r.Dir, dir, name, "__init__.py")):
			case e.IsDir() || strings.HasSuffix(e.Name(), ".py") || strings.HasSuffix(e.Name(), ".so"):
				names = append(names, name)
			}
		}
	}
	if len(names) < 150 {
		t.Errorf("only %d modules", len(names))
	}
	data, _ := json.Marshal(names)
	return string(data)
}

// lastList reads the list on the last line; some modules print when imported.
func lastList(t *testing.T, out string) (list []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &list); err != nil {
		t.Fatalf("%v in:\n%s", err, out)
	}
	return list
}

func exists(p string) bool { _, err := os.Lstat(p); return err == nil }

func TestRootHoldsNothingElse(t *testing.T) {
	_, r := sharedRoot(t, stdlibSpec())
	var programs []string
	err := filepath.WalkDir(r.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, r.Dir)
		want := fs.FileMode(0o444)
		switch {
		case d.IsDir():
			want = 0o555
		case fi.Mode()&fs.ModeSymlink != 0:
			if _, err := os.Stat(p); err != nil && rel != "/etc/localtime" {
				t.Errorf("%s leads nowhere", rel)
			}
			return nil
		case fi.Mode()&0o111 != 0:
			programs = append(programs, rel)
			want = 0o555
		}
		if fi.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != want {
			t.Errorf("%s has mode %v", rel, fi.Mode())
		}
		if !fi.ModTime().Equal(normalTime) && fi.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is of %v", rel, fi.ModTime())
		}
		switch filepath.Base(rel) {
		case "sh", "bash", "dash", "busybox", "pip", "ensurepip", "gcc", "cc", "ld", "apt", "dpkg":
			t.Errorf("%s is carried", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(programs) != 2 {
		t.Errorf("programs: %q", programs)
	}
}

func TestDataPackagesDraw(t *testing.T) {
	testkit.Require(t, testkit.Root)
	for _, p := range []string{"numpy", "pandas", "matplotlib"} {
		testkit.Require(t, testkit.File(filepath.Join(debianSite, p)))
	}
	_, r := sharedRoot(t, Spec{Python: systemPython, Support: testSupport, Packages: []string{"matplotlib", "numpy", "pandas"}})
	// Run in a copy, because matplotlib writes below /tmp.
	dir := filepath.Join(t.TempDir(), "tree")
	if out, err := exec.Command("cp", "-a", r.Dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	path, _ := json.Marshal(r.SysPath)
	out, err := r.in(dir, "-I", "-S", "-B", "-c", `
import sys; sys.path += `+string(path)+`
import numpy, pandas, matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
assert numpy.allclose(numpy.linalg.inv(numpy.diag([2.0, 4.0])), numpy.diag([.5, .25]))
df = pandas.DataFrame({"t": pandas.date_range("2024-01-01", periods=3, tz="Europe/Berlin"), "v": [1, 2, 4]})
fig, ax = plt.subplots(); ax.plot(df.t, df.v); ax.set_title(r"$\alpha$"); fig.savefig("/tmp/a.png"); fig.savefig("/tmp/a.pdf")
plt.contourf([[1, 2], [3, 4]]); plt.savefig("/tmp/b.png")
stray = [m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None) and not m.__file__.startswith("/usr/lib/python3")]
assert not stray, stray
print(open("/tmp/a.png", "rb").read(4), open("/tmp/a.pdf", "rb").read(4))`)
	if err != nil || out != "b'\\x89PNG' b'%PDF'\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPythonsThatAreRefused(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "python3")
	os.WriteFile(script, []byte("#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n"), 0o755)
	plain := filepath.Join(dir, "plain")
	os.WriteFile(plain, nil, 0o644)
	for python, says := range map[string]string{
		filepath.Join(dir, "none"): "there is no Python at",
		dir:                        "is not an executable file",
		plain:                      "is not an executable file",
		script:                     `is a script, not an interpreter: name the interpreter it starts, "/usr/bin/python3"`,
		"no-such-python":           `there is no "no-such-python" in PATH`,
		"/bin/true":                "answered",
		"/root/.pyenv/versions/3.8.18/bin/python3":   "is Python 3.8.18, and cells run 3.9 to 3.13",
		"/root/.pyenv/versions/2.7.18/bin/python2.7": "is Python 2.7.18, and cells run 3.9 to 3.13",
	} {
		if strings.HasPrefix(python, "/root") && !exists(python) {
			continue
		}
		s, _ := Open(filepath.Join(dir, "store"))
		_, err := s.Ensure(context.Background(), Spec{Python: python}, nil)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", python, err)
		}
	}
}

// A user who is not root has a store of their own, whose read-only
// directories can still be removed.
func TestUnprivilegedUserBuilds(t *testing.T) {
	testkit.Require(t, testkit.Root)
	needPython(t)
	dir, err := os.MkdirTemp("/var/tmp", "cellblock-roots-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeTree(dir) })
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"ROOTFS_TEST_BUILD_IN=" + dir, "PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// buildAsSomebodyElse is the other half of TestUnprivilegedUserBuilds.
func buildAsSomebodyElse(dir string) int {
	syscall.Umask(0o077)
	s, _ := Open(dir)
	r, err := s.Ensure(context.Background(), stdlibSpec(), nil)
	if err == nil {
		var report *Report
		if report, err = s.Verify(r.Digest, nil); err == nil && !report.OK() {
			err = fmt.Errorf("%s", report)
		}
	}
	if err == nil {
		err = s.Remove(r.Digest)
	}
	if err == nil && exists(filepath.Join(dir, "tmp", "removed-"+r.Digest)) {
		err = fmt.Errorf("the removed root is still there")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func TestTwoBuildersBuildOnce(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	var mu sync.Mutex
	builds := 0
	roots := make([]*Root, 3)
	var wg sync.WaitGroup
	for i := range roots {
		wg.Go(func() {
			s, _ := Open(dir) // a lock belongs to an open file, so this is as good as another process
			r, err := s.Ensure(context.Background(), stdlibSpec(), func(stage string, done, total int64) {
				mu.Lock()
				defer mu.Unlock()
				if stage == "plan" && done == 0 {
					builds++
				}
			})
			if err != nil {
				t.Error(err)
			}
			roots[i] = r
		})
	}
	wg.Wait()
	defer removeTree(dir)
	if t.Failed() {
		return
	}
	if builds != 1 || roots[0].Digest != roots[1].Digest || roots[1].Digest != roots[2].Digest {
		t.Errorf("%d builds: %v", builds, roots)
	}
	// The same Python gives the same root anywhere, byte code included.
	if _, r := sharedRoot(t, stdlibSpec()); r.Digest != roots[0].Digest {
		t.Errorf("two builds gave %s and %s", r.Digest, roots[0].Digest)
	}
}
