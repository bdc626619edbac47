package rootfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// The versions of CPython a root can hold.
var (
	oldestPython = [3]int{3, 9, 0}
	newestMinor  = 13
)

// An Interpreter is what a CPython says of itself when asked once, at build
// time. All paths are the host's, with links resolved where Python does so.
type Interpreter struct {
	Path           string   `json:"-"` // as given
	Executable     string   `json:"executable"`
	Version        [3]int   `json:"version"`
	Implementation string   `json:"implementation"`
	CacheTag       string   `json:"cache_tag"`
	Prefix         string   `json:"prefix"`
	ExecPrefix     string   `json:"exec_prefix"`
	Stdlib         string   `json:"stdlib"`
	PlatStdlib     string   `json:"platstdlib"`
	Dynload        string   `json:"dynload"` // "" when every extension is built in
	Site           []string `json:"site"`    // site-packages, in the order of sys.path
	Modules        []string `json:"modules"` // importable without any package, sorted
	FreeThreaded   bool     `json:"free_threaded"`
}

// queryScript runs under -I -S: no .pth file, no sitecustomize, nothing from
// the working directory or the environment runs before or beside it.
const queryScript = `
import json, os, site, sys, sysconfig
paths = sysconfig.get_paths()
dynload = [p for p in sys.path if os.path.basename(p) == "lib-dynload" and os.path.isdir(p)]
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "cache_tag": sys.implementation.cache_tag,
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "stdlib": os.path.dirname(os.__file__),
    "platstdlib": paths["platstdlib"],
    "dynload": dynload[0] if dynload else "",
    "site": [p for p in site.getsitepackages([sys.base_prefix, sys.base_exec_prefix]) if os.path.isdir(p)],
    "modules": sorted(set(sys.builtin_module_names) | set(getattr(sys, "stdlib_module_names", ()))),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
}))
`

// cleanEnv is the whole environment of the interpreter when it runs on the
// host. A fixed hash seed makes what the compiler writes repeatable.
func cleanEnv() []string { return []string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "PYTHONHASHSEED=0"} }

// queryInterpreter runs the interpreter once and checks that it can be used.
func queryInterpreter(ctx context.Context, python string) (*Interpreter, error) {
	if err := checkExecutable(ctx, python); err != nil {
		return nil, err
	}
	out, err := runPython(ctx, python, "-I", "-S", "-c", queryScript)
	if err != nil {
		// Python 2 knows no -I: refuse it by its version rather than by its usage text.
		if v, ok := versionOf(ctx, python); ok {
			if verr := checkVersion(python, v); verr != nil {
				return nil, verr
			}
		}
		return nil, fmt.Errorf("%w: cannot ask %q for its paths: %w", ErrPython, python, err)
	}
	in := &Interpreter{Path: python}
	if err := json.Unmarshal(out, in); err != nil {
		return nil, fmt.Errorf("%w: %q answered %.100q: %w", ErrPython, python, out, err)
	}
	return in, in.check()
}

// check refuses what cannot be carried, by name.
func (in *Interpreter) check() error {
	if in.Implementation != "cpython" {
		return fmt.Errorf("%w: %q is %s, and cells run CPython only", ErrPython, in.Path, in.Implementation)
	}
	if err := checkVersion(in.Path, in.Version); err != nil {
		return err
	}
	if in.FreeThreaded {
		return fmt.Errorf("%w: %q is a free-threaded build, which is not supported: name the ordinary build", ErrPython, in.Path)
	}
	for _, p := range []string{in.Executable, in.Prefix, in.Stdlib} {
		if !path.IsAbs(p) {
			return fmt.Errorf("%w: %q reports the path %q, which is not absolute", ErrPython, in.Path, p)
		}
	}
	return nil
}

func checkVersion(python string, v [3]int) error {
	if v[0] == oldestPython[0] && v[1] >= oldestPython[1] && v[1] <= newestMinor {
		return nil
	}
	return fmt.Errorf("%w: %q is Python %d.%d.%d, and cells run 3.%d to 3.%d: name another with --python PATH",
		ErrPython, python, v[0], v[1], v[2], oldestPython[1], newestMinor)
}

// checkExecutable gives the plain reasons before anything is run.
func checkExecutable(ctx context.Context, python string) error {
	fi, err := os.Stat(python)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no Python at %q: install one or name another with --python PATH", ErrPython, python)
	case err != nil:
		return fmt.Errorf("%w: cannot look at %q: %w", ErrPython, python, err)
	case !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0:
		return fmt.Errorf("%w: %q is not an executable file", ErrPython, python)
	}
	f, err := os.Open(python)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPython, err)
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err == nil && string(magic[:]) == "\x7fELF" {
		return nil
	}
	// A pyenv shim and its like pick another Python by directory and setting;
	// a root must be made of one Python, so say which one it is today.
	mend := "name the interpreter itself"
	if out, err := runPython(ctx, python, "-c", "import sys; print(sys.executable)"); err == nil {
		mend = fmt.Sprintf("name the interpreter it starts, %q", strings.TrimSpace(string(out)))
	}
	return fmt.Errorf("%w: %q is a script, not an interpreter: %s", ErrPython, python, mend)
}

var versionLine = lazily(`(?m)^Python (\d+)\.(\d+)\.(\d+)`)

func versionOf(ctx context.Context, python string) (v [3]int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-V")
	cmd.Env, cmd.Dir = cleanEnv(), "/"
	out, _ := cmd.CombinedOutput() // Python 2 prints its version on stderr
	m := versionLine().FindSubmatch(out)
	if m == nil {
		return v, false
	}
	for i := range v {
		v[i], _ = strconv.Atoi(string(m[i+1]))
	}
	return v, true
}

// runPython runs the interpreter with a clean environment and returns what it
// prints; the error holds the last line of what it complained about.
func runPython(ctx context.Context, python string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, args...)
	cmd.Env, cmd.Dir = cleanEnv(), "/"
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("%w: %.200s", err, lines[len(lines)-1])
	}
	return out, nil
}
