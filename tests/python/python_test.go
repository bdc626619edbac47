// Package python runs the tests of the Python package, which are in
// python/tests, on every CPython from 3.9 to 3.13 that is here, against real
// services.
package python

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

func TestEveryPython(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.UserNamespaces, testkit.Python("3.9"))
	bin := program(t)
	for i, python := range pythons(t) {
		if i > 0 && testing.Short() {
			break
		}
		t.Run(strings.ReplaceAll(strings.Trim(python, "/"), "/", "_"), func(t *testing.T) {
			run(t, bin, python, "-W", "error::ResourceWarning", "-m", "unittest", "discover", "-b", "-t", ".", "tests")
		})
	}
}

// Every exported name has a type that mypy can follow.
func TestTypes(t *testing.T) {
	testkit.Require(t, testkit.Tool("mypy"))
	run(t, "", "mypy", "--cache-dir="+t.TempDir())
}

func run(t *testing.T, bin, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = "../../python"
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "CELLBLOCK_BIN="+bin, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// program builds cellblock and the service beside it, or takes those that
// CELLBLOCK_BIN names.
func program(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CELLBLOCK_BIN"); bin != "" {
		return bin
	}
	dir := t.TempDir()
	for _, name := range []string{"cellblock", "cellblock-service"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", dir+"/", "../../cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("cannot build %s: %v\n%s", name, err, out)
		}
	}
	return filepath.Join(dir, "cellblock")
}

// pythons are the CPythons here: the system's own, and then others from the oldest
// to the newest.
func pythons(t *testing.T) []string {
	t.Helper()
	paths := []string{testkit.PythonPath}
	if home, err := os.UserHomeDir(); err == nil {
		more, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/3.*/bin/python3"))
		slices.SortFunc(more, func(a, b string) int { return minor(a) - minor(b) })
		paths = append(paths, more...)
	}
	var found []string
	for _, path := range paths {
		supported := exec.CommandContext(t.Context(), path, "-I", "-S", "-c", "import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))")
		if supported.Run() == nil {
			found = append(found, path)
		}
	}
	testkit.Require(t, testkit.AnyOf("a CPython 3.9 to 3.13", len(found)))
	return found
}

// minor is the 12 of …/3.12.1/…
func minor(path string) int {
	m := regexp.MustCompile(`/3\.(\d+)`).FindStringSubmatch(path)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}
