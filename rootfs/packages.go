package rootfs

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// managers are never carried: a cell has no network, and a root no package
// manager.
var managers = []string{"conda", "ensurepip", "pip", "pipx", "poetry", "uv"}

// builders are left out of a virtual environment, which holds them by
// default, unless something in it requires them.
var builders = []string{"setuptools", "wheel"}

// prunedTests are distributions whose directories named tests are left out.
// Nothing of theirs imports them at run time, and they are up to half of the
// whole: pandas 36 of 71 MB, numpy 17 of 37, matplotlib 5 of 24.
var prunedTests = []string{"matplotlib", "mpmath", "numpy", "pandas", "scipy", "sympy"}

// selection carries the chosen packages with what they require.
type selection struct {
	*planner
	sites []*site
	dpkg  *dpkg
	done  map[string]bool // info paths, module paths and names of Debian packages
	used  map[*site]bool
}

// packages plans the named packages and the virtual environment.
func (p *planner) packages() error {
	s := &selection{planner: p, dpkg: &dpkg{h: p.h}, done: map[string]bool{}, used: map[*site]bool{}}
	var venv *site
	if p.spec.Venv != "" {
		var err error
		if venv, err = s.venvSite(); err != nil {
			return err
		}
		s.sites = append(s.sites, venv)
	}
	if venv == nil || s.venvSeesSystem() {
		for _, dir := range p.in.Site {
			s.sites = append(s.sites, p.h.readSite(dir, p.rootPath(dir)))
		}
	}
	if venv != nil {
		if err := s.carryVenv(venv); err != nil {
			return err
		}
	}
	for _, name := range p.spec.Packages {
		if err := s.named(name); err != nil {
			return err
		}
	}
	for _, site := range s.sites {
		if s.used[site] {
			p.plan.SysPath = append(p.plan.SysPath, site.root)
		}
	}
	return nil
}

// named carries what the user asked for by an import or distribution name.
func (s *selection) named(name string) error {
	if name == TestPackage {
		return nil // planned with the standard library
	}
	if slices.Contains(managers, normalName(name)) {
		return fmt.Errorf("%w: %q is a package manager, which a root never holds: name the packages themselves", ErrPackage, name)
	}
	if s.inStdlib(name) {
		if reason := prunedStdlib[name]; reason != "" {
			return fmt.Errorf("%w: %q is part of Python but is not carried: it %s", ErrPackage, name, reason)
		}
		return nil // in every root
	}
	for _, site := range s.sites {
		d := site.byName[normalName(name)]
		files := site.module(name)
		if d == nil && len(files) > 0 {
			if d = s.ownerOf(site, files[0]); d == nil {
				return s.modules(site, name, files)
			}
		}
		if d == nil {
			continue
		}
		if d.editable {
			return fmt.Errorf("%w: %q is an editable install, whose code lies elsewhere: install it without -e", ErrPackage, name)
		}
		return s.carry(site, d)
	}
	return s.missing(name)
}

// inStdlib says whether Python itself provides a module. Before 3.10 Python
// has no list of them, so the files are looked at too.
func (s *selection) inStdlib(name string) bool {
	if slices.Contains(s.in.Modules, name) {
		return true
	}
	file := path.Join(s.in.Stdlib, name)
	return s.h.isFile(file+".py") || s.h.isFile(path.Join(file, "__init__.py"))
}

func (s *selection) missing(name string) error {
	who := fmt.Sprintf("%s (Python %d.%d.%d)", s.in.Path, s.in.Version[0], s.in.Version[1], s.in.Version[2])
	mend := fmt.Sprintf("%s -m pip install %s", s.in.Path, name)
	switch {
	case s.spec.Venv != "":
		who = "the virtual environment " + s.spec.Venv
		mend = fmt.Sprintf("%s -m pip install %s", path.Join(s.spec.Venv, "bin/python"), name)
	case slices.Contains(s.in.Site, debianSite):
		mend = "apt-get install python3-" + normalName(name)
	}
	return fmt.Errorf("%w: %q is not installed for %s: install it with %q", ErrPackage, name, who, mend)
}

