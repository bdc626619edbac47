// Package libraries runs what ordinary programs do with libraries, in a cell
// and on the host, and requires that both say the same.
//
// A cell refuses much. The snippets here say that none of it is what numpy,
// pandas, matplotlib, asyncio, threads, processes, databases or archives need,
// and the libraries' own tests say so in more words than ours.
package libraries

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

//go:embed suite.py
var suite string

// site is where Debian puts packages, with their tests.
const site = "/usr/lib/python3/dist-packages"

// ordinaryUser is the id under which code runs on the host: that of a REPL,
// seen from inside its cell.
const ordinaryUser = 1

const limit = 4 * time.Minute

func need(t *testing.T) {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.11"),
		testkit.File(site+"/numpy"), testkit.File(site+"/pandas"), testkit.File(site+"/matplotlib"), testkit.File(site+"/PIL"),
		testkit.File(site+"/pytest"), testkit.File(site+"/hypothesis"))
}

func newExecutor(t *testing.T) *executor.Executor {
	t.Helper()
	ex, err := executor.New(executor.Config{
		Packages: []string{"numpy", "pandas", "matplotlib", "pytest", "hypothesis"},
		Timeout:  limit, MaxMemoryMB: 2048, PIDs: 256, CPUs: 2, WorkspaceBytes: 512 << 20,
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

// TestSnippets runs each snippet in a cell and on the host: the outputs agree.
func TestSnippets(t *testing.T) {
	need(t)
	ex := newExecutor(t)
	for _, s := range snippets {
		t.Run(s.name, func(t *testing.T) {
			result, err := ex.Execute(t.Context(), executor.Request{Code: s.code, Script: true, Finish: true})
			if err != nil {
				t.Fatal(err)
			}
			if !result.Success || result.Output == "" {
				t.Fatalf("in the cell: %s, output %q\n%s", result.Verdict, result.Output, result.Stderr+said(result))
			}
			outside, err := runOutside(t, s.code, nil, nil)
			if err != nil {
				t.Fatalf("on the host: %v\n%s", err, outside)
			}
			if result.Output != outside {
				t.Errorf("in the cell:\n%s\non the host:\n%s", result.Output, outside)
			}
		})
	}
}

func said(r executor.Result) string {
	if r.Error == nil {
		return ""
	}
	return "\n" + *r.Error
}

// suites are files of the libraries' own tests, by the plugin of pytest that
// holds their fixtures.
var suites = []struct {
	plugin, dir string
	files       []string
	least       int // tests that pass
}{
	{"numpy.conftest", "numpy/core/tests", []string{"test_memmap.py", "test_records.py", "test_longdouble.py", "test_datetime.py", "test_errstate.py"}, 300},
	{"numpy.conftest", "numpy/lib/tests", []string{"test_io.py", "test_format.py", "test__datasource.py"}, 200},
	{"numpy.conftest", "numpy/random/tests", []string{"test_direct.py", "test_seed_sequence.py"}, 80},
	{"pandas.conftest", "pandas/tests", []string{"io/test_common.py", "io/test_sql.py", "io/parser/common/test_file_buffer_url.py", "tslibs/test_parsing.py", "scalar/timestamp/test_timezones.py"}, 250},
}

// TestSuites runs a part of the libraries' own tests: what passes on the host
// passes in the cell, test by test.
func TestSuites(t *testing.T) {
	need(t)
	if testing.Short() {
		t.Skip("the libraries' own tests take a minute")
	}
	ex := newExecutor(t)
	for _, s := range suites {
		t.Run(s.dir, func(t *testing.T) {
			argv := []string{"suite.py", s.plugin}
			for _, f := range s.files {
				argv = append(argv, "suites/"+s.dir+"/"+f)
			}
			result, err := ex.Execute(t.Context(), executor.Request{
				Code: suite, Filename: "suite.py", Argv: argv, Script: true,
				Dirs: []executor.Dir{{Host: site + "/" + s.dir, Name: "suites/" + s.dir, ReadOnly: true}},
			})
			if err != nil {
				t.Fatal(err)
			}
			inside := outcomes(result.Output)
			said, _ := runOutside(t, suite, argv[1:], []string{s.dir}) // a test may fail there, too
			outside := outcomes(said)
			if !slices.Contains(slices.Collect(maps.Keys(inside)), "end") || !slices.Contains(slices.Collect(maps.Keys(outside)), "end") {
				t.Fatalf("they did not come to their end: %s\nin the cell:\n%s\non the host:\n%s", result.Verdict, tail(result.Output+result.Stderr), tail(said))
			}
			passed := 0
			for id, o := range inside {
				if strings.HasPrefix(o, "call passed") {
					passed++
				}
				if o != outside[id] {
					t.Errorf("%s\n\tin the cell: %s\n\ton the host: %s", id, o, outside[id])
				}
			}
			for id := range outside {
				if inside[id] == "" {
					t.Errorf("%s was not run in the cell", id)
				}
			}
			if passed < s.least {
				t.Errorf("%d tests passed, fewer than %d", passed, s.least)
			}
			t.Logf("%d tests pass in the cell and on the host", passed)
		})
	}
}

// outcomes reads what suite.py prints.
func outcomes(output string) map[string]string {
	list := map[string]string{}
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "@ "); ok {
			id, outcome, _ := strings.Cut(rest, " ")
			list[id] = outcome
		}
	}
	return list
}

// runOutside runs a program as an ordinary user, in an empty folder that holds
// the tests in dirs, in an environment like a cell's.
func runOutside(t *testing.T, code string, args, dirs []string) (string, error) {
	t.Helper()
	home, err := os.MkdirTemp("", "libraries-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.WriteFile(home+"/script.py", []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		at := filepath.Join(home, "suites", d)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(site+"/"+d, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, ordinaryUser, ordinaryUser); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, testkit.PythonPath, append([]string{"-B", "-s", "-X", "utf8", "script.py"}, args...)...)
	cmd.Dir = home
	env := executor.GetExecutionEnv()
	env["HOME"], env["TMPDIR"], env["MPLCONFIGDIR"] = home, home, home
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser},
		Setsid:     true,
	}
	cmd.WaitDelay = time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if err != nil {
		return stdout.String(), fmt.Errorf("%w\n%s", err, tail(stderr.String()))
	}
	return stdout.String(), nil
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
