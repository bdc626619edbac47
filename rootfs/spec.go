package rootfs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// formatVersion is part of every key and manifest: raising it makes every
// root be built anew.
const formatVersion = 2

// A Spec names what a root must hold. The zero value means the host's
// /usr/bin/python3 with its standard library.
type Spec struct {
	// Python is the path of the interpreter on the host, or a name looked up
	// in PATH; "" means /usr/bin/python3 (or /usr/local/bin/python3), or the
	// base interpreter of Venv. A path inside a virtual environment means
	// that environment.
	Python string
	// Packages are import names or distribution names, with what they
	// require. "test" means CPython's own test suite.
	Packages []string
	// Venv is a virtual environment, all of whose packages are carried.
	Venv string
	// Support maps an absolute path in the root to a file's content. A .py
	// below /cellblock gets a .pyc beside it.
	Support map[string][]byte
	// Trees are further directories to carry.
	Trees []Tree
}

// A Tree is a directory of the host that the root holds at another place.
// Find notices a change of the directory itself, not of what lies deeper.
type Tree struct {
	Host string // absolute path on the host
	Root string // absolute path in the root
}

// TestPackage is the name in Spec.Packages that means CPython's test suite.
const TestPackage = "test"

var packageName = lazily(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_])?$`)

// normalised checks the spec and makes equal wishes equal: absolute paths,
// the default interpreter written out, packages sorted. It reads at most one
// small file and runs nothing, because it is on the path of every start.
func (s Spec) normalised() (Spec, error) {
	n := s
	var err error
	if n.Venv != "" {
		if n.Venv, err = filepath.Abs(n.Venv); err != nil {
			return n, fmt.Errorf("cannot resolve virtual environment %q: %w", s.Venv, err)
		}
	}
	if n.Python, err = pythonPath(s.Python, n.Venv); err != nil {
		return n, err
	}
	if n.Venv == "" {
		if dir := venvOf(n.Python); dir != "" {
			n.Venv, n.Python = dir, ""
		}
	}
	if n.Venv != "" {
		cfg, err := readVenvConfig(n.Venv)
		if err != nil {
			return n, err
		}
		if n.Python == "" || venvOf(n.Python) == n.Venv {
			n.Python = cfg.base
		}
	}
	n.Packages = nil
	for _, p := range s.Packages {
		p = strings.TrimSpace(p)
		if p == "" {
			continue
		}
		if !packageName().MatchString(p) {
			return n, fmt.Errorf("%w: %q is not the name of a package", ErrSpec, p)
		}
		n.Packages = append(n.Packages, p)
	}
	slices.Sort(n.Packages)
	n.Packages = slices.Compact(n.Packages)
	for p := range s.Support {
		if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
			return n, fmt.Errorf("%w: support file %q is not a clean absolute path", ErrSpec, p)
		}
	}
	for _, t := range s.Trees {
		if !path.IsAbs(t.Root) || path.Clean(t.Root) != t.Root || !filepath.IsAbs(t.Host) || filepath.Clean(t.Host) != t.Host {
			return n, fmt.Errorf("%w: tree %q at %q: both must be clean absolute paths", ErrSpec, t.Host, t.Root)
		}
	}
	return n, nil
}

// pythonPath turns what the user gave into an absolute path. "" stays "" with
// a virtual environment, which names its own interpreter.
func pythonPath(given, venv string) (string, error) {
	switch {
	case given == "" && venv != "":
		return "", nil
	case given == "":
		for _, p := range []string{"/usr/bin/python3", "/usr/local/bin/python3"} {
			if _, err := os.Stat(p); err == nil {
				return p, nil
			}
		}
		return "", fmt.Errorf("%w: there is no /usr/bin/python3: install it with \"apt-get install python3\" or name an interpreter with --python PATH", ErrPython)
	case !strings.ContainsRune(given, '/'):
		p, err := exec.LookPath(given)
		if err != nil {
			return "", fmt.Errorf("%w: there is no %q in PATH: name an interpreter with --python PATH", ErrPython, given)
		}
		given = p
	}
	p, err := filepath.Abs(given)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %q: %w", given, err)
	}
	return p, nil
}

// venvOf returns the virtual environment an interpreter belongs to, or "".
func venvOf(python string) string {
	if python == "" {
		return ""
	}
	dir := filepath.Dir(filepath.Dir(python))
	if _, err := os.Stat(filepath.Join(dir, "pyvenv.cfg")); err != nil {
		return ""
	}
	return dir
}

// venvConfig is what a pyvenv.cfg says.
type venvConfig struct {
	base   string // the interpreter the environment was made from
	system bool   // include-system-site-packages
}

func readVenvConfig(dir string) (venvConfig, error) {
	data, err := os.ReadFile(filepath.Join(dir, "pyvenv.cfg"))
	if err != nil {
		return venvConfig{}, fmt.Errorf("%w: %q is not a virtual environment: %w", ErrSpec, dir, err)
	}
	cfg := parseVenvConfig(data, func(p string) bool {
		fi, err := os.Stat(p)
		return err == nil && fi.Mode().IsRegular()
	})
	if cfg.base == "" {
		return cfg, fmt.Errorf("%w: %s names no interpreter that exists: make the environment anew, or give its interpreter with --python PATH",
			ErrPython, filepath.Join(dir, "pyvenv.cfg"))
	}
	return cfg, nil
}

// parseVenvConfig reads a pyvenv.cfg. exists decides between the names a base
// interpreter can have.
func parseVenvConfig(data []byte, exists func(string) bool) venvConfig {
	kv := map[string]string{}
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), "="); ok {
			kv[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
		}
	}
	cfg := venvConfig{system: strings.EqualFold(kv["include-system-site-packages"], "true")}
	candidates := []string{kv["executable"]} // since 3.11
	if home := kv["home"]; home != "" {
		version := kv["version"]
		if version == "" {
			version = kv["version_info"] // virtualenv, uv
		}
		if f := strings.SplitN(version, ".", 3); len(f) >= 2 {
			candidates = append(candidates, path.Join(home, "python"+f[0]+"."+f[1]))
		}
		candidates = append(candidates, path.Join(home, "python3"), path.Join(home, "python"))
	}
	for _, c := range candidates {
		if path.IsAbs(c) && exists(c) {
			cfg.base = c
			break
		}
	}
	return cfg
}

// key identifies a normalised spec; the state of the host's files is not in
// it but in the index entry the key leads to.
func (s Spec) key() string {
	h := sha256.New()
	fmt.Fprintf(h, "format %d\npython %q\nvenv %q\n", formatVersion, s.Python, s.Venv)
	for _, p := range s.Packages {
		fmt.Fprintf(h, "package %q\n", p)
	}
	for _, t := range s.Trees {
		fmt.Fprintf(h, "tree %q %q\n", t.Host, t.Root)
	}
	paths := make([]string, 0, len(s.Support))
	for p := range s.Support {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		fmt.Fprintf(h, "support %q %x\n", p, sha256.Sum256(s.Support[p]))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// hostFS is the file system plans are made from.
func hostFS() fs.FS { return os.DirFS("/") }

// lazily compiles a pattern at its first use: a start that finds its root
// needs none of them, and they would cost it several milliseconds.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
