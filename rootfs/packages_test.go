package rootfs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dataHost has Debian's pandas and matplotlib in small: requirements taken out
// of the metadata, data outside of the package, tests beside the code.
var dataHost = debianHost.with(fakeHost{
	debianSite + "/numpy/__init__.py":                       "",
	debianSite + "/numpy/tests/test_a.py":                   "",
	debianSite + "/numpy-1.24.2.egg-info/PKG-INFO":          "Name: numpy\nVersion: 1.24.2\n",
	debianSite + "/numpy-1.24.2.egg-info/top_level.txt":     "numpy\n",
	debianSite + "/pandas/__init__.py":                      "",
	debianSite + "/pandas-1.5.3.egg-info/PKG-INFO":          "Name: pandas\nVersion: 1.5.3\n",
	debianSite + "/pandas-1.5.3.egg-info/top_level.txt":     "pandas\n",
	debianSite + "/pandas-1.5.3.egg-info/requires.txt":      "\n[:python_version >= \"3.10\"]\n\n[test]\npytest\n",
	debianSite + "/pkg_resources/__init__.py":               "",
	debianSite + "/matplotlib/__init__.py":                  "",
	debianSite + "/matplotlib-3.6.3.egg-info/PKG-INFO":      "Name: matplotlib\nVersion: 3.6.3\n",
	debianSite + "/matplotlib-3.6.3.egg-info/top_level.txt": "\nmatplotlib\npylab\n",
	debianSite + "/pylab.py":                                "",
	debianSite + "/yaml/__init__.py":                        "",
	debianSite + "/_yaml/__init__.py":                       "",
	debianSite + "/PyYAML-6.0.dist-info/METADATA":           "Name: PyYAML\nVersion: 6.0\n",
	debianSite + "/PyYAML-6.0.dist-info/RECORD":             "yaml/__init__.py,sha256=x,1\n_yaml/__init__.py,,\n",
	debianSite + "/scipy/__init__.py":                       "",
	debianSite + "/scipy-1.10.dist-info/METADATA":           "Name: scipy\nVersion: 1.10\nRequires-Dist: numpy<2,>=1.19\nRequires-Dist: absent\nRequires-Dist: pytest; extra == \"test\"\nRequires-Dist: win32; sys_platform == \"win32\"\n",
	debianSite + "/perf.cpython-311-x86_64-linux-gnu.so":    lib(),
	debianSite + "/sub-1.egg-info":                          "Name: sub\nVersion: 1\n",
	debianSite + "/sub/__init__.py":                         "",
	debianSite + "/lazr/config/__init__.py":                 "",
	debianSite + "/lazr/uri/__init__.py":                    "",
	debianSite + "/lazr_uri-1.dist-info/METADATA":           "Name: lazr.uri\nVersion: 1\n",
	debianSite + "/lazr_uri-1.dist-info/RECORD":             "lazr/uri/__init__.py,,\nlazr/uri/__pycache__/x.pyc,,\n",
	debianSite + "/edit-1.dist-info/METADATA":               "Name: edit\nVersion: 1\n",
	debianSite + "/edit-1.dist-info/direct_url.json":        `{"dir_info": {"editable": true}, "url": "file:///home/u/edit"}`,
	"/usr/share/matplotlib/mpl-data/matplotlibrc":           "",
	"/usr/share/doc/python-matplotlib-data/copyright":       "",
	"/usr/share/fonts/dejavu/DejaVuSans.ttf":                "",
	"/etc/matplotlibrc":                                     "",
	"/etc/fonts/conf.avail/dejavu.conf":                     "",
	debianSite + "/crypto/__init__.py":                      "",
	debianSite + "/crypto/_rust.abi3.so":                    lib() + "\x00_cffi_backend\x00",
	debianSite + "/crypto-1.dist-info/METADATA":             "Name: crypto\nVersion: 1\n",
	debianSite + "/_cffi_backend.cpython-311.so":            lib(),
	"/var/lib/dpkg/info/python3-crypto.list":                debianSite + "/crypto-1.dist-info\n" + debianSite + "/crypto\n",
	"/var/lib/dpkg/info/python3-cffi-backend:amd64.list":    debianSite + "/_cffi_backend.cpython-311.so\n",
	"/var/lib/dpkg/status": strings.Join([]string{
		"Package: python3-pandas\nStatus: install ok installed\nDepends: python3-numpy (>= 1:1.18) | python3 (<< 3.10), python3-six, python3-pkg-resources, python3-absent\nDescription: x\n y: z",
		"Package: python3-numpy\nStatus: install ok installed",
		"Package: python3-six\nStatus: install ok installed",
		"Package: python3-pkg-resources\nStatus: install ok installed",
		"Package: python3-removed\nStatus: deinstall ok config-files",
		"Package: python3-matplotlib\nStatus: install ok installed\nDepends: python-matplotlib-data (>= 3), libjs-jquery",
		"Package: python3-crypto\nStatus: install ok installed\nDepends: python3-cffi-backend-api-min (<= 9729), python3-six",
		"Package: python3-cffi-backend\nStatus: install ok installed\nProvides: python3-cffi-backend-api-max (= 1), python3-cffi-backend-api-min (= 2)",
		"Package: python-matplotlib-data\nStatus: install ok installed\nDepends: fonts-dejavu-core",
		"Package: fonts-dejavu-core\nStatus: install ok installed",
	}, "\n\n") + "\n",
	"/var/lib/dpkg/info/python3-pandas.list":         debianSite + "/pandas-1.5.3.egg-info\n",
	"/var/lib/dpkg/info/python3-numpy.list":          debianSite + "/numpy-1.24.2.egg-info\n",
	"/var/lib/dpkg/info/python3-six.list":            debianSite + "/six-1.16.0.egg-info\n",
	"/var/lib/dpkg/info/python3-pkg-resources.list":  debianSite + "/pkg_resources\n",
	"/var/lib/dpkg/info/python3-matplotlib.list":     debianSite + "/matplotlib-3.6.3.egg-info\n",
	"/var/lib/dpkg/info/python-matplotlib-data.list": "/etc\n/etc/matplotlibrc\n/usr/share/matplotlib\n/usr/share/matplotlib/mpl-data/matplotlibrc\n/usr/share/doc/python-matplotlib-data/copyright\n",
	"/var/lib/dpkg/info/fonts-dejavu-core.list":      "/usr/share/fonts/dejavu/DejaVuSans.ttf\n/etc/fonts/conf.avail/dejavu.conf\n",
})

