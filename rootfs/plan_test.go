package rootfs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlanOfASystemPython(t *testing.T) {
	p := plan(t, debianHost, debianPython, Spec{Support: map[string][]byte{"/cellblock/lock.so": []byte(lib("libz.so.1"))}})
	want := []string{
		"/cellblock/lock.so",
		"/etc/group", "/etc/hosts", "/etc/localtime -> ../usr/share/zoneinfo/UTC", "/etc/nsswitch.conf", "/etc/passwd", "/home/user -> ../workspace",
		"/lib -> usr/lib", "/lib64 -> usr/lib64",
		"/usr/bin/python3.11",
		"/usr/lib/python3.11/lib-dynload/_ssl.cpython.so",
		"/usr/lib/python3.11/os.py",
		"/usr/lib/python3.11/unittest/case.py",
		"/usr/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
		"/usr/lib/x86_64-linux-gnu/libssl.so.3 < /usr/lib/ssl3/libssl.so.3",
		"/usr/lib/x86_64-linux-gnu/libz.so.1 < /usr/lib/x86_64-linux-gnu/libz.so.1.2.13",
		"/usr/lib64/ld-linux-x86-64.so.2 < /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
		"/usr/share/zoneinfo/Etc/UTC < /usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTC",
	}
	if diff := cmp.Diff(want, p.files("/")); diff != "" {
		t.Error(diff)
	}
	for _, e := range p.Entries {
		program := e.Path == "/usr/bin/python3.11" || e.Path == "/usr/lib64/ld-linux-x86-64.so.2"
		if e.Exec != program {
			t.Errorf("%s: may be executed: %v", e.Path, e.Exec)
		}
	}
	for _, dir := range mountpoints {
		if e := p.entry(dir); e == nil || e.Kind != Dir {
			t.Errorf("%s is no directory to mount on", dir)
		}
	}
	if e := p.entry("/home/user"); e == nil || e.Kind != Link || e.Target != "../workspace" {
		t.Errorf("/home/user is %+v", e)
	}
	if !slices.Contains(p.Witnesses, "/usr/bin/python3") || !slices.Contains(p.Witnesses, "/usr/lib/ssl3/libssl.so.3") {
		t.Errorf("witnesses: %q", p.Witnesses)
	}
	if !slices.Contains(p.Fences, "/usr/lib/ssl3") || slices.Contains(p.Fences, "/usr/lib/ssl3/libssl.so.3") {
		t.Errorf("fences: %q", p.Fences)
	}
	if p.Warnings != nil {
		t.Errorf("warnings: %q", p.Warnings)
	}
}

func TestPlanTakesAPythonFromAHomeToANeutralPlace(t *testing.T) {
	p := plan(t, ownHost, ownPython, Spec{})
	want := []string{
		"/opt/python3.12/bin/python3.12 < /home/u/py/bin/python3.12",
		"/opt/python3.12/lib/python3.12/_sysconfigdata__linux_.py",
		"/opt/python3.12/lib/python3.12/os.py < /home/u/py/lib/python3.12/os.py",
	}
	if diff := cmp.Diff(want, p.files("/opt")); diff != "" {
		t.Error(diff)
	}
	if got := string(p.entry("/opt/python3.12/lib/python3.12/_sysconfigdata__linux_.py").Content); strings.Contains(got, "/home/u") {
		t.Errorf("the host's path is in %q", got)
	}
	if e := p.entry("/usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0"); e == nil {
		t.Errorf("libpython is not where the loader looks: %q", p.files("/usr"))
	}
	if p.Python != "/opt/python3.12/bin/python3.12" || p.Stdlib != "/opt/python3.12/lib/python3.12" || p.SysPath != nil {
		t.Errorf("python %q, stdlib %q, sys.path %q", p.Python, p.Stdlib, p.SysPath)
	}
}

