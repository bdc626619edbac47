// Package cpython runs CPython's own regression tests in a cell and on the
// host, and requires that what passes on the host passes in the cell.
//
// A cell refuses much (programs, sockets, devices). These tests say whether it
// refuses anything that an ordinary program needs: each one that passes
// outside and not inside must stand in the table of differences, with the
// reason, and with the error that proves that it is this reason.
package cpython

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/rootfs"
)

//go:embed regress.py
var program string

// limit is the time a module has, on a machine that is busy with other things.
// The slowest takes some 30 s.
const limit = 3 * time.Minute

// sideBySide is how many modules run at a time.
const sideBySide = 2

// ordinaryUser is the id under which the tests run on the host, since a
// superuser's may do and skip what nobody else may. It is that of a REPL, seen
// from inside its cell.
const ordinaryUser = 1

// suite is there where Debian's package libpython3.11-testsuite is.
var suite = testkit.File("/usr/lib/python3.11/test/test_grammar.py")

func TestRegression(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.11"), suite)
	ex := newExecutor(t)
	chosen := modules
	if testing.Short() {
		chosen = shortModules
	}
	var mu sync.Mutex
	var done []*comparison
	t.Run("modules", func(t *testing.T) {
		slots := make(chan struct{}, sideBySide)
		for _, module := range chosen {
			t.Run(strings.Fields(module)[0], func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				c := compare(t, ex, module)
				mu.Lock()
				defer mu.Unlock()
				done = append(done, c)
			})
		}
	})
	slices.SortFunc(done, func(a, b *comparison) int { return strings.Compare(a.module, b.module) })
	t.Log("\n" + table(done))
}

// TestRunnersAsModules runs CPython's two test runners as python -m would.
func TestRunnersAsModules(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.11"), suite)
	ex := newExecutor(t)
	for _, c := range []struct {
		module, arg, stream string
		want                string
	}{
		{"unittest", "test.test_textwrap", "stderr", "\nOK\n"},
		{"test", "test_textwrap", "stdout", "Tests result: SUCCESS"},
	} {
		t.Run(c.module, func(t *testing.T) {
			result, err := ex.Execute(t.Context(), executor.Request{Module: c.module, Argv: []string{c.module, c.arg}})
			if err != nil {
				t.Fatal(err)
			}
			said := map[string]string{"stdout": result.Output, "stderr": result.Stderr}[c.stream]
			if result.ReturnCode != 0 || !strings.Contains(said, c.want) {
				t.Errorf("verdict %s, return code %d, no %q on %s:\n%s\n%s", result.Verdict, result.ReturnCode, c.want, c.stream, result.Output, result.Stderr)
			}
		})
	}
}

