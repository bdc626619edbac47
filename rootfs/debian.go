package rootfs

import (
	"bytes"
	"path"
	"strings"
)

// debian carries what the Debian package of a distribution adds to it: data
// kept elsewhere, and the Python packages it depends on, of which Debian's
// metadata often says nothing.
func (s *selection) debian(d *dist) error {
	pkg := s.dpkg.owner(d.infoPath())
	if pkg == "" {
		return nil
	}
	for _, f := range s.dpkg.data(pkg) {
		if s.h.isFile(f) {
			if err := s.file(f, f); err != nil {
				return err
			}
		}
	}
	for _, dep := range s.dpkg.requires(pkg) {
		if s.done["deb "+dep] || !strings.HasPrefix(dep, "python3-") {
			continue
		}
		tops := s.debianTops(dep)
		wanted := d.stripped && notFollowed[dep] == "" || !d.statesRequirements() && s.mentions(d, tops)
		if !wanted {
			continue
		}
		s.done["deb "+dep] = true
		for _, top := range tops {
			if err := s.debianTop(top); err != nil {
				return err
			}
		}
	}
	return nil
}

// debianTops lists what a Debian package has directly in debianSite.
func (s *selection) debianTops(pkg string) (tops []string) {
	for _, f := range s.dpkg.list(pkg) {
		if path.Dir(f) == debianSite && !strings.HasSuffix(f, ".pth") {
			tops = append(tops, path.Base(f))
		}
	}
	return tops
}

// debianTop carries the distribution that top is or belongs to, or else the
// bare module.
func (s *selection) debianTop(top string) error {
	for _, site := range s.sites {
		if site.dir != debianSite {
			continue
		}
		for _, d := range site.dists {
			if d.info == top {
				return s.carry(site, d)
			}
		}
		if d := s.ownerOf(site, top); d != nil {
			return s.carry(site, d)
		}
		if name := moduleName(top); s.entries[path.Join(site.root, top)] == nil && !isInfo(top) && s.h.exists(path.Join(site.dir, top)) {
			return s.modules(site, name, []string{top})
		}
	}
	return nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(file, ".")
	return name
}

// mentions says whether the name of one of the modules stands in what is run
// when the distribution is imported: its __init__.py or extension modules.
// All of its files would be too many: fontTools has a tool that draws with
// scipy, and nothing else of it needs 200 MB.
func (s *selection) mentions(d *dist, tops []string) bool {
	for _, t := range d.tops {
		dir := path.Join(s.rootPath(d.site), t)
		for file, e := range s.entries {
			if !below(file, dir) || e.Kind != File || e.Source == "" ||
				file != path.Join(dir, "__init__.py") && !sharedObject().MatchString(file) {
				continue
			}
			data, err := s.h.readFile(e.Source)
			if err != nil {
				continue
			}
			for _, top := range tops {
				if !isInfo(top) && hasWord(data, moduleName(top)) {
					return true
				}
			}
		}
	}
	return false
}

// hasWord finds name where no letter, digit or underscore is beside it.
func hasWord(data []byte, name string) bool {
	inWord := func(i int) bool {
		if i < 0 || i >= len(data) {
			return false
		}
		c := data[i]
		return c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
	}
	for from := 0; name != ""; {
		i := bytes.Index(data[from:], []byte(name))
		if i < 0 {
			return false
		}
		i += from
		if !inWord(i-1) && !inWord(i+len(name)) {
			return true
		}
		from = i + 1
	}
	return false
}
