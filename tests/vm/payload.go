package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/cellblock/cellblock"

// sources is the top of the source tree.
func sources() (string, error) {
	top, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("cannot find the sources: %w", err)
	}
	return strings.TrimSpace(string(top)), nil
}

// packPayload builds the test binaries, cellblock and this program, and puts
// them and the files that tests read onto a disk of their own.
func packPayload(ctx context.Context, work string, table []row, o options) (string, error) {
	src, err := sources()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(work, "payload")
	build := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = src, append(os.Environ(), "CGO_ENABLED=0") // the C library in there is another
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build for the machine: go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := build("build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/bin/", "./cmd/cellblock"); err != nil {
		return "", err
	}
	deb, err := os.ReadFile(src + "/out/cellblock.deb")
	if err != nil {
		return "", fmt.Errorf("make deb builds the package that is tested: %w", err)
	}
	if err := os.WriteFile(dir+"/bin/cellblock.deb", deb, 0o644); err != nil {
		return "", err
	}
	if err := build("build", "-o", dir+"/vm", "./tests/vm"); err != nil {
		return "", err
	}
	var pkgs []string
	for _, s := range suitesOf(table) {
		if slices.Contains(pkgs, s.pkg) {
			continue
		}
		pkgs = append(pkgs, s.pkg)
		// Tests run in their package's directory, as with `go test`.
		to := filepath.Join(dir, "src", s.pkg)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if err := build("test", "-c", "-trimpath", "-tags="+s.tags, "-o", to+"/test", "./"+s.pkg); err != nil {
			return "", err
		}
	}
	data, err := filepath.Glob(src + "/*/testdata")
	if err != nil {
		return "", err
	}
	deeper, err := filepath.Glob(src + "/*/*/testdata")
	if err != nil {
		return "", err
	}
	for _, from := range append(data, deeper...) {
		rel, err := filepath.Rel(src, from)
		if err != nil {
			return "", err
		}
		if err := os.CopyFS(filepath.Join(dir, "src", rel), os.DirFS(from)); err != nil {
			return "", err
		}
	}
	args := []string{"-suite=" + o.suite, "-run=" + o.run, fmt.Sprintf("-v=%v", o.verbose), fmt.Sprintf("-update=%v", o.update), "-only=" + strings.Join(pkgs, ",")}
	if err := os.WriteFile(filepath.Join(dir, "arguments"), []byte(strings.Join(args, "\n")), 0o644); err != nil {
		return "", err
	}
	disk := filepath.Join(work, "payload.ext4")
	return disk, run(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", dir, disk, "512M")
}
