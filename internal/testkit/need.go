// Package testkit says what a test needs of the machine, and finds what a test
// left behind on it.
//
//	func TestKill(t *testing.T) {
//		testkit.Require(t, testkit.Root, testkit.MemoryController)
//		testkit.Leaks(t)
//		…
//	}
//
// It imports only the standard library, so that every package's tests can use it.
package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A Need is something that not every machine has.
type Need struct {
	name    string
	missing func() string // why it is not there; "" when it is
}

// What a test may need.
var (
	Root             = Need{"root", once(notRoot)}
	MemoryController = Need{"a usable memory controller", once(noMemoryController)}
	UserNamespaces   = Need{"user namespaces", once(noUserNamespaces)}
)

// Require skips the test when the machine lacks one of the needs. With
// REQUIRE_ALL=1 in the environment it fails the test instead, so that a
// machine meant to have everything cannot pass by skipping.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	for _, n := range needs {
		why := n.missing()
		switch {
		case why == "":
		case os.Getenv("REQUIRE_ALL") == "1":
			t.Fatalf("this test needs %s, and REQUIRE_ALL=1 forbids to skip it: %s", n.name, why)
		default:
			t.Skipf("this test needs %s: %s", n.name, why)
		}
	}
}

func once(missing func() string) func() string { return sync.OnceValue(missing) }

// Tool is a program in PATH, or at an absolute path.
func Tool(name string) Need {
	return Need{"the program " + name, func() string {
		if _, err := exec.LookPath(name); err != nil {
			return err.Error()
		}
		return ""
	}}
}

// File is a file or directory that a package of the distribution brings.
func File(path string) Need {
	return Need{"the file " + path, func() string {
		if _, err := os.Stat(path); err != nil {
			return err.Error()
		}
		return ""
	}}
}

// AnyOf is one at least of what a search may have found.
func AnyOf(what string, found int) Need {
	return Need{what, func() string {
		if found == 0 {
			return "there is none here"
		}
		return ""
	}}
}

// Working is something whose absence shows as an error.
func Working(what string, err error) Need {
	return Need{what, func() string {
		if err != nil {
			return err.Error()
		}
		return ""
	}}
}

// Architecture is a GOARCH that this machine has.
func Architecture(name string) Need {
	return Need{"a machine of architecture " + name, func() string {
		if runtime.GOARCH != name {
			return "this is " + runtime.GOARCH
		}
		return ""
	}}
}

// PythonPath is the interpreter that tests run.
const PythonPath = "/usr/bin/python3"

// Python is the interpreter at PythonPath in at least the given version, such
// as "3.11"; "" takes any.
func Python(least string) Need {
	return Need{strings.TrimSpace("Python " + least), func() string {
		out, err := exec.Command(PythonPath, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").Output()
		if err != nil {
			return fmt.Sprintf("cannot run %s: %v", PythonPath, err)
		}
		if have := strings.TrimSpace(string(out)); !atLeast(have, least) {
			return fmt.Sprintf("%s is version %s", PythonPath, have)
		}
		return ""
	}}
}

// Kernel is Linux in at least the given version, such as "6.12".
func Kernel(least string) Need {
	return Need{"Linux " + least, func() string {
		release, err := os.ReadFile("/proc/sys/kernel/osrelease")
		if err != nil {
			return err.Error()
		}
		if have := strings.TrimSpace(string(release)); !atLeast(have, least) {
			return "this is " + have
		}
		return ""
	}}
}

// atLeast compares the first two numbers of two versions.
func atLeast(have, least string) bool {
	if least == "" {
		return true
	}
	h, l := firstTwo(have), firstTwo(least)
	return h[0] > l[0] || h[0] == l[0] && h[1] >= l[1]
}

func firstTwo(version string) (v [2]int) {
	for i, part := range strings.SplitN(version, ".", 3) {
		if i < 2 {
			digits := strings.TrimRight(part, "abcdefghijklmnopqrstuvwxyz+-")
			if cut := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); cut >= 0 {
				digits = digits[:cut]
			}
			v[i], _ = strconv.Atoi(digits)
		}
	}
	return v
}

func notRoot() string {
	if id := os.Geteuid(); id != 0 {
		return fmt.Sprintf("the user id is %d", id)
	}
	return ""
}

// noMemoryController tries: it makes a group below this process's own, and
// looks whether memory can be limited in it.
func noMemoryController() string {
	dir, v2 := ownMemoryGroup()
	if dir == "" {
		return "no mounted hierarchy with it shows the own group"
	}
	if v2 {
		controllers, err := os.ReadFile(dir + "/cgroup.controllers")
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(" "+strings.TrimSpace(string(controllers))+" ", " memory ") {
			return dir + " does not have it"
		}
		if err := syscall.Access(dir, 2); err != nil {
			return fmt.Sprintf("%s may not be written to: %v", dir, err)
		}
		return ""
	}
	probe := fmt.Sprintf("%s/cellblock-%d-need", dir, os.Getpid())
	if err := os.Mkdir(probe, 0o755); err != nil {
		return err.Error()
	}
	defer syscall.Rmdir(probe)
	if _, err := os.Stat(probe + "/memory.limit_in_bytes"); err != nil {
		return err.Error()
	}
	return ""
}

// noUserNamespaces tries one.
func noUserNamespaces() string {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	cmd.Process.Kill() // it was made, which is all there is to know
	cmd.Wait()
	return ""
}
