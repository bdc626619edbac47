package seccomp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/seccomp"
)

// A filter cannot be taken off again, so what runs under it is this binary,
// started once more, which puts the filter on and becomes the program named
// by its arguments. The lock is preloaded into that program only.
const (
	filteredEnv = "CELLBLOCK_TEST_FILTERED"
	preloadEnv  = "CELLBLOCK_TEST_PRELOAD"
)

func TestMain(m *testing.M) {
	if os.Getenv(filteredEnv) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, "cannot run under the filter:", becomeFiltered(os.Args[1:]))
	os.Exit(125)
}

func becomeFiltered(args []string) error {
	runtime.LockOSThread() // the filter is the thread's that execs
	filter, err := seccomp.Cell()
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		// Should the filter have a hole, what gets through shall not be root's.
		const nobody = 65534
		if err := syscall.Setgroups(nil); err != nil {
			return err
		}
		if err := syscall.Setresgid(nobody, nobody, nobody); err != nil {
			return err
		}
		if err := syscall.Setresuid(nobody, nobody, nobody); err != nil {
			return err
		}
	}
	env := []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + os.Getenv("HOME"), "MPLCONFIGDIR=" + os.Getenv("HOME")}
	if lock := os.Getenv(preloadEnv); lock != "" {
		env = append(env, "LD_PRELOAD="+lock)
	}
	switch os.Getenv(filteredEnv) {
	case "yes":
		err = sys.SeccompLoad(filter)
	case "no further one":
		err = sys.SeccompLoad(noFurtherFilter())
	}
	if err != nil {
		return err
	}
	return syscall.Exec(args[0], args, env)
}

// noFurtherFilter refuses prctl(PR_SET_SECCOMP) and lets everything else pass.
func noFurtherFilter() []byte {
	var b []byte
	add := func(code uint16, yes, no byte, k uint32) {
		b = binary.NativeEndian.AppendUint16(b, code)
		b = binary.NativeEndian.AppendUint32(append(b, yes, no), k)
	}
	const load, ifEqual, ret, setSeccomp = 0x20, 0x15, 0x06, 22
	add(load, 0, 0, 0) // the number
	add(ifEqual, 0, 3, syscall.SYS_PRCTL)
	add(load, 0, 0, 16) // the first argument's low word
	add(ifEqual, 0, 1, setSeccomp)
	add(ret, 0, 0, 0x00050000|uint32(syscall.EPERM))
	add(ret, 0, 0, 0x7fff0000)
	return b
}

// cellDir is a directory that the unprivileged program can use as well.
func cellDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "filtered-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildLock compiles the last filter as the Makefile does.
func buildLock(t *testing.T) string {
	t.Helper()
	testkit.Require(t, testkit.Tool("gcc"))
	lock := filepath.Join(cellDir(t), "lock.so")
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-O2", "-nostdlib", "-nostartfiles", "-fno-stack-protector",
		"-Wall", "-Wextra", "-Werror", "-Wl,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code,--build-id=none",
		"-s", "-o", lock, "../nsjail/native/src/lock.c").CombinedOutput()
	if err != nil {
		t.Fatalf("cannot build the lock: %v\n%s", err, out)
	}
	return lock
}

// python runs a script of testdata. filtered is "yes", or "no" for the same
// without the filter.
func python(t *testing.T, filtered, lock, script string, args ...string) []byte {
	t.Helper()
	testkit.Require(t, testkit.Python("3.9"))
	code, err := os.ReadFile(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	dir := cellDir(t)
	path := filepath.Join(dir, script)
	if err := os.WriteFile(path, code, 0o644); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(work, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{testkit.PythonPath, "-I", "-B", path}, append(args, work)...)...)
	cmd.Env = []string{filteredEnv + "=" + filtered, preloadEnv + "=" + lock, "HOME=" + dir}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", script, err, out, stderr.Bytes())
	}
	return bytes.ReplaceAll(out, []byte(dir), nil)
}

func TestAttacksUnderBothFilters(t *testing.T) {
	lock := buildLock(t)
	path := "testdata/numbers_" + runtime.GOARCH + ".txt"
	testkit.Require(t, testkit.File(path))
	numbers, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(cellDir(t), "numbers")
	if err := os.WriteFile(list, numbers, 0o644); err != nil {
		t.Fatal(err)
	}
	var rows [][3]string
	if err := json.Unmarshal(python(t, "yes", lock, "attacks.py", list), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if name, got, want := row[0], row[1], row[2]; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if len(rows) < 140 {
		t.Errorf("only %d attacks were tried", len(rows))
	}
}

func TestProgramsRunTheSameUnderBothFilters(t *testing.T) {
	lock := buildLock(t)
	plain := python(t, "no", "", "life.py")
	filtered := python(t, "yes", lock, "life.py")
	if !bytes.Equal(plain, filtered) {
		t.Errorf("plain:\n%s\nfiltered:\n%s", plain, filtered)
	}
	for line := range strings.Lines(string(plain)) {
		if strings.Contains(line, " raised ") {
			t.Errorf("without a filter: %s", line)
		}
	}
	t.Logf("%s", filtered)
}

// The first filter alone lets the one exec through: without it there would
// be no Python at all.
func TestOneExecRemainsBeforeTheLock(t *testing.T) {
	testkit.Require(t, testkit.Tool("/bin/true"))
	cmd := exec.Command("/proc/self/exe", "/bin/true")
	cmd.Env = []string{filteredEnv + "=yes"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A program that could not be locked must not run: here the filter that it has
// refuses the second one.
func TestProgramThatCannotBeLockedExits(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "/bin/true")
	cmd.Env = []string{filteredEnv + "=no further one", preloadEnv + "=" + buildLock(t)}
	err := cmd.Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 125 {
		t.Errorf("ended with %v, want exit status 125", err)
	}
}

func TestLoadRefusesWhatIsNoFilter(t *testing.T) {
	for _, size := range []int{0, 7, 8 * 4097} {
		if err := sys.SeccompLoad(make([]byte, size)); err == nil {
			t.Errorf("%d bytes were loaded", size)
		}
	}
}