// ownerOf finds the distribution a file of the site belongs to.
func (s *selection) ownerOf(site *site, file string) *dist {
	for _, d := range site.dists {
		if slices.Contains(s.h.topLevel(d, site, s.owned), file) {
			return d
		}
	}
	return nil
}

// debianSite is where apt puts Python packages.
const debianSite = "/usr/lib/python3/dist-packages"

// owned lists the files of the Debian package that installed the path.
func (s *selection) owned(p string) []string {
	if !below(p, debianSite) {
		return nil
	}
	return s.dpkg.list(s.dpkg.owner(p))
}

// carry plans a distribution and, at any depth, what it requires.
func (s *selection) carry(site *site, d *dist) error {
	if s.done[d.infoPath()] {
		return nil
	}
	s.done[d.infoPath()] = true
	if d.editable {
		s.warn("%s is an editable install, whose code lies elsewhere: not carried", d.name)
		return nil
	}
	s.plan.Packages[d.name] = d.version
	s.used[site] = true
	s.witness(s.metadataFile(d))
	if err := s.files(site, d); err != nil {
		return fmt.Errorf("cannot carry package %q: %w", d.name, err)
	}
	for _, r := range d.requires {
		if slices.Contains(managers, r.name) {
			continue
		}
		site, dep := s.find(r.name)
		if dep == nil {
			if !r.conditional {
				s.warn("%s requires %s, which is not installed", d.name, r.name)
			}
			continue
		}
		if err := s.carry(site, dep); err != nil {
			return err
		}
	}
	if below(d.site, debianSite) {
		return s.debian(d)
	}
	return nil
}

func (s *selection) find(name string) (*site, *dist) {
	for _, site := range s.sites {
		if d := site.byName[name]; d != nil {
			return site, d
		}
	}
	return nil, nil
}

// metadataFile is the file whose replacement tells of an upgrade.
func (s *selection) metadataFile(d *dist) string {
	for _, f := range []string{"RECORD", "METADATA", "PKG-INFO"} {
		if p := path.Join(d.infoPath(), f); s.h.isFile(p) {
			return p
		}
	}
	return d.infoPath()
}