// newExecutor gives each run a cell that is large enough for every module.
func newExecutor(t *testing.T) *executor.Executor {
	t.Helper()
	ex, err := executor.New(executor.Config{
		Packages:       []string{rootfs.TestPackage},
		Timeout:        limit,
		MaxMemoryMB:    2048,
		PIDs:           256,
		CPUs:           2,
		WorkspaceBytes: 512 << 20,
		MaxOutput:      64 << 20,
		Env:            map[string]string{"TMPDIR": "/workspace"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex
}

// A comparison is one module, inside and outside.
type comparison struct {
	module          string // its name, without the classes
	inside, outside report
	excused         map[*reason]int
}

// compare runs a module in both places, and complains about each test that
// passes in one of them only and is not in the table of differences.
func compare(t *testing.T, ex *executor.Executor, selection string) *comparison {
	args := strings.Fields(selection)
	module := args[0]
	c := &comparison{module: module, excused: map[*reason]int{}}
	c.outside = runOutside(t, args)
	c.inside = runInside(t, ex, args)
	unexplained := c.judge()
	if len(unexplained) > 0 {
		// Some tests depend on how busy the machine is. What fails twice does not.
		t.Logf("once more, for %d tests that differ", len(unexplained))
		again := &comparison{module: module, excused: map[*reason]int{}}
		again.outside, again.inside = runOutside(t, args), runInside(t, ex, args)
		second := again.judge()
		unexplained = slices.DeleteFunc(unexplained, func(id string) bool { return !slices.Contains(second, id) })
		c = again
	}
	for _, id := range unexplained {
		t.Errorf("%s\n\toutside: %s\n\tinside: %s", id, indent(c.outside.say(id)), indent(c.inside.say(id)))
	}
	if !c.outside.ended || !c.inside.ended {
		t.Errorf("the module did not come to its end\n\toutside: %s\n\tinside: %s", indent(c.outside.end), indent(c.inside.end))
	}
	if c.inside.count("passed") == 0 {
		t.Error("no test passed in the cell")
	}
	for _, d := range differences {
		for _, p := range d.patterns() {
			if d.module == module && !d.why.host && !c.uses(p) {
				t.Errorf("%s passes inside as outside: take it out of the table of differences", p)
			}
		}
	}
	return c
}

// judge returns the ids of the tests that pass in one of the two places only,
// for no reason in the table.
func (c *comparison) judge() (unexplained []string) {
	ids := maps.Clone(c.outside.tests)
	maps.Copy(ids, c.inside.tests)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if c.inside.passed(id) == c.outside.passed(id) {
			continue
		}
		if d := c.explain(id); d != nil {
			c.excused[d.why]++
			continue
		}
		unexplained = append(unexplained, id)
	}
	return unexplained
}

func (c *comparison) explain(id string) *difference {
	for i := range differences {
		if d := &differences[i]; d.module == c.module && d.explains(id, c.inside.say(id)) {
			return d
		}
	}
	return nil
}

// uses says whether some test that the pattern names differs.
func (c *comparison) uses(pattern string) bool {
	for id := range c.outside.tests {
		if c.outside.passed(id) != c.inside.passed(id) && names(c.module, pattern, id) {
			return true
		}
	}
	return false
}

func runInside(t *testing.T, ex *executor.Executor, args []string) report {
	result, err := ex.Execute(t.Context(), executor.Request{
		Code: program, Filename: "regress.py", Argv: append([]string{"regress.py"}, args...), Script: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := readReport(result.Output)
	r.end += fmt.Sprintf("verdict %s, return code %d", result.Verdict, result.ReturnCode)
	if result.Error != nil {
		r.end += ", " + *result.Error
	}
	r.end += tail(result.Stderr)
	return r
}

// runOutside runs a module as an ordinary user with an empty folder, an
// environment like a cell's, and the flags that the REPL of a cell has.
func runOutside(t *testing.T, args []string) report {
	home, err := os.MkdirTemp("", "cpython-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.Chown(home, ordinaryUser, ordinaryUser); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	flags := []string{"-I", "-S", "-B", "-X", "utf8", "-c", program}
	cmd := exec.CommandContext(ctx, testkit.PythonPath, append(flags, args...)...)
	cmd.Dir = home
	env := executor.GetExecutionEnv()
	env["HOME"], env["TMPDIR"] = home, home
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser},
		Setsid:     true,
	}
	cmd.WaitDelay = time.Second // a process that a test leaves behind may hold the pipe
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	r := readReport(stdout.String())
	r.end += fmt.Sprintf("ended with %v", err) + tail(stderr.String())
	return r
}

func tail(stderr string) string {
	if stderr == "" {
		return ""
	}
	return "\n…" + stderr[max(0, len(stderr)-1000):]
}

func indent(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t\t")
}

func table(list []*comparison) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "module\trun\tpassed in\tpassed out\tskipped in\tskipped out\tdiffering, and why")
	var ran, in, out, differ int
	for _, c := range list {
		var why []string
		for _, r := range reasons {
			if n := c.excused[r]; n > 0 {
				why = append(why, fmt.Sprintf("%d %s", n, r.short))
				differ += n
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", c.module, len(c.inside.tests), c.inside.count("passed"), c.outside.count("passed"),
			c.inside.count("skipped"), c.outside.count("skipped"), strings.Join(why, ", "))
		ran, in, out = ran+len(c.inside.tests), in+c.inside.count("passed"), out+c.outside.count("passed")
	}
	fmt.Fprintf(w, "%d modules\t%d\t%d\t%d\t\t\t%d\n", len(list), ran, in, out, differ)
	w.Flush()
	return b.String()
}