func TestPackages(t *testing.T) {
	for _, tt := range []struct {
		name     string
		packages []string
		carried  map[string]string
		files    []string // some of those carried
		not      []string // some of those not carried
	}{
		{
			"requirements from dpkg",
			[]string{"pandas"},
			map[string]string{"pandas": "1.5.3", "numpy": "1.24.2", "six": "1.16.0"},
			[]string{debianSite + "/pandas/__init__.py", debianSite + "/numpy/__init__.py", debianSite + "/six.py"},
			[]string{debianSite + "/pkg_resources", debianSite + "/numpy/tests", debianSite + "/hook.pth"},
		},
		{
			"requirements from metadata",
			[]string{"scipy"},
			map[string]string{"scipy": "1.10", "numpy": "1.24.2"},
			nil, nil,
		},
		{
			"data of Debian packages",
			[]string{"matplotlib"},
			map[string]string{"matplotlib": "3.6.3"},
			[]string{debianSite + "/pylab.py", "/etc/matplotlibrc", "/usr/share/matplotlib/mpl-data/matplotlibrc", "/usr/share/fonts/dejavu/DejaVuSans.ttf"},
			[]string{"/usr/share/doc", "/etc/fonts"},
		},
		{
			"requirements that only the code names",
			[]string{"crypto"},
			map[string]string{"crypto": "1", "_cffi_backend": ""},
			[]string{debianSite + "/_cffi_backend.cpython-311.so"},
			nil,
		},
		{
			"import name",
			[]string{"yaml"},
			map[string]string{"PyYAML": "6.0"},
			[]string{debianSite + "/_yaml/__init__.py"},
			nil,
		},
		{"distribution name in other spelling", []string{"pyYaml"}, map[string]string{"PyYAML": "6.0"}, nil, nil},
		{
			"module without distribution",
			[]string{"perf"},
			map[string]string{"perf": ""},
			[]string{debianSite + "/perf.cpython-311-x86_64-linux-gnu.so"},
			nil,
		},
		{
			"egg-info that is a file",
			[]string{"sub"},
			map[string]string{"sub": "1"},
			[]string{debianSite + "/sub/__init__.py", debianSite + "/sub-1.egg-info"},
			nil,
		},
		{
			"namespace package",
			[]string{"lazr.uri"},
			map[string]string{"lazr.uri": "1"},
			[]string{debianSite + "/lazr/uri/__init__.py"},
			[]string{debianSite + "/lazr/config"},
		},
		{"standard library", []string{"json"}, map[string]string{}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, dataHost, debianPython, Spec{Packages: tt.packages})
			if diff := cmp.Diff(tt.carried, p.Packages); diff != "" {
				t.Error(diff)
			}
			for _, f := range tt.files {
				if p.entry(f) == nil {
					t.Errorf("%s is not carried", f)
				}
			}
			for _, f := range tt.not {
				if p.entry(f) != nil {
					t.Errorf("%s is carried", f)
				}
			}
			if len(tt.carried) > 0 && !slices.Equal(p.SysPath, []string{debianSite}) {
				t.Errorf("sys.path: %q", p.SysPath)
			}
		})
	}
}

