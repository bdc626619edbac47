// Package script holds the behaviour of the command line: each testdata file is
// one behaviour, and runs the real program.
//
// Beside testscript's own commands there are
//
//	exits N COMMAND...             run it, and expect exit status N
//	field LINE PATH VALUE          expect VALUE at PATH of the JSON in a line of stdout
//	signalled SIG N COMMAND...     run it, send SIG when it has printed a line, and expect N
//	closed N COMMAND...            run it, close its standard output after a line, and expect N
//	as-nobody N COMMAND...         run it as a user without rights, and expect N
//
// and the condition [package:NAME], true when the Debian package is installed.
package script

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cellblock/cellblock/internal/testkit"
)

// patience is how long a command may take to end after a signal.
const patience = 20 * time.Second

func TestScripts(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.UserNamespaces, testkit.Python("3.9"))
	bin, state := program(t), t.TempDir()
	if err := open(bin, filepath.Join(state, "x")); err != nil {
		t.Fatal(err)
	}
	build := exec.Command(bin, "rootfs", "build") // once; every script finds it there
	build.Env = append(os.Environ(), "CELLBLOCK_STATE_DIR="+state)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the root: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(bin)+":"+os.Getenv("PATH"))
			env.Setenv("CELLBLOCK_STATE_DIR", state)
			env.Setenv("NL", "\n")
			env.Setenv("XDG_STATE_HOME", env.WorkDir+"/.state")
			return open(filepath.Join(env.WorkDir, "x"))
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "field": field, "signalled": signalled, "closed": closed, "as-nobody": asNobody,
		},
	})
}

// program builds cellblock, or takes the one that CELLBLOCK_BIN names.
func program(t *testing.T) string {
	if bin := os.Getenv("CELLBLOCK_BIN"); bin != "" {
		return bin
	}
	bin := filepath.Join(t.TempDir(), "cellblock")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, "../../cmd/cellblock")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build cellblock: %v\n%s", err, out)
	}
	return bin
}

// open lets users without rights reach paths below the directory for temporary
// files.
func open(paths ...string) error {
	for _, p := range paths {
		for dir := filepath.Dir(p); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// condition knows [package:NAME]. Where nothing may be skipped, a package that
// is missing is an error.
func condition(cond string) (bool, error) {
	name, ok := strings.CutPrefix(cond, "package:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	out, err := exec.Command("dpkg-query", "-W", "-f=${Status}", name).Output()
	installed := err == nil && strings.Contains(string(out), "ok installed")
	if !installed && os.Getenv("REQUIRE_ALL") == "1" {
		return false, fmt.Errorf("the package %s is not installed, and REQUIRE_ALL=1 forbids to skip", name)
	}
	return installed, nil
}

// exits runs a command and compares its exit status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want := statusArgument(ts, neg, args, 2)
	err := ts.Exec(args[1], args[2:]...)
	expect(ts, want, exitStatus(err), err)
}

func statusArgument(ts *testscript.TestScript, neg bool, args []string, least int) int {
	if neg || len(args) < least {
		ts.Fatalf("usage: exits N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	return want
}

func expect(ts *testscript.TestScript, want, got int, err error) {
	if got != want {
		ts.Fatalf("exit status %d, wanted %d (%v)", got, want, err)
	}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode() // -1 when a signal ended it
	}
	return -2
}

// field compares a value in the JSON of a line of the last command's stdout.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: field LINE PATH VALUE")
	}
	number, err := strconv.Atoi(args[0])
	ts.Check(err)
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"), "\n")
	if number < 1 || number > len(lines) {
		ts.Fatalf("there is no line %d: %d lines were printed", number, len(lines))
	}
	var v any
	if err := json.Unmarshal([]byte(lines[number-1]), &v); err != nil {
		ts.Fatalf("line %d is no JSON: %v", number, err)
	}
	for key := range strings.SplitSeq(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(at) {
				ts.Fatalf("%s: no element %q in a list of %d", args[1], key, len(at))
			}
			v = at[i]
		default:
			v = nil
		}
	}
	text, isText := v.(string)
	if !isText {
		data, err := json.Marshal(v)
		ts.Check(err)
		text = string(data)
	}
	if (text == args[2]) == neg {
		ts.Fatalf("line %d: %s is %q, wanted %q (negated: %v)", number, args[1], text, args[2], neg)
	}
}

// start starts a command and waits until it has printed a line.
func start(ts *testscript.TestScript, args []string) (*exec.Cmd, *bufio.Reader, io.Closer) {
	cmd := exec.Command(args[0], args[1:]...)
	if path, err := lookPath(ts, args[0]); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = ts.Stderr()
	ts.Check(cmd.Start())
	reader := bufio.NewReader(out)
	if line, err := reader.ReadString('\n'); err != nil {
		ts.Fatalf("it printed %q and ended: %v, %v", line, err, cmd.Wait())
	}
	return cmd, reader, out
}

func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "CELLBLOCK_STATE_DIR", "XDG_STATE_HOME"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// end waits for a command, but not for ever.
func end(ts *testscript.TestScript, cmd *exec.Cmd, rest io.Reader, want int) {
	overdue := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer overdue.Stop()
	if rest != nil {
		_, _ = io.Copy(io.Discard, rest) // ends with the process
	}
	err := cmd.Wait()
	expect(ts, want, exitStatus(err), err)
}

// signalled sends a signal to a command that runs.
func signalled(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	if len(args) < 3 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signalled INT|TERM|HUP N COMMAND...")
	}
	want := statusArgument(ts, neg, args[1:], 2)
	cmd, rest, _ := start(ts, args[2:])
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	end(ts, cmd, rest, want)
}

// closed closes the reading end of a command's standard output.
func closed(ts *testscript.TestScript, neg bool, args []string) {
	want := statusArgument(ts, neg, args, 2)
	cmd, _, out := start(ts, args[1:])
	ts.Check(out.Close())
	end(ts, cmd, nil, want)
}

// nobody is the user of Debian that owns nothing.
const nobody = 65534

// asNobody runs a command as a user without rights.
func asNobody(ts *testscript.TestScript, neg bool, args []string) {
	want := statusArgument(ts, neg, args, 2)
	cmd := exec.Command(args[1], args[2:]...)
	if path, err := lookPath(ts, args[1]); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Dir, cmd.Env = ts.MkAbs("."), environment(ts)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	ts.Check(os.WriteFile(ts.MkAbs("output"), out, 0o644))
	ts.Logf("%s", out)
	expect(ts, want, exitStatus(err), err)
}
