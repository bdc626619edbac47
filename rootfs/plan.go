package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// A Kind is the type of a file in a root; there are only three.
type Kind int

const (
	Dir Kind = iota
	File
	Link
)

// An Entry says what stands at one path of the root and where it comes from.
type Entry struct {
	Path    string // absolute, in the root
	Kind    Kind
	Source  string // File: resolved path on the host; "" means Content
	Content []byte
	Target  string // Link: as it is written into the link
	Exec    bool   // File: mode 0555 instead of 0444
}

// A Plan says what a root holds. It is made from files and facts alone, and
// making it changes nothing.
type Plan struct {
	Spec        Spec
	Interpreter *Interpreter
	Python      string            // the interpreter inside the root
	Prefix      string            // its sys.prefix inside the root
	Stdlib      string            // its standard library inside the root
	SysPath     []string          // directories sys.path must hold beyond the standard library
	Packages    map[string]string // distributions carried, with their versions
	Entries     []Entry           // sorted by path, parents first
	Witnesses   []string          // host files whose change makes the root stale
	Fences      []string          // a few files and directories, one of which changes when a witness is replaced
	Warnings    []string          // what was asked for and could not be carried
}

// NewPlan plans the root for a normalised spec and the interpreter it names.
func NewPlan(fsys fs.FS, in *Interpreter, spec Spec) (*Plan, error) {
	p := newPlanner(fsys, in, spec)
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"skeleton", p.skeleton},
		{"interpreter", p.interpreter},
		{"standard library", p.stdlib},
		{"packages", p.packages},
		{"trees", p.trees},
		{"support files", p.support},
		{"shared libraries", p.libraries}, // last, because it looks at every object planned before
	} {
		if err := step.run(); err != nil {
			if errors.Is(err, ErrPackage) || errors.Is(err, ErrPython) || errors.Is(err, ErrSpec) {
				return nil, err
			}
			return nil, fmt.Errorf("cannot plan the %s of a root: %w", step.name, err)
		}
	}
	return p.finish(), nil
}

// planner is a Plan in the making.
type planner struct {
	h       *host
	in      *Interpreter
	spec    Spec
	plan    *Plan
	entries map[string]*Entry
	moved   []mapping // host directories that stand elsewhere in the root
	tests   bool      // CPython's test suite was asked for
}

type mapping struct{ host, root string }

func newPlanner(fsys fs.FS, in *Interpreter, spec Spec) *planner {
	p := &planner{
		h: newHost(fsys), in: in, spec: spec, entries: map[string]*Entry{},
		plan:  &Plan{Spec: spec, Interpreter: in, Packages: map[string]string{}},
		tests: slices.Contains(spec.Packages, TestPackage),
	}
	// /usr and /usr/local stay, because Python packages of the system have
	// such paths compiled in. Any other prefix is somebody's directory: its
	// name is nothing a cell should know, and Python finds its prefix from
	// where its executable lies.
	p.plan.Prefix = in.Prefix
	if in.Prefix != "/usr" && in.Prefix != "/usr/local" {
		p.plan.Prefix = fmt.Sprintf("/opt/python%d.%d", in.Version[0], in.Version[1])
		p.moved = append(p.moved, mapping{in.Prefix, p.plan.Prefix})
		if in.ExecPrefix != in.Prefix {
			p.moved = append(p.moved, mapping{in.ExecPrefix, p.plan.Prefix})
		}
	}
	return p
}

// usrMerged are the directories that are links into /usr in every root.
var usrMerged = []string{"lib", "lib64", "lib32", "libx32"}

// rootPath says where a host path stands in the root.
func (p *planner) rootPath(hostPath string) string {
	for _, m := range p.moved {
		if below(hostPath, m.host) {
			return m.root + strings.TrimPrefix(hostPath, m.host)
		}
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(hostPath, "/"), "/")
	if slices.Contains(usrMerged, first) {
		return "/usr" + hostPath
	}
	return hostPath
}

// put plans an entry and the directories above it. What is planned first
// stays, as on a search path.
func (p *planner) put(e Entry) {
	if p.entries[e.Path] != nil {
		return
	}
	p.entries[e.Path] = &e
	for dir := path.Dir(e.Path); dir != "/" && p.entries[dir] == nil; dir = path.Dir(dir) {
		p.entries[dir] = &Entry{Path: dir, Kind: Dir}
	}
}

func (p *planner) putContent(file, content string) {
	p.put(Entry{Path: file, Kind: File, Content: []byte(content)})
}

// file plans one file of the host, with links followed.
func (p *planner) file(hostPath, rootPath string) error {
	real, fi, err := p.h.stat(hostPath)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%q is not a regular file", hostPath)
	}
	p.put(Entry{Path: rootPath, Kind: File, Source: real})
	return nil
}

func (p *planner) warn(format string, args ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, args...))
}

func (p *planner) witness(hostPath string) { p.plan.Witnesses = append(p.plan.Witnesses, hostPath) }

// keepFunc decides about a path relative to the tree that is walked.
type keepFunc func(rel string, dir bool) bool