func TestPackagesThatCannotBeCarried(t *testing.T) {
	for _, tt := range []struct {
		in   Interpreter
		spec Spec
		says string
	}{
		{debianPython, Spec{Packages: []string{"sklearn"}}, `"sklearn" is not installed for /usr/bin/python3 (Python 3.11.2): install it with "apt-get install python3-sklearn"`},
		{ownPython, Spec{Packages: []string{"numpy"}}, `install it with "/home/u/py/bin/python3.12 -m pip install numpy"`},
		{debianPython, Spec{Packages: []string{"pip"}}, "package manager"},
		{debianPython, Spec{Packages: []string{"tkinter"}}, "needs a display"},
		{debianPython, Spec{Packages: []string{"edit"}}, "editable install"},
	} {
		_, err := NewPlan(dataHost.with(ownHost).fs(), &tt.in, tt.spec)
		if !errors.Is(err, ErrPackage) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v", tt.spec.Packages, err)
		}
	}
	p := plan(t, dataHost, debianPython, Spec{Packages: []string{"scipy"}})
	if diff := cmp.Diff([]string{"scipy requires absent, which is not installed"}, p.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestVirtualEnvironment(t *testing.T) {
	const site = "/v/lib/python3.11/site-packages"
	h := dataHost.with(fakeHost{
		"/v/pyvenv.cfg":                            "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n",
		site + "/app/__init__.py":                  "",
		site + "/app-2.dist-info/METADATA":         "Name: app\nVersion: 2\nRequires-Dist: numpy\n",
		site + "/app-2.dist-info/RECORD":           "app/__init__.py,,\n../../../bin/app,,\n",
		site + "/app-2.dist-info/direct_url.json":  `{"url": "file:///home/u/app"}`,
		site + "/byhand.py":                        "",
		site + "/pip/__init__.py":                  "",
		site + "/pip-23.dist-info/METADATA":        "Name: pip\nVersion: 23\n",
		site + "/pip-23.dist-info/RECORD":          "pip/__init__.py,,\n",
		site + "/setuptools/__init__.py":           "",
		site + "/setuptools-60.dist-info/METADATA": "Name: setuptools\nVersion: 60\n",
		site + "/setuptools-60.dist-info/RECORD":   "setuptools/__init__.py,,\n",
		site + "/__editable__.x.pth":               "/home/u/x\n",
		"/v/bin/app":                               "#!/v/bin/python",
	})
	p := plan(t, h, debianPython, Spec{Venv: "/v"})
	if diff := cmp.Diff(map[string]string{"app": "2"}, p.Packages); diff != "" {
		t.Error(diff)
	}
	const there = "/opt/venv/lib/python3.11/site-packages/"
	want := []string{there + "app-2.dist-info/METADATA", there + "app-2.dist-info/RECORD", there + "app/__init__.py", there + "byhand.py"}
	var got []string
	for _, f := range p.files("/opt") {
		name, _, _ := strings.Cut(f, " ")
		got = append(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(p.Warnings) != 2 { // numpy is missing in it, and the editable install
		t.Errorf("warnings: %q", p.Warnings)
	}

	h["/v/pyvenv.cfg"] = "home = /usr/bin\ninclude-system-site-packages = true\n"
	p = plan(t, h, debianPython, Spec{Venv: "/v"})
	if p.Packages["numpy"] == "" || !slices.Equal(p.SysPath, []string{there[:len(there)-1], debianSite}) {
		t.Errorf("with the system's packages: %v, sys.path %q", p.Packages, p.SysPath)
	}
	if _, err := NewPlan(h.with(ownHost).fs(), &ownPython, Spec{Python: ownPython.Path, Venv: "/v"}); !errors.Is(err, ErrSpec) {
		t.Errorf("an environment of another version: %v", err)
	}
	if _, err := NewPlan(h.fs(), &debianPython, Spec{Python: "/usr/bin/python3", Venv: "/v", Packages: []string{"flask"}}); !errors.Is(err, ErrPackage) ||
		!strings.Contains(err.Error(), "/v/bin/python -m pip install flask") {
		t.Errorf("a package that is not in it: %v", err)
	}
}
