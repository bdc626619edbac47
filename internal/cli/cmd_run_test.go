package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/executor"
)

// parseRun takes a command line of `run` apart as Run does, without running it.
func parseRun(t *testing.T, stdin string, args ...string) (*runCommand, []executor.Request, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte(stdin), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	c := &runCommand{app: &app{Streams: Streams{In: in, Out: os.Stdout, Err: os.Stderr}}}
	fs := c.flags()
	args = endFlagsAfterModule(append([]string{"run"}, args...))
	if err := fs.Parse(args[1:]); err != nil {
		return c, nil, err
	}
	requests, err := c.requests(fs.Args())
	return c, requests, err
}

// wanted is what a table says of a request.
type wanted struct {
	Code, Filename, Module string
	Argv                   []string
	Script                 bool
}

func TestRunArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.py", "print(1)")
	write(t, "-x.py", "print(2)")
	tests := []struct {
		args  []string
		stdin string
		want  []wanted
	}{
		{args: []string{"a.py"}, want: []wanted{{"print(1)", "a.py", "", []string{"a.py"}, true}}},
		{args: []string{"a.py", "--json", "-c", "x", "--", "y"}, want: []wanted{{"print(1)", "a.py", "", []string{"a.py", "--json", "-c", "x", "--", "y"}, true}}},
		{args: []string{"--", "-x.py", "1"}, want: []wanted{{"print(2)", "-x.py", "", []string{"-x.py", "1"}, true}}},
		{args: []string{"./a.py"}, want: []wanted{{"print(1)", "./a.py", "", []string{"./a.py"}, true}}},
		{args: []string{"-", "a", "-b"}, stdin: "print(3)", want: []wanted{{"print(3)", "<stdin>", "", []string{"-", "a", "-b"}, true}}},
		{args: []string{"-c", "x=1"}, want: []wanted{{"x=1", "<string>", "", []string{"-c"}, false}}},
		{args: []string{"-c", ""}, want: []wanted{{"", "<string>", "", []string{"-c"}, false}}},
		{args: []string{"-c", "a,b", "--json", "-c", "y", "p", "-q"}, want: []wanted{
			{"a,b", "<string>", "", []string{"-c", "p", "-q"}, false}, {"y", "<string>", "", []string{"-c", "p", "-q"}, false},
		}},
		{args: []string{"-c", "x", "--", "--json"}, want: []wanted{{"x", "<string>", "", []string{"-c", "--json"}, false}}},
		{args: []string{"-m", "json.tool", "--indent", "2", "-"}, want: []wanted{{"", "", "json.tool", []string{"-m", "--indent", "2", "-"}, true}}},
		{args: []string{"--timeout", "1s", "-mjson.tool", "--help"}, want: []wanted{{"", "", "json.tool", []string{"-m", "--help"}, true}}},
		{args: []string{"--module=this", "--", "x"}, want: []wanted{{"", "", "this", []string{"-m", "--", "x"}, true}}},
		{args: []string{"-m", "this", "-m", "that"}, want: []wanted{{"", "", "this", []string{"-m", "-m", "that"}, true}}},
		// -m as the value of another flag, or as the program's, is none.
		{args: []string{"--env", "A=-m", "a.py", "-m"}, want: []wanted{{"print(1)", "a.py", "", []string{"a.py", "-m"}, true}}},
		{args: []string{"-c", "-m", "x"}, want: []wanted{{"-m", "<string>", "", []string{"-c", "x"}, false}}},
	}
	for _, tt := range tests {
		_, requests, err := parseRun(t, tt.stdin, tt.args...)
		if err != nil {
			t.Errorf("run %q: %v", tt.args, err)
			continue
		}
		var got []wanted
		for i, r := range requests {
			got = append(got, wanted{r.Code, r.Filename, r.Module, r.Argv, r.Script})
			if last := i == len(requests)-1; r.Finish != last {
				t.Errorf("run %q: request %d has Finish %v", tt.args, i, r.Finish)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("run %q: (-want +got)\n%s", tt.args, diff)
		}
	}
}