// tree plans a directory of the host. Links are followed and what they lead
// to is carried at the link's place, within the limits of mayFollow.
func (p *planner) tree(hostDir, rootDir string, keep keepFunc) error {
	real, err := p.h.resolve(hostDir)
	if err != nil {
		return err
	}
	return p.walk(walk{home: real, keep: keep}, real, rootDir, "", 0)
}

type walk struct {
	home string
	keep keepFunc
}

// maxDepth stops links that lead in circles.
const maxDepth = 64

func (p *planner) walk(w walk, hostDir, rootDir, rel string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q is nested more than %d directories deep", hostDir, maxDepth)
	}
	entries, err := p.h.readDir(hostDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		hostPath, rootPath, rel := path.Join(hostDir, e.Name()), path.Join(rootDir, e.Name()), path.Join(rel, e.Name())
		mode := e.Type()
		source := hostPath
		if mode&fs.ModeSymlink != 0 {
			real, fi, err := p.h.stat(hostPath)
			if err != nil {
				if w.keep(rel, false) {
					p.warn("%s is a link to nothing: not carried", hostPath)
				}
				continue
			}
			if !w.keep(rel, fi.IsDir()) {
				continue
			}
			if below(hostPath, real) || !p.mayFollow(w.home, real, fi) {
				p.warn("%s is a link to %s: not carried", hostPath, real)
				continue
			}
			source, mode = real, fi.Mode().Type()
		} else if !w.keep(rel, e.IsDir()) {
			continue
		}
		switch {
		case mode.IsDir():
			if err := p.walk(w, source, rootPath, rel, depth+1); err != nil {
				return err
			}
		case mode.IsRegular():
			p.put(Entry{Path: rootPath, Kind: File, Source: source})
		default:
			p.warn("%s is not a regular file: not carried", hostPath)
		}
	}
	return nil
}

// mayFollow decides about a link that leaves the tree it lies in. Root may
// build from a user's virtual environment, and a link in it must not bring
// /etc/shadow into a tree that everybody can read: only what the system
// itself offers to everybody is followed.
func (p *planner) mayFollow(home, real string, fi fs.FileInfo) bool {
	if below(real, home) {
		return true
	}
	if fi.Mode().IsRegular() && fi.Mode()&0o004 == 0 {
		return false
	}
	return below(real, "/usr") || below(real, p.in.Prefix) || below(home, "/usr") && below(real, "/etc")
}

// trees plans what the caller asked for beside Python.
func (p *planner) trees() error {
	for _, t := range p.spec.Trees {
		if !p.h.isDir(t.Host) {
			return fmt.Errorf("%w: %q is not a directory", ErrSpec, t.Host)
		}
		p.witness(t.Host)
		if err := p.tree(t.Host, t.Root, keepSources); err != nil {
			return err
		}
	}
	return nil
}

// support plans the caller's own files. They win over anything planned
// before, since the cell rests on them.
func (p *planner) support() error {
	for file, content := range p.spec.Support {
		if e := p.entries[file]; e != nil && e.Kind != File {
			return fmt.Errorf("%w: support file %q is a directory of the root", ErrSpec, file)
		}
		delete(p.entries, file)
		p.put(Entry{Path: file, Kind: File, Content: content})
	}
	return nil
}

// keepSources leaves out what every tree is better without: caches of another
// place and what only a compiler can use.
func keepSources(rel string, dir bool) bool {
	name := path.Base(rel)
	if dir {
		return name != "__pycache__"
	}
	switch path.Ext(name) {
	case ".a", ".o", ".la":
		return false
	}
	return true
}

func (p *planner) finish() *Plan {
	// The links are put in once it is known that something lies behind them.
	for _, name := range usrMerged {
		if e := p.entries["/usr/"+name]; e != nil && e.Kind == Dir {
			p.put(Entry{Path: "/" + name, Kind: Link, Target: "usr/" + name})
		}
	}
	if p.entries["/home"] == nil {
		p.put(Entry{Path: homeLink, Kind: Link, Target: "../workspace"})
	}
	for _, k := range slices.Sorted(maps.Keys(p.entries)) {
		p.plan.Entries = append(p.plan.Entries, *p.entries[k])
	}
	slices.Sort(p.plan.Witnesses)
	p.plan.Witnesses = slices.Compact(p.plan.Witnesses)
	p.plan.Fences = p.fences()
	return p.plan
}

// fences are what a start looks at instead of dozens of witnesses: replacing
// a file changes its directory, switching an alternative changes
// /etc/alternatives, and every run of dpkg changes its status file.
func (p *planner) fences() []string {
	fences := map[string]bool{p.spec.Python: true}
	for _, extra := range []string{path.Join(dpkgDir, "status"), "/etc/alternatives"} {
		if real, err := p.h.resolve(extra); err == nil {
			fences[real] = true
		}
	}
	for _, w := range p.plan.Witnesses {
		if w == p.spec.Python {
			continue
		}
		real, fi, err := p.h.stat(w)
		if err != nil {
			continue
		}
		if fi.IsDir() {
			fences[real] = true
			continue
		}
		for _, file := range []string{w, real} {
			dir, err := p.h.resolve(path.Dir(file))
			if err != nil {
				continue
			}
			if isInfo(dir) { // an installer makes these anew, beside one another
				dir = path.Dir(dir)
			}
			fences[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(fences))
}
