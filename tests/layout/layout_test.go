// Package layout holds the rules of the source tree.
package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cellblock/cellblock/"

// source is one Go file that is no test.
type source struct {
	path    string // from the top of the tree
	pkg     string
	imports []string
}

func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	top := "../.."
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{path: rel, pkg: filepath.Dir(rel)}
		for _, i := range f.Imports {
			s.imports = append(s.imports, strings.Trim(i.Path.Value, `"`))
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("only %d files were found", len(list))
	}
	return list
}

// order: a package imports only what stands above it here; packages of one
// line never import each other.
var order = [][]string{
	{"internal/weaken"},
	{"internal/sys", "internal/trace"},
	{"internal/foreign"},
	{"internal/lane", "internal/handover", "internal/ndjson", "cgroup", "seccomp", "rootfs", "nsjail/mount", "nsjail/native", "internal/repl", "internal/workspace", "validator"},
	{"seccomp/bpf"},
	{"seccomp/compile"},
	{"seccomp/gen", "nsjail"},
	{"internal/template"},
	{"executor"},
	{"internal/cli", "internal/mcp"},
	{"internal/config", "internal/warden"},
	{"internal/warden/wardentest"},
	{"internal/api"},
	{"internal/e2b"},
	{"internal/servicecli", "internal/wardencli"},
	{"cmd/cellblock", "cmd/cellblock-service", "cmd/cellblock-warden"},
}

func TestImportsPointOneWay(t *testing.T) {
	level := map[string]int{}
	for i, pkgs := range order {
		for _, p := range pkgs {
			level[p] = i
		}
	}
	for _, s := range sources(t) {
		if strings.HasPrefix(s.pkg, "tests") || s.pkg == "internal/testkit" {
			continue
		}
		own, ok := level[s.pkg]
		if !ok {
			t.Errorf("%s: package %s has no place in the order of imports", s.path, s.pkg)
			continue
		}
		for _, imp := range s.imports {
			ours, found := strings.CutPrefix(imp, module)
			if !found {
				continue
			}
			if other, ok := level[ours]; !ok || other >= own {
				t.Errorf("%s imports %s, which does not stand above %s", s.path, ours, s.pkg)
			}
		}
	}
}

// The program that people wait for carries nothing that only a service needs:
// each linked package is initialised at each start.
func TestRunLinksNoService(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/cellblock").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"net/http", "crypto/tls", "github.com/danielgtaylor/huma/v2", "github.com/modelcontextprotocol/go-sdk/mcp", "github.com/prometheus/client_golang/prometheus"} {
		if slices.Contains(strings.Fields(string(out)), heavy) {
			t.Errorf("cmd/cellblock links %s", heavy)
		}
	}
}

// The privileged half of a service has no network, and speaks no HTTP.
func TestWardenLinksNoHTTP(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/cellblock-warden").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	if !slices.Contains(linked, module+"internal/warden") {
		t.Fatalf("these are not its packages: %.200s", out)
	}
	for _, p := range []string{"net/http", "crypto/tls", "github.com/danielgtaylor/huma/v2", module + "internal/api", module + "internal/mcp"} {
		if slices.Contains(linked, p) {
			t.Errorf("cmd/cellblock-warden links %s", p)
		}
	}
}

func TestUnsafeHasItsFiles(t *testing.T) {
	for _, s := range sources(t) {
		if slices.Contains(s.imports, "unsafe") && !(s.pkg == "internal/sys" && strings.HasSuffix(s.path, "_unsafe.go")) {
			t.Errorf("%s imports unsafe: that belongs into a file of internal/sys named *_unsafe.go", s.path)
		}
	}
}

func TestRawSystemCallsAreInSys(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg == "internal/sys" {
			continue
		}
		b, err := os.ReadFile(filepath.Join("../..", s.path))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"syscall.Syscall", "syscall.RawSyscall", "unix.Syscall", "unix.RawSyscall"} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s calls %s: that belongs into internal/sys", s.path, word)
			}
		}
	}
}

func TestFilesFitTheHead(t *testing.T) {
	var paths []string
	for _, s := range sources(t) {
		paths = append(paths, filepath.Join("../..", s.path))
	}
	for _, python := range []string{"internal/repl/*.py", "python/cellblock/*.py", "python/tests/*.py"} {
		found, err := filepath.Glob(filepath.Join("../..", python))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", python, found, err)
		}
		paths = append(paths, found...)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\n"); n > 500 {
			t.Errorf("%s has %d lines", path, n)
		}
	}
}

func TestNoVagueNames(t *testing.T) {
	for _, s := range sources(t) {
		for part := range strings.SplitSeq(s.pkg, "/") {
			if slices.Contains([]string{"util", "utils", "common", "helpers", "misc"}, part) {
				t.Errorf("package %s says nothing about what is in it", s.pkg)
			}
		}
	}
}
