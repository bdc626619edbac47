package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/executor"
)

// fileFlags are the flags that say which files go into a cell, and where those
// that it made go.
type fileFlags struct {
	files, dirs []string
	out         string
}

// InputFiles and InputDirs read values of --file and --dir for programs that
// have these flags as well.
func InputFiles(files []string) (map[string]string, error) {
	return (&fileFlags{files: files}).inputFiles()
}

// InputDirs: see InputFiles.
func InputDirs(dirs []string) ([]executor.Dir, error) { return (&fileFlags{dirs: dirs}).inputDirs() }

func (f *fileFlags) addFiles(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.files, "file", nil, "copy the file `HOST[:NAME]` into the workspace; may be repeated")
	fs.StringArrayVar(&f.dirs, "dir", nil, "copy the directory `HOST[:NAME][:ro]` into the workspace, read-only with :ro; may be repeated")
	fs.StringVar(&f.out, "out", "", "copy the files that the program made or changed into `DIR`, and the figures that it showed")
}

// inputFiles are the --file flags: paths on the host and names in the workspace.
func (f *fileFlags) inputFiles() (map[string]string, error) {
	if len(f.files) == 0 {
		return nil, nil
	}
	files, names := map[string]string{}, map[string]string{}
	for _, arg := range f.files {
		host, name := splitMapping(arg)
		if name == "" {
			name = filepath.Base(host)
		}
		st, err := os.Stat(host)
		switch {
		case err != nil:
			return nil, cannotRead(host, err)
		case st.IsDir():
			return nil, usagef("--file: %q is a directory: give it with --dir", host)
		case !st.Mode().IsRegular():
			return nil, usagef("--file: %q is not a regular file", host)
		}
		readable, err := os.Open(host)
		if err != nil {
			return nil, cannotRead(host, err)
		}
		readable.Close()
		if err := checkName("--file", name); err != nil {
			return nil, err
		}
		name = filepath.Clean(name)
		if other, taken := names[name]; taken {
			return nil, usagef("--file: %q and %q would both be %q in the workspace: give one another name (HOST:NAME)", other, host, name)
		}
		abs, err := filepath.Abs(host)
		if err != nil {
			return nil, cannotRead(host, err)
		}
		if other, taken := files[abs]; taken {
			return nil, usagef("--file: %q is given twice, as %q and as %q", host, other, name)
		}
		files[abs], names[name] = name, host
	}
	return files, nil
}

// inputDirs are the --dir flags.
func (f *fileFlags) inputDirs() ([]executor.Dir, error) {
	var dirs []executor.Dir
	names := map[string]string{}
	for _, arg := range f.dirs {
		var d executor.Dir
		if _, err := os.Stat(arg); err != nil {
			arg, d.ReadOnly = strings.CutSuffix(arg, ":ro")
		}
		d.Host, d.Name = splitMapping(arg)
		st, err := os.Stat(d.Host)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, usagef("--dir: there is no directory %q", d.Host)
		case err != nil:
			return nil, cannotRead(d.Host, err)
		case !st.IsDir():
			return nil, usagef("--dir: %q is not a directory: give a file with --file", d.Host)
		}
		if d.Host, err = filepath.Abs(d.Host); err != nil {
			return nil, cannotRead(d.Host, err)
		}
		// The user's own links are followed; those inside are the executor's matter.
		if real, err := filepath.EvalSymlinks(d.Host); err == nil {
			if d.Name == "" {
				d.Name = filepath.Base(d.Host)
			}
			d.Host = real
		}
		if err := checkName("--dir", d.Name); err != nil {
			return nil, err
		}
		d.Name = filepath.Clean(d.Name)
		if other, taken := names[d.Name]; taken {
			return nil, usagef("--dir: %q and %q would both be %q in the workspace: give one another name (HOST:NAME)", other, d.Host, d.Name)
		}
		names[d.Name] = d.Host
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// outDir is the --out flag: the directory, made if need be.
func (f *fileFlags) outDir() (string, error) {
	if f.out == "" {
		return "", nil
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err
		}
		return "", usagef("--out: cannot make the directory %q: %v", f.out, err)
	}
	abs, err := filepath.Abs(f.out)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", usagef("--out: cannot use the directory %q: %v", f.out, err)
	}
	return abs, nil
}

// splitMapping takes HOST[:NAME] apart. A path that exists as it stands has no
// NAME, whatever colons it holds.
func splitMapping(arg string) (host, name string) {
	if _, err := os.Lstat(arg); err == nil {
		return arg, ""
	}
	if i := strings.LastIndexByte(arg, ':'); i > 0 {
		return arg[:i], arg[i+1:]
	}
	return arg, ""
}

func checkName(flag, name string) error {
	if !filepath.IsLocal(name) || filepath.Clean(name) == "." {
		return usagef("%s: %q is no name in the workspace: it must be a relative path without \"..\"", flag, name)
	}
	return nil
}
