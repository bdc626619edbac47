package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Progress is told how far a build is: the stage ("plan", "copy", "compile",
// "hash"), and how many of its files are done. It is called from several
// goroutines, one at a time.
type Progress = func(stage string, done, total int64)

// programMode is the mode of the interpreter and the loader, and of nothing
// else, in a manifest.
const programMode = "0555"

// normalTime is the modification time of every file of a root. It is later
// than 1980, before which zip archives know no time.
var normalTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// stage makes the plan's tree in dir and returns the manifest of what is
// there in the end.
func stage(ctx context.Context, plan *Plan, dir string, progress Progress) (*manifest, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is: cells go through it
		return nil, err
	}
	in := func(name string) func(done, total int64) {
		return func(done, total int64) { progress(name, done, total) }
	}
	if err := copyPlan(ctx, plan, tree, in("copy")); err != nil {
		return nil, err
	}
	list := compilations(plan.Entries, plan.Interpreter.CacheTag)
	if err := compile(ctx, plan.Interpreter.Executable, tree, list, in("compile")); err != nil {
		return nil, err
	}
	if err := normalise(plan, tree); err != nil {
		return nil, err
	}
	entries, _, err := scan(tree, uint32(os.Geteuid()))
	if err != nil {
		return nil, fmt.Errorf("cannot read the tree that was built: %w", err)
	}
	if err := hashEntries(tree, entries, in("hash")); err != nil {
		return nil, err
	}
	return &manifest{
		Format: formatVersion, Python: plan.Python, Version: plan.Interpreter.Version, Prefix: plan.Prefix,
		Stdlib: plan.Stdlib, SysPath: plan.SysPath, Packages: plan.Packages, Entries: entries,
	}, ctx.Err()
}

// copyPlan makes directories and links in order, then the files on all
// processors.
func copyPlan(ctx context.Context, plan *Plan, tree string, progress func(done, total int64)) error {
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	var files []Entry
	for _, e := range plan.Entries { // parents come first
		at := filepath.Join(tree, e.Path)
		var err error
		switch e.Kind {
		case Dir:
			err = os.Mkdir(at, 0o755)
		case Link:
			err = os.Symlink(e.Target, at)
		case File:
			files = append(files, e)
		}
		if err != nil {
			return fmt.Errorf("cannot make %q: %w", e.Path, err)
		}
	}
	tick := counter(int64(len(files)), progress)
	return inParallel(len(files), func(i int) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := writeEntry(files[i], filepath.Join(tree, files[i].Path)); err != nil {
			return fmt.Errorf("cannot make %q: %w", files[i].Path, err)
		}
		tick()
		return nil
	})
}

func writeEntry(e Entry, at string) error {
	out, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if e.Source == "" {
		_, err = out.Write(e.Content)
	} else {
		err = copyFrom(out, e.Source)
	}
	return errors.Join(err, out.Close())
}

// copyFrom copies a regular file, by reference where the file system can: Go
// uses copy_file_range between two files. The plan resolved the path; a link
// or a pipe that has taken its place since is refused.
func copyFrom(out *os.File, source string) error {
	src, err := os.OpenFile(source, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%q is no longer a regular file", source)
	}
	_, err = io.Copy(out, src)
	return err
}

// normalise gives everything its final mode and time, whatever umask and
// source said. Two programs may be executed: the interpreter and the loader.
func normalise(plan *Plan, tree string) error {
	programs := map[string]bool{}
	for _, e := range plan.Entries {
		if e.Exec {
			programs[filepath.Join(tree, e.Path)] = true
		}
	}
	var dirs []string
	err := filepath.WalkDir(tree, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			dirs = append(dirs, p)
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return nil
		}
		mode := fs.FileMode(0o444)
		if programs[p] {
			mode = 0o555
		}
		if err := os.Chmod(p, mode); err != nil {
			return err
		}
		return os.Chtimes(p, normalTime, normalTime)
	})
	if err != nil {
		return fmt.Errorf("cannot set modes of the tree: %w", err)
	}
	for i := len(dirs) - 1; i >= 0; i-- { // children first: a parent's time is set last
		if err := errors.Join(os.Chmod(dirs[i], 0o555), os.Chtimes(dirs[i], normalTime, normalTime)); err != nil {
			return fmt.Errorf("cannot set modes of the tree: %w", err)
		}
	}
	return nil
}

// removeTree deletes a root or a half-built one; its directories are
// read-only, which stops everybody but root.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(dir)
}
