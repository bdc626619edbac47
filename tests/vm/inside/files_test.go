//go:build vm

package inside

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var cellName = regexp.MustCompile(`^cellblock-[0-9]+$`)

// cellGroups lists the groups of cells on the machine.
func cellGroups() (dirs []string) {
	filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && cellName.MatchString(d.Name()) {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}

// theCell is the group of the one cell that runs below a place's group.
func theCell(t *testing.T, p place) string {
	t.Helper()
	var below []string
	for _, dir := range cellGroups() {
		if strings.Contains(dir, p.cells) {
			below = append(below, dir)
		}
	}
	if len(below) != 1 {
		t.Fatalf("cells are in %q, want one below …%s…", cellGroups(), p.cells)
	}
	return below[0]
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func number(t *testing.T, file string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(read(t, file), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// field is the number behind a word in a file of such lines.
func field(t *testing.T, file, name string) int64 {
	t.Helper()
	for line := range strings.Lines(read(t, file) + "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", name, file)
	return 0
}

// gone waits until no group of a cell, and no scope of cellblock, is left:
// systemd removes a scope a moment after its last process.
func gone(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := cellGroups()
		filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && (strings.HasPrefix(d.Name(), "run-cellblock-") || strings.HasPrefix(d.Name(), "delegated-")) {
				left = append(left, path)
			}
			return nil
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left)
		}
	}
}
