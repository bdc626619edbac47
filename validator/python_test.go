package validator

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// python is an interpreter of this machine.
type python struct {
	path  string
	minor int // of 3.minor
}

// pythons are /usr/bin/python3 and what pyenv has, 3.9 to 3.13.
func pythons(t testing.TB) []python {
	t.Helper()
	paths := []string{"/usr/bin/python3"}
	if home, err := os.UserHomeDir(); err == nil {
		more, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/3.*/bin/python3"))
		paths = append(paths, more...)
	}
	var found []python
	for _, path := range paths {
		out, err := exec.Command(path, "-I", "-S", "-c", "import sys; print(sys.version_info[1])").Output()
		if err != nil {
			continue
		}
		minor, _ := strconv.Atoi(strings.TrimSpace(string(out)))
		if 9 <= minor && minor <= 13 {
			found = append(found, python{path, minor})
		}
	}
	testkit.Require(t, testkit.AnyOf("a CPython 3.9 to 3.13", len(found)))
	return found
}

func (p python) String() string {
	return strings.ReplaceAll(strings.Trim(p.path, "/"), "/", "_")
}

// process is a facts process outside a cell; limits of its own stand in.
type process struct {
	net.Conn
	cmd *exec.Cmd
}

func (p process) Close() error {
	_ = p.Conn.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	return nil
}

// startFacts runs facts.py with 3 GiB of address space and `stack` KiB of stack.
func startFacts(p python, stack int) (process, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return process{}, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "host"), os.NewFile(uintptr(fds[1]), "facts")
	defer func() { _ = ours.Close() }()
	defer func() { _ = theirs.Close() }()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -v 3145728; ulimit -c 0; ulimit -s "$1"; shift; exec "$@"`, "sh", strconv.Itoa(stack),
		p.path, "-I", "-S", "-B", "-X", "utf8", "facts.py")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return process{}, err
	}
	conn, err := net.FileConn(ours)
	if err != nil {
		return process{}, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return process{conn, cmd}, nil
}

// resident is a Resident of real processes, ended with the test. starts counts
// them.
func resident(t testing.TB, p python, stack int) (r *Resident, starts *int) {
	starts = new(int)
	r = NewResident(func(context.Context) (Conn, error) {
		*starts++
		return startFacts(p, stack)
	})
	t.Cleanup(func() { _ = r.Close() })
	return r, starts
}

// astParse is the original's way, ast.parse in the interpreter itself: for each
// source "Syntax error: message|line|column".
func astParse(t *testing.T, p python, codes []string) []string {
	t.Helper()
	cmd := exec.Command(p.path, "-I", "-X", "utf8", "-W", "ignore", "-c", `
import ast, sys
for source in sys.stdin.buffer.read().split(b"\0"):
    try:
        ast.parse(source)
    except SyntaxError as e:
        print(f"Syntax error: {e.msg}|{max(e.lineno or 0, 0)}|{max(e.offset or 0, 0)}")
`)
	cmd.Stdin = strings.NewReader(strings.Join(codes, "\x00"))
	out, err := cmd.Output()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != len(codes) {
		t.Fatalf("%v: %v %q", p, err, out)
	}
	return lines
}

func residentKB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "statm"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(status))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize() / 1024
}
