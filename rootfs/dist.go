package rootfs

import (
	"path"
	"slices"
	"strings"
)

// A dist is an installed distribution as its metadata describes it.
type dist struct {
	name     string // as written
	version  string
	site     string // the site-packages directory on the host
	info     string // base name of its .dist-info or .egg-info
	requires []requirement
	stripped bool // the metadata says nothing about requirements
	editable bool // its code lies elsewhere
	record   []string
	tops     []string // import packages and modules in site, by file name
	topsRead bool
}

// statesRequirements says whether the metadata names anything that is always
// required.
func (d *dist) statesRequirements() bool {
	return slices.ContainsFunc(d.requires, func(r requirement) bool { return !r.conditional })
}

func (d *dist) infoPath() string { return path.Join(d.site, d.info) }

// A site is one site-packages directory.
type site struct {
	dir    string // on the host
	root   string // in the root
	names  []string
	dists  []*dist
	byName map[string]*dist
}

var eggVersion = lazily(`-py3(\.\d+)?$`)

// readSite lists what is installed in a directory; it opens the metadata of
// every distribution, but none of their other files.
func (h *host) readSite(dir, root string) *site {
	s := &site{dir: dir, root: root, byName: map[string]*dist{}}
	entries, err := h.readDir(dir)
	if err != nil {
		return s // a directory of sys.path that does not exist is ordinary
	}
	for _, e := range entries {
		name := e.Name()
		s.names = append(s.names, name)
		if !strings.HasSuffix(name, ".dist-info") && !strings.HasSuffix(name, ".egg-info") {
			continue
		}
		if d := h.readDist(dir, name); d != nil {
			s.dists = append(s.dists, d)
			// Two versions left beside each other: Python's own lookup takes
			// the first, and so does this.
			if n := normalName(d.name); s.byName[n] == nil {
				s.byName[n] = d
			}
		}
	}
	return s
}

func (h *host) readDist(dir, info string) *dist {
	d := &dist{site: dir, info: info}
	p := path.Join(dir, info)
	var meta metadata
	for _, f := range []string{path.Join(p, "METADATA"), path.Join(p, "PKG-INFO"), p} {
		if data, err := h.readFile(f); err == nil {
			meta = parseMetadata(data)
			break
		}
	}
	d.name, d.version, d.requires = meta.name, meta.version, meta.requires
	if d.name == "" { // no metadata: the file name still says both
		base := strings.TrimSuffix(strings.TrimSuffix(info, ".dist-info"), ".egg-info")
		d.name, d.version, _ = strings.Cut(eggVersion().ReplaceAllString(base, ""), "-")
	}
	if d.name == "" {
		return nil
	}
	// The oldest form of metadata is a single file, which has no place for
	// requirements.
	d.stripped = len(d.requires) == 0 && h.isFile(p)
	if data, err := h.readFile(path.Join(p, "requires.txt")); err == nil {
		var reqs []requirement
		reqs, d.stripped = parseRequiresTxt(data)
		d.requires = append(d.requires, reqs...)
	}
	if data, err := h.readFile(path.Join(p, "direct_url.json")); err == nil {
		d.editable = strings.Contains(strings.ReplaceAll(string(data), " ", ""), `"editable":true`)
	}
	return d
}

// topLevel finds the files and directories in site that are the
// distribution's: from RECORD, else top_level.txt, else what its package
// manager lists, else its own name.
func (h *host) topLevel(d *dist, s *site, owned func(string) []string) []string {
	if d.topsRead {
		return d.tops
	}
	d.topsRead = true
	if data, err := h.readFile(path.Join(d.infoPath(), "RECORD")); err == nil {
		d.record, _ = parseRecord(data)
		for _, p := range d.record {
			top, _, _ := strings.Cut(p, "/")
			d.addTop(top, s)
		}
	}
	if data, err := h.readFile(path.Join(d.infoPath(), "top_level.txt")); err == nil && len(d.tops) == 0 {
		for _, m := range strings.Fields(string(data)) {
			for _, f := range s.module(m) {
				d.addTop(f, s)
			}
		}
	}
	if len(d.tops) == 0 {
		for _, p := range owned(d.infoPath()) {
			if rel, ok := strings.CutPrefix(p, d.site+"/"); ok {
				top, _, _ := strings.Cut(rel, "/")
				d.addTop(top, s)
			}
		}
	}
	if len(d.tops) == 0 {
		for _, m := range []string{d.name, strings.ReplaceAll(d.name, "-", "_"), strings.ReplaceAll(normalName(d.name), "-", "_")} {
			for _, f := range s.module(m) {
				d.addTop(f, s)
			}
		}
	}
	return d.tops
}

func (d *dist) addTop(name string, s *site) {
	if name == "__pycache__" || name == d.info || isInfo(name) || strings.HasSuffix(name, ".pth") ||
		slices.Contains(d.tops, name) {
		return
	}
	if _, ok := slices.BinarySearch(s.names, name); ok {
		d.tops = append(d.tops, name)
	}
}

func isInfo(name string) bool {
	return strings.HasSuffix(name, ".dist-info") || strings.HasSuffix(name, ".egg-info")
}

// module returns the file names in the site that provide the module m:
// a directory, a .py, or extension modules.
func (s *site) module(m string) []string {
	var files []string
	i, _ := slices.BinarySearch(s.names, m)
	for _, n := range s.names[i:] {
		if !strings.HasPrefix(n, m) {
			break
		}
		rest := n[len(m):]
		if rest == "" || rest == ".py" || strings.HasPrefix(rest, ".") && strings.HasSuffix(rest, ".so") {
			files = append(files, n)
		}
	}
	return files
}