// Every mistake is one clear line that names the thing, and status 2.
func TestRunMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.py", "print(1)")
	write(t, "big.py", strings.Repeat("#", maxCode+1))
	if err := os.Mkdir("d", 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ args, want string }{
		{"", "there is no program to run"},
		{"nope.py", `there is no file "nope.py"`},
		{"d", `"d" is a directory: name a file in it`},
		{"big.py", `"big.py" is larger than 8M`},
		{"a.py/x", `cannot read "a.py/x": not a directory`},
		{"-c 1 -m x", "-c and -m cannot go together"},
		{"-m a/b", `-m: "a/b" is no name of a module`},
		{"-m .a", `-m: ".a" is no name`},
		{"--validate -m this", "--validate looks at the source of one program"},
		{"--stdin -", "use one of them"},
		{"--timeout 0 a.py", `--timeout "0": it must be more than 0`},
		{"--timeout soon a.py", `--timeout "soon": it is no time`},
		{"--memory 4M a.py", `--memory "4M": it is 4M, and must be at least 32M`},
		{"--cpus 0 a.py", `--cpus "0": it must be at least 0.01`},
		{"--pids 1 a.py", `--pids "1": it must be at least 8`},
		{"--pids 2.5 a.py", `it is no whole number`},
		{"--workspace-size 1 a.py", "must be at least 64K"},
		{"--max-output lots a.py", "it is no size"},
		{"--env PATH a.py", "write it as NAME=VALUE"},
		{"--file nope a.py", `there is no file "nope"`},
		{"--file d a.py", `--file: "d" is a directory: give it with --dir`},
		{"--file /dev/null a.py", `--file: "/dev/null" is not a regular file`},
		{"--file a.py:../x a.py", `--file: "../x" is no name in the workspace`},
		{"--file a.py:/x a.py", `--file: "/x" is no name in the workspace`},
		{"--file a.py --file a.py:b.py a.py", `--file: "a.py" is given twice`},
		{"--dir nope a.py", `--dir: there is no directory "nope"`},
		{"--dir a.py a.py", `--dir: "a.py" is not a directory: give a file with --file`},
		{"--dir d:.. a.py", `is no name in the workspace`},
		{"--dir d --dir d:d:ro a.py", `would both be "d"`},
		{"--out a.py a.py", `--out: cannot make the directory "a.py"`},
		{"--root a/b a.py", `--root: "a/b" is no name of a root`},
		{"--root x --with numpy a.py", "--root names a root that is built already"},
		{"--without sandbox a.py", `--without: no layer is called "sandbox"`},
		{"--result d a.py", "--result: cannot write"},
		{"--frob a.py", "unknown flag: --frob (see: cellblock run --help)"},
		{"-c", "flag needs an argument"},
	}
	for _, tt := range tests {
		status, stdout, stderr, err := runWith(t, "", append([]string{"run"}, strings.Fields(tt.args)...)...)
		if err == nil || status != 2 || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("run %s: status %d, error %q; wanted 2 and %q", tt.args, status, err, tt.want)
		}
		if stdout+stderr != "" {
			t.Errorf("run %s: printed %q", tt.args, stdout+stderr)
		}
	}
}

func TestRunUnreadableFile(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything; tests/script shows it with another user")
	}
	t.Chdir(t.TempDir())
	write(t, "secret.py", "1")
	if err := os.Chmod("secret.py", 0); err != nil {
		t.Fatal(err)
	}
	_, _, err := parseRun(t, "", "secret.py")
	if err == nil || !strings.Contains(err.Error(), `cannot read "secret.py": permission denied`) {
		t.Errorf("got %v", err)
	}
}

func TestRunConfig(t *testing.T) {
	c, _, err := parseRun(t, "", "--timeout", "2m", "--cpu-time", "10s", "--memory", "65M", "--cpus", "0.5", "--pids", "32",
		"--workspace-size", "1M", "--max-output", "1K", "--env", "A=b", "--python", "/usr/bin/python3", "--with", "numpy,pandas",
		"--with", "scipy", "--venv", "v", "--without", "landlock", "--cgroup-parent", "/x", "-c", "1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	want := executor.Config{
		Timeout: 2 * time.Minute, CPUTime: 10 * time.Second, MaxMemoryMB: 65, CPUs: 0.5, PIDs: 32,
		WorkspaceBytes: 1 << 20, MaxOutput: 1 << 10, Env: map[string]string{"A": "b"}, Python: "/usr/bin/python3",
		Packages: []string{"numpy", "pandas", "scipy"}, Venv: "v", Without: []string{"landlock"}, CgroupParent: "/x",
	}
	if diff := cmp.Diff(want.ToDict(), got.ToDict()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{want.Env, want.Packages, want.Without, want.CPUs, want.PIDs, want.MaxOutput, want.WorkspaceBytes},
		[]any{got.Env, got.Packages, got.Without, got.CPUs, got.PIDs, got.MaxOutput, got.WorkspaceBytes}); diff != "" {
		t.Error(diff)
	}
}

// The defaults that help shows are the executor's own.
func TestRunDefaults(t *testing.T) {
	c, _, err := parseRun(t, "", "-c", "1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	if got.Timeout != executor.DefaultTimeout || got.MaxMemoryMB != executor.DefaultMemoryMB || got.CPUs != executor.DefaultCPUs ||
		got.PIDs != executor.DefaultPIDs || got.WorkspaceBytes != executor.DefaultWorkspaceBytes || got.MaxOutput != executor.DefaultMaxOutput {
		t.Errorf("the defaults of the flags differ from those of the executor: %+v", got)
	}
}

func TestRunStdinServesTheFirst(t *testing.T) {
	_, requests, err := parseRun(t, "data", "--stdin", "-c", "1", "-c", "2")
	if err != nil {
		t.Fatal(err)
	}
	if requests[0].StdinReader == nil || requests[1].StdinReader != nil {
		t.Error("standard input must go to the first execution alone")
	}
}

// flags are those of the command, bound to c.
func (c *runCommand) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	c.addFlags(fs)
	return fs
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
