package rootfs

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// mountpoints are empty directories that a cell mounts over.
var mountpoints = []string{"/dev", "/inputs", "/proc", "/tmp", "/workspace"}

// homeLink is the workspace by the name that programs written for other sandboxes
// have for it. It is in no mount of its own and leads to no other place.
const homeLink = "/home/user"

// etc is all of /etc that Python's own functions ask for.
var etc = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/nonexistent:/nonexistent\ncell:x:1:1:cell:/workspace:/nonexistent\nnobody:x:65534:65534:nobody:/nonexistent:/nonexistent\n",
	"/etc/group":         "root:x:0:\ncell:x:1:\nnogroup:x:65534:\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
}

// skeleton plans what is no part of Python: mount points, a small /etc, the
// time zones and the C.UTF-8 locale.
func (p *planner) skeleton() error {
	for _, dir := range mountpoints {
		p.put(Entry{Path: dir, Kind: Dir})
	}
	for file, content := range etc {
		p.putContent(file, content)
	}
	const zones = "/usr/share/zoneinfo"
	if p.h.isDir(zones) {
		// posix and right are copies of the whole for other leap second rules.
		if err := p.tree(zones, zones, func(rel string, dir bool) bool {
			return rel != "posix" && rel != "right" && rel != "localtime" && rel != "posixrules"
		}); err != nil {
			return err
		}
		p.put(Entry{Path: "/etc/localtime", Kind: Link, Target: "../usr/share/zoneinfo/UTC"})
	}
	for _, locale := range []string{"/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"} {
		if p.h.isDir(locale) {
			if err := p.tree(locale, locale, keepSources); err != nil {
				return err
			}
		}
	}
	return nil
}

// interpreter plans the one program of the root.
func (p *planner) interpreter() error {
	p.witness(p.spec.Python)
	real, fi, err := p.h.stat(p.in.Executable)
	if err != nil || !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: %q says its program is %q, which cannot be read", ErrPython, p.in.Path, p.in.Executable)
	}
	p.plan.Python = p.rootPath(p.in.Executable)
	if !below(p.plan.Python, p.plan.Prefix) { // the landmarks are looked for from here upwards
		p.plan.Python = path.Join(p.plan.Prefix, "bin", path.Base(p.in.Executable))
	}
	p.put(Entry{Path: p.plan.Python, Kind: File, Source: real, Exec: true})
	return nil
}

// prunedStdlib are parts of the standard library that cannot work in a cell,
// or that only build or test something.
var prunedStdlib = map[string]string{
	"ensurepip":               "installs a package manager",
	"idlelib":                 "needs a display",
	"sitecustomize":           "the host's own start-up code",
	"site-packages":           "packages are chosen one by one",
	"dist-packages":           "packages are chosen one by one",
	"test":                    "asked for as the package \"test\"",
	"tkinter":                 "needs a display",
	"turtle":                  "needs a display",
	"turtledemo":              "needs a display",
	"usercustomize":           "the host's own start-up code",
	"_tkinter":                "needs a display",
	"_ctypes_test":            "asked for as the package \"test\"",
	"xxlimited":               "asked for as the package \"test\"",
	"xxlimited_35":            "asked for as the package \"test\"",
	"_xxtestfuzz":             "asked for as the package \"test\"",
	"_testbuffer":             "asked for as the package \"test\"",
	"_testcapi":               "asked for as the package \"test\"",
	"_testclinic":             "asked for as the package \"test\"",
	"_testexternalinspection": "asked for as the package \"test\"",
	"_testclinic_limited":     "asked for as the package \"test\"",
	"_testimportmultiple":     "asked for as the package \"test\"",
	"_testinternalcapi":       "asked for as the package \"test\"",
	"_testlimitedcapi":        "asked for as the package \"test\"",
	"_testmultiphase":         "asked for as the package \"test\"",
	"_testsinglephase":        "asked for as the package \"test\"",
}

// stdlibTests are the directories of tests beside the code they test; since
// 3.12 all lie below test.
var stdlibTests = []string{
	"ctypes/test", "distutils/tests", "lib2to3/tests", "sqlite3/test", "unittest/test", "tkinter/test", "idlelib/idle_test",
}

// keptStdlib says whether the standard library's file at rel is carried.
func keptStdlib(rel string, dir, tests bool) bool {
	if !keepSources(rel, dir) || slices.Contains(stdlibTests, rel) && !tests {
		return false
	}
	if strings.HasPrefix(rel, "config-") { // Makefile, static library, install-sh
		return false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(rel, "lib-dynload/"), "/")
	module, _, _ := strings.Cut(name, ".")
	reason, pruned := prunedStdlib[module]
	return !pruned || tests && strings.HasPrefix(reason, "asked for")
}

// stdlib plans the standard library.
func (p *planner) stdlib() error {
	p.plan.Stdlib = p.rootPath(p.in.Stdlib)
	if p.tests {
		if !p.h.isFile(path.Join(p.in.Stdlib, "test/test_grammar.py")) {
			return fmt.Errorf("%w: the test suite of %q is not installed: install it with \"apt-get install libpython%d.%d-testsuite\"",
				ErrPackage, p.in.Path, p.in.Version[0], p.in.Version[1])
		}
	}
	keep := func(rel string, dir bool) bool { return keptStdlib(rel, dir, p.tests) }
	if err := p.tree(p.in.Stdlib, p.plan.Stdlib, keep); err != nil {
		return err
	}
	if d := p.in.Dynload; d != "" && !below(d, p.in.Stdlib) {
		inner := func(rel string, dir bool) bool { return keep("lib-dynload/"+rel, dir) }
		if err := p.tree(d, p.rootPath(d), inner); err != nil {
			return err
		}
	}
	return p.hidePrefix()
}

// hidePrefix rewrites the build's variables of an interpreter that was moved,
// so that sysconfig names paths that exist in the root.
func (p *planner) hidePrefix() error {
	if p.in.Prefix == p.plan.Prefix {
		return nil
	}
	for file, e := range p.entries {
		if path.Dir(file) != p.plan.Stdlib || !strings.HasPrefix(path.Base(file), "_sysconfigdata") {
			continue
		}
		data, err := p.h.readFile(e.Source)
		if err != nil {
			return err
		}
		e.Content = bytes.ReplaceAll(data, []byte(p.in.Prefix), []byte(p.plan.Prefix))
		e.Source = ""
	}
	return nil
}