func TestPlanCarriesTheTestSuiteWhenAsked(t *testing.T) {
	_, err := NewPlan(debianHost.fs(), &debianPython, Spec{Python: "/usr/bin/python3", Packages: []string{"test"}})
	if !errors.Is(err, ErrPackage) || !strings.Contains(err.Error(), "libpython3.11-testsuite") {
		t.Errorf("without the suite: %v", err)
	}
	h := debianHost.with(fakeHost{"/usr/lib/python3.11/test/test_grammar.py": ""})
	p := plan(t, h, debianPython, Spec{Packages: []string{"test"}})
	for _, f := range []string{"test/test_grammar.py", "unittest/test/test_case.py", "lib-dynload/_testcapi.x.so"} {
		if p.entry("/usr/lib/python3.11/"+f) == nil {
			t.Errorf("%s is not carried", f)
		}
	}
	if p.entry("/usr/lib/python3.11/tkinter") != nil {
		t.Error("tkinter is carried")
	}
}

func TestPlanFollowsOnlyLinksTheSystemOffers(t *testing.T) {
	const site = "/home/u/venv/lib/python3.11/site-packages"
	h := debianHost.with(fakeHost{
		"/home/u/venv/pyvenv.cfg":         "home = /usr/bin\n",
		site + "/mod/__init__.py":         "",
		site + "/mod/inside.py":           "-> __init__.py",
		site + "/mod/system.py":           "-> /usr/lib/python3.11/os.py",
		site + "/mod/shadow.py":           "-> /etc/shadow",
		site + "/mod/key.py":              "-> /home/u/.ssh/id_rsa",
		site + "/mod/nothing.py":          "-> /nowhere",
		site + "/mod/circle":              "-> ../mod",
		site + "/loop":                    "-> loop",
		site + "/_virtualenv.pth":         "import x",
		site + "/editable.pth":            "/home/u/src\n",
		site + "/pip/__init__.py":         "",
		site + "/pip-23.dist-info/RECORD": "pip/__init__.py,,\n",
		"/home/u/.ssh/id_rsa":             "key",
	})
	p := plan(t, h, debianPython, Spec{Venv: "/home/u/venv"})
	want := []string{
		"/opt/venv/lib/python3.11/site-packages/mod/__init__.py < " + site + "/mod/__init__.py",
		"/opt/venv/lib/python3.11/site-packages/mod/inside.py < " + site + "/mod/__init__.py",
		"/opt/venv/lib/python3.11/site-packages/mod/system.py < /usr/lib/python3.11/os.py",
	}
	if diff := cmp.Diff(want, p.files("/opt")); diff != "" {
		t.Error(diff)
	}
	all := strings.Join(p.Warnings, "\n")
	for _, w := range []string{"shadow.py is a link", "key.py is a link", "nothing.py is a link", "circle is a link", "editable.pth adds /home/u/src"} {
		if !strings.Contains(all, w) {
			t.Errorf("no warning %q in:\n%s", w, all)
		}
	}
	if diff := cmp.Diff([]string{"/opt/venv/lib/python3.11/site-packages"}, p.SysPath); diff != "" {
		t.Error(diff)
	}
}

