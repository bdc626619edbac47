package rootfs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cellblock/cellblock/internal/testkit"
)

var compareUnexported = cmp.AllowUnexported(requirement{}, metadata{}, venvConfig{}, inode{}, index{})

func TestParseMetadata(t *testing.T) {
	got := parseMetadata([]byte("Metadata-Version: 2.1\nName: A_b\nVersion: 1\nSummary: x\n  Name: folded\nRequires-Dist: numpy (>=1.16)\r\n" +
		"Requires-Dist: Type_Ext.ensions; python_version < \"3.10\"\nRequires-Dist: pytest ; extra == 'test'\nRequires-Dist: foo[bar]~=1\n\nName: body\n"))
	want := metadata{"A_b", "1", []requirement{{"numpy", false}, {"type-ext-ensions", true}, {"foo", false}}}
	if diff := cmp.Diff(want, got, compareUnexported); diff != "" {
		t.Error(diff)
	}
}

func TestParseRequiresTxt(t *testing.T) {
	for _, tt := range []struct {
		text     string
		want     []requirement
		stripped bool
	}{
		{"six>=1.5\n", []requirement{{"six", false}}, false},
		{"\n[all]\nscipy\n", nil, false}, // setuptools' own form of "nothing but extras"
		{"a\n\n[:python_version < \"3.8\"]\nb\n\n[x]\nc\n", []requirement{{"a", false}, {"b", true}}, false},
		{"", nil, true},
		{"\n[:python_version >= \"3.10\"]\n\n[test]\npytest\n", nil, true},
		{"[plugins]\n\n[plugins:python_version < \"3.8\"]\nx\n", nil, false},
		{"[:python_version < \"3.8\"]\n", nil, true},
	} {
		got, stripped := parseRequiresTxt([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got, compareUnexported); diff != "" || stripped != tt.stripped {
			t.Errorf("%q: stripped %v %s", tt.text, stripped, diff)
		}
	}
}

func TestParseVenvConfig(t *testing.T) {
	there := func(files ...string) func(string) bool {
		return func(p string) bool { return strings.Contains(strings.Join(files, "\n")+"\n", p+"\n") }
	}
	for _, tt := range []struct {
		text   string
		exists func(string) bool
		want   venvConfig
	}{
		{"home = /usr/bin\nexecutable = /usr/bin/python3.11\n", there("/usr/bin/python3.11"), venvConfig{"/usr/bin/python3.11", false}},
		{"home = /usr/bin\nversion = 3.9.18\nInclude-System-Site-Packages = True", there("/usr/bin/python3.9", "/usr/bin/python3"), venvConfig{"/usr/bin/python3.9", true}},
		{"home = /o/bin\nversion_info = 3.12.1.final.0\n", there("/o/bin/python3.12"), venvConfig{"/o/bin/python3.12", false}},
		{"home = /gone\n", there(), venvConfig{}},
	} {
		if diff := cmp.Diff(tt.want, parseVenvConfig([]byte(tt.text), tt.exists), compareUnexported); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseLdCacheOfThisMachine(t *testing.T) {
	testkit.Require(t, testkit.File("/etc/ld.so.cache"))
	data, err := os.ReadFile("/etc/ld.so.cache")
	if err != nil {
		t.Fatal(err)
	}
	libs, err := parseLdCache(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(libs["libc.so.6"]) == 0 {
		t.Errorf("no libc.so.6 among %d libraries", len(libs))
	}
}

func TestInodesSurviveARecord(t *testing.T) {
	p := t.TempDir() + "/record"
	want := []inode{{path: "/a b", ino: 1, size: 2, mtime: 3, ctime: 4, mode: 5, uid: 6}, {path: ""}, {path: "/x", mtime: -1}}
	if err := writeRecord(p, index{Digest: "d", Fences: 1}, want); err != nil {
		t.Fatal(err)
	}
	var idx index
	if err := readRecord(p, &idx, &idx.inodes); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(index{"d", 1, want}, idx, compareUnexported); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"1 2 3\n", "1 2 3 4 5 6 /x", "a 2 3 4 5 6 /x\n", "\n"} {
		if _, err := parseInodes(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestSpecs(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []Spec{
		{Packages: []string{"a b"}},
		{Packages: []string{"../x"}},
		{Packages: []string{"-r"}},
		{Support: map[string][]byte{"rel": nil}},
		{Support: map[string][]byte{"/a/../b": nil}},
		{Trees: []Tree{{Host: "x", Root: "/y"}}},
		{Venv: dir},
	} {
		if _, err := tt.normalised(); err == nil {
			t.Errorf("%+v was taken", tt)
		}
	}
	a, err1 := Spec{Python: "/usr/bin/python3", Packages: []string{"b", " a", "", "b"}}.normalised()
	b, err2 := Spec{Python: "/usr/bin/../bin/python3", Packages: []string{"a", "b"}}.normalised()
	if err1 != nil || err2 != nil || a.key() != b.key() {
		t.Errorf("equal wishes differ: %+v %+v %v %v", a, b, err1, err2)
	}
	c := b
	c.Support = map[string][]byte{"/cellblock/repl.py": []byte("x")}
	if c.key() == b.key() {
		t.Error("support files are not in the key")
	}
	os.WriteFile(dir+"/pyvenv.cfg", []byte("home = /usr/bin\nversion = 9.9\nexecutable = /usr/bin/env\n"), 0o644)
	v, err := Spec{Python: dir + "/bin/python"}.normalised()
	if err != nil || v.Venv != dir || v.Python != "/usr/bin/env" {
		t.Errorf("an interpreter inside an environment: %+v %v", v, err)
	}
}

func FuzzParseLdCache(f *testing.F) {
	f.Add([]byte(ldCache(map[string]string{"libc.so.6": "/lib/libc.so.6"})))
	f.Add([]byte("ld.so-1.7.0\x00\x01\x00\x00\x00" + strings.Repeat("x", 20) + "glibc-ld.so.cache1.1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		libs, err := parseLdCache(data)
		if err != nil && libs != nil {
			t.Error("both a result and an error")
		}
		for name, paths := range libs {
			for _, p := range paths {
				if name == "" || !strings.HasPrefix(p, "/") {
					t.Errorf("%q → %q", name, p)
				}
			}
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte("Name: x\nRequires-Dist: a[b]>=1; extra == 'c'\n\nbody"))
	f.Add([]byte("[:x]\n\n[y]\nz"))
	f.Add([]byte("a/b.py,sha256=x,1\n\"q\"\"r\",,\n../x,,\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		reqs := parseMetadata(data).requires
		more, _ := parseRequiresTxt(data)
		for _, r := range append(reqs, more...) {
			if r.name == "" || r.name != normalName(r.name) {
				t.Errorf("requirement %q", r.name)
			}
		}
		paths, _ := parseRecord(data)
		for _, p := range paths {
			if strings.HasPrefix(p, "/") || p == ".." || strings.HasPrefix(p, "../") {
				t.Errorf("RECORD leads to %q", p)
			}
		}
		parseVenvConfig(data, func(string) bool { return true })
		parseDpkgStatus(data)
		parseInodes(string(data))
	})
}

// FuzzReadObject: packages bring any bytes under the name of a library.
func FuzzReadObject(f *testing.F) {
	f.Add([]byte(elfFile(loaderPath, []string{"libc.so.6"}, "$ORIGIN")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := readObject(strings.NewReader(string(data))); err == nil && o == nil {
			t.Error("neither an object nor an error")
		}
	})
}