// files plans the distribution's own files.
func (s *selection) files(site *site, d *dist) error {
	keep := keepPackage(d)
	if err := s.top(site, d.info, keep); err != nil {
		return err
	}
	tops := s.h.topLevel(d, site, s.owned)
	if len(tops) == 0 {
		s.warn("no files of %s were found in %s", d.name, d.site)
	}
	for _, top := range tops {
		if s.claimsWhole(d, top) {
			if err := s.top(site, top, keep); err != nil {
				return err
			}
			continue
		}
		for _, rel := range d.record {
			if below(rel, top) && !strings.Contains(rel, "__pycache__/") && keep(rel, false) && s.h.isFile(path.Join(d.site, rel)) {
				if err := s.top(site, rel, keep); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// claimsWhole says whether everything at top is the distribution's. A
// directory without __init__.py is shared (a namespace, or bundled
// libraries): there only what RECORD names is this one's.
func (s *selection) claimsWhole(d *dist, top string) bool {
	dir := path.Join(d.site, top)
	return d.record == nil || !s.h.isDir(dir) || s.h.isFile(path.Join(dir, "__init__.py"))
}

// top plans one file or directory of a site.
func (s *selection) top(site *site, rel string, keep keepFunc) error {
	hostPath, rootPath := path.Join(site.dir, rel), path.Join(site.root, rel)
	real, fi, err := s.h.stat(hostPath)
	if err != nil {
		s.warn("%s is a link to nothing: not carried", hostPath)
		return nil
	}
	home, err := s.h.resolve(site.dir)
	if err != nil {
		return err
	}
	if !s.mayFollow(home, real, fi) {
		s.warn("%s is a link to %s: not carried", hostPath, real)
		return nil
	}
	if !fi.IsDir() {
		return s.file(hostPath, rootPath)
	}
	return s.walk(walk{home: home, keep: keep}, real, rootPath, rel, 0)
}

func keepPackage(d *dist) keepFunc {
	pruned := slices.Contains(prunedTests, normalName(d.name))
	return func(rel string, dir bool) bool {
		if path.Base(rel) == "direct_url.json" { // names a directory of the host
			return false
		}
		return keepSources(rel, dir) && !(pruned && dir && path.Base(rel) == "tests")
	}
}

// modules plans an import package that no distribution claims.
func (s *selection) modules(site *site, name string, files []string) error {
	s.used[site] = true
	s.plan.Packages[name] = ""
	for _, f := range files {
		if s.done[path.Join(site.dir, f)] {
			continue
		}
		s.done[path.Join(site.dir, f)] = true
		s.witness(path.Join(site.dir, f))
		if err := s.top(site, f, keepSources); err != nil {
			return err
		}
	}
	return nil
}

// venvSite reads the packages of the virtual environment.
func (s *selection) venvSite() (*site, error) {
	lib := fmt.Sprintf("lib/python%d.%d/site-packages", s.in.Version[0], s.in.Version[1])
	dir := path.Join(s.spec.Venv, lib)
	if !s.h.isDir(dir) {
		return nil, fmt.Errorf("%w: the virtual environment %q has no %s: it was made for another Python than %q", ErrSpec, s.spec.Venv, lib, s.in.Path)
	}
	return s.h.readSite(dir, path.Join("/opt/venv", lib)), nil
}

func (s *selection) venvSeesSystem() bool {
	data, err := s.h.readFile(path.Join(s.spec.Venv, "pyvenv.cfg"))
	return err == nil && parseVenvConfig(data, func(string) bool { return false }).system
}

// carryVenv plans all of an environment's site-packages but package managers,
// builders and what only points elsewhere.
func (s *selection) carryVenv(venv *site) error {
	s.used[venv] = true
	s.witness(venv.dir)
	s.witness(path.Join(s.spec.Venv, "pyvenv.cfg"))
	required := map[string]bool{}
	for _, d := range venv.dists {
		for _, r := range d.requires {
			required[r.name] = true
		}
	}
	left := map[string]bool{"_distutils_hack": true, "easy_install.py": true, "__pycache__": true}
	for _, d := range venv.dists {
		n := normalName(d.name)
		wanted := required[n] || slices.ContainsFunc(s.spec.Packages, func(p string) bool { return normalName(p) == n })
		if slices.Contains(managers, n) || slices.Contains(builders, n) && !wanted {
			s.done[d.infoPath()] = true
			left[d.info] = true
			for _, t := range s.h.topLevel(d, venv, s.owned) {
				left[t] = true
			}
		}
	}
	for _, d := range venv.dists {
		if err := s.carry(venv, d); err != nil {
			return err
		}
	}
	return s.carryUnclaimed(venv, left)
}

// carryUnclaimed plans what no distribution of the environment claims:
// modules dropped in by hand.
func (s *selection) carryUnclaimed(venv *site, left map[string]bool) error {
	claimed := map[string]bool{}
	for _, d := range venv.dists {
		for _, t := range d.tops {
			claimed[t] = claimed[t] || s.claimsWhole(d, t)
		}
	}
	for _, name := range venv.names {
		switch {
		case left[name] || claimed[name] || isInfo(name):
		case strings.HasSuffix(name, ".pth") || strings.HasSuffix(name, ".egg-link"):
			s.pathFile(venv, name)
		default:
			if err := s.top(venv, name, keepSources); err != nil {
				return err
			}
		}
	}
	return nil
}

// pathFile warns about a file that adds directories or runs code at start:
// cells start Python with -S, so it has no effect there.
func (s *selection) pathFile(venv *site, name string) {
	data, _ := s.h.readFile(path.Join(venv.dir, name))
	for line := range bytes.Lines(data) {
		line := strings.TrimSpace(string(line))
		if line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "import ") {
			s.warn("%s adds %s to the path, which lies elsewhere: not carried", path.Join(venv.dir, name), line)
			return
		}
	}
}