func TestPlanFindsLibrariesAsTheLoaderWould(t *testing.T) {
	const site = "/usr/lib/python3/dist-packages"
	h := debianHost.with(fakeHost{
		// A wheel brings its libraries and finds them relative to itself.
		site + "/num/__init__.py":           "",
		site + "/num/core.so":               elfFile("", []string{"libblas-1234.so"}, "$ORIGIN/../num.libs"),
		site + "/num.libs/libblas-1234.so":  elfFile("", []string{"libgfortran-5.so"}, "${ORIGIN}"),
		site + "/num.libs/libgfortran-5.so": lib(),
		site + "/num-1.dist-info/METADATA":  "Name: num\nVersion: 1\n",
		site + "/num-1.dist-info/RECORD":    "num/__init__.py,,\nnum/core.so,,\nnum.libs/libblas-1234.so,,\nnum.libs/libgfortran-5.so,,\n../../../bin/num,,\n",
		// Debian's BLAS is chosen through links.
		site + "/lin.so":                                   lib("libcrypto.so.3", "libblas.so.3", "libmissing.so.1", "libother.so.1"),
		"/usr/lib/x86_64-linux-gnu/libblas.so.3":           "-> /etc/alternatives/libblas.so.3",
		"/etc/alternatives/libblas.so.3":                   "-> /usr/lib/x86_64-linux-gnu/openblas/libblas.so.3",
		"/usr/lib/x86_64-linux-gnu/openblas/libblas.so.3":  lib("libc.so.6"),
		"/usr/lib/x86_64-linux-gnu/libcrypto.so.3":         lib("libc.so.6"),
		"/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so": lib("libcrypto.so.3"),
		"/usr/lib/x86_64-linux-gnu/libother.so.1":          "INPUT(libother_real.so)", // a linker script
	})
	p := plan(t, h, debianPython, Spec{Packages: []string{"lin", "num"}})
	want := []string{
		site + "/lin.so", site + "/num-1.dist-info/METADATA", site + "/num-1.dist-info/RECORD",
		site + "/num.libs/libblas-1234.so", site + "/num.libs/libgfortran-5.so",
		site + "/num/__init__.py", site + "/num/core.so",
	}
	if diff := cmp.Diff(want, p.files(site)); diff != "" {
		t.Error(diff)
	}
	var libs []string
	for _, f := range p.files("/usr/lib/x86_64-linux-gnu") {
		if strings.Contains(f, "blas") || strings.Contains(f, "gfortran") || strings.Contains(f, "other") {
			libs = append(libs, f)
		}
	}
	if diff := cmp.Diff([]string{"/usr/lib/x86_64-linux-gnu/libblas.so.3 < /usr/lib/x86_64-linux-gnu/openblas/libblas.so.3"}, libs); diff != "" {
		t.Error(diff)
	}
	if p.entry("/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so") == nil {
		t.Error("libcrypto is without its modules")
	}
	all := strings.Join(p.Warnings, "\n")
	if !strings.Contains(all, "libmissing.so.1, which is not installed") {
		t.Errorf("warnings: %s", all)
	}
	for _, f := range []string{"/etc/alternatives", "/usr/lib/x86_64-linux-gnu/openblas"} {
		if !slices.Contains(p.Fences, f) {
			t.Errorf("%s is not looked at: %q", f, p.Fences)
		}
	}
}

func TestPlanSupportFilesWin(t *testing.T) {
	p := plan(t, debianHost, debianPython, Spec{Support: map[string][]byte{"/etc/passwd": []byte("mine")}})
	if got := string(p.entry("/etc/passwd").Content); got != "mine" {
		t.Errorf("/etc/passwd is %q", got)
	}
	_, err := NewPlan(debianHost.fs(), &debianPython, Spec{Python: "/usr/bin/python3", Support: map[string][]byte{"/usr/lib": nil}})
	if !errors.Is(err, ErrSpec) {
		t.Errorf("a file in the place of a directory: %v", err)
	}
}

func TestPlanTrees(t *testing.T) {
	h := debianHost.with(fakeHost{"/srv/data/a.txt": "a", "/srv/data/d/b.txt": "b"})
	if e := plan(t, h, debianPython, Spec{Trees: []Tree{{Host: "/srv/data", Root: "/home/user/data"}}}).entry("/home/user"); e == nil || e.Kind != Dir {
		t.Errorf("a tree below /home/user stands in %+v", e)
	}
	p := plan(t, h, debianPython, Spec{Trees: []Tree{{Host: "/srv/data", Root: "/inputs"}}})
	want := []string{"/inputs/a.txt < /srv/data/a.txt", "/inputs/d/b.txt < /srv/data/d/b.txt"}
	if diff := cmp.Diff(want, p.files("/inputs")); diff != "" {
		t.Error(diff)
	}
	_, err := NewPlan(h.fs(), &debianPython, Spec{Python: "/usr/bin/python3", Trees: []Tree{{Host: "/srv/none", Root: "/x"}}})
	if !errors.Is(err, ErrSpec) {
		t.Errorf("a tree that is not there: %v", err)
	}
}
