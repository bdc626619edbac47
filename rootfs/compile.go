package rootfs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// compileScript compiles what stdin names, in triples (source, compiled file,
// path in the root), and writes a byte for each. Only the compiler sees the
// source: nothing is imported from it.
const compileScript = `
import sys
sys.path[:] = [p for p in sys.path if p]
import os, py_compile, warnings
warnings.simplefilter("ignore")
names = sys.stdin.buffer.read().split(b"\0")[:-1]
for i in range(0, len(names), 3):
    source, compiled, shown = map(os.fsdecode, names[i:i + 3])
    try:
        py_compile.compile(source, compiled, shown, doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        ok = "."
    except Exception:
        ok = "!"
    sys.stdout.write(ok)
    sys.stdout.flush()
`

// compileShards is fixed, not the number of processors: what the compiler
// writes depends on what the process compiled before (which strings it
// shares), and the same root is to have the same digest on every machine.
const compileShards = 8

// A compilation is one source file and where its byte code goes; all paths
// are in the root.
type compilation struct{ source, compiled string }

// compilations lists what to compile. Sources import from __pycache__; the
// caller's own below /cellblock get a .pyc to be started by name.
func compilations(entries []Entry, cacheTag string) (list []compilation) {
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Path, ".py")
		if !ok || e.Kind != File {
			continue
		}
		compiled := path.Join(path.Dir(e.Path), "__pycache__", path.Base(stem)+"."+cacheTag+".pyc")
		if ownSource(e.Path) {
			compiled = stem + ".pyc"
		}
		list = append(list, compilation{e.Path, compiled})
	}
	return list
}

func ownSource(p string) bool { return below(p, "/cellblock") }

// compile byte-compiles a staged tree with the interpreter it was made for.
// The pycs are of the kind that is never checked against the source: the root
// is read-only, and start-up saves reading the sources. A package's file that
// is no valid Python (templates, tests of the parser) has none.
func compile(ctx context.Context, python, tree string, list []compilation, progress func(done, total int64)) error {
	tick := counter(int64(len(list)), progress)
	var shards [compileShards]bytes.Buffer
	for i, c := range list {
		b := &shards[i%compileShards]
		for _, s := range []string{filepath.Join(tree, c.source), filepath.Join(tree, c.compiled), c.source} {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	err := inParallel(compileShards, func(i int) error { return compileShard(ctx, python, &shards[i], tick) })
	if err != nil {
		return fmt.Errorf("cannot byte-compile with %q: %w", python, err)
	}
	for _, c := range list {
		if _, err := os.Lstat(filepath.Join(tree, c.compiled)); err != nil && ownSource(c.source) {
			return fmt.Errorf("%w: support file %q is not valid Python for %q", ErrSpec, c.source, python)
		}
	}
	return nil
}

func compileShard(ctx context.Context, python string, in io.Reader, tick func()) error {
	// Not -I: it would ignore PYTHONHASHSEED, on which the order of sets in
	// byte code depends. The environment and the directory are clean, and -B
	// keeps the host's own caches untouched.
	cmd := exec.CommandContext(ctx, python, "-s", "-S", "-B", "-c", compileScript)
	cmd.Env, cmd.Dir, cmd.Stdin = cleanEnv(), "/", in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for r := bufio.NewReader(stdout); ; {
		if _, err := r.ReadByte(); err != nil {
			break
		}
		tick()
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errors.Join(err, fmt.Errorf("%.300s", strings.TrimSpace(stderr.String())))
	}
	return nil
}
