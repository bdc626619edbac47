package rootfs

import (
	"path"
	"slices"
	"strings"
)

// dpkg answers from Debian's own database, because Debian's Python packages
// are without RECORD and partly without requirements, and keep data outside
// of the package (matplotlib in /usr/share and /etc).
type dpkg struct {
	h        *host
	loaded   bool
	depends  map[string][][]string // package → alternatives of each dependency
	provided map[string]string     // virtual package → one that provides it
	lists    map[string]string     // package → base name of its .list
	files    map[string][]string   // package → files, read when asked for
	owners   map[string]string     // path of an info directory → package
}

const dpkgDir = "/var/lib/dpkg"

func (d *dpkg) load() {
	if d.loaded {
		return
	}
	d.loaded = true
	d.depends, d.lists = map[string][][]string{}, map[string]string{}
	d.files, d.owners = map[string][]string{}, map[string]string{}
	status, err := d.h.readFile(path.Join(dpkgDir, "status"))
	if err != nil {
		return // not a Debian
	}
	d.depends, d.provided = parseDpkgStatus(status)
	entries, _ := d.h.readDir(path.Join(dpkgDir, "info"))
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".list"); ok {
			name, _, _ := strings.Cut(base, ":")
			d.lists[name] = e.Name()
		}
	}
}

// parseDpkgStatus returns the dependencies of every installed package, and who
// provides which virtual one.
func parseDpkgStatus(data []byte) (depends map[string][][]string, provided map[string]string) {
	depends, provided = map[string][][]string{}, map[string]string{}
	for para := range strings.SplitSeq(string(data), "\n\n") {
		var name string
		var installed bool
		var deps, provides [][]string
		for line := range strings.SplitSeq(para, "\n") {
			key, value, ok := strings.Cut(line, ":")
			if !ok || strings.HasPrefix(line, " ") {
				continue
			}
			switch key {
			case "Package":
				name = strings.TrimSpace(value)
			case "Status":
				installed = strings.HasSuffix(strings.TrimSpace(value), " installed")
			case "Depends", "Pre-Depends":
				deps = append(deps, parseDepends(value)...)
			case "Provides":
				provides = parseDepends(value)
			}
		}
		if name == "" || !installed {
			continue
		}
		depends[name] = deps
		for _, p := range provides {
			provided[p[0]] = name
		}
	}
	return depends, provided
}

// parseDepends reads "a (>= 1) | b, c:any" as [[a b] [c]].
func parseDepends(s string) (deps [][]string) {
	for clause := range strings.SplitSeq(s, ",") {
		var alts []string
		for alt := range strings.SplitSeq(clause, "|") {
			name, _, _ := strings.Cut(strings.TrimSpace(alt), " ")
			name, _, _ = strings.Cut(name, ":")
			name, _, _ = strings.Cut(name, "(")
			if name != "" {
				alts = append(alts, name)
			}
		}
		if alts != nil {
			deps = append(deps, alts)
		}
	}
	return deps
}

// owner returns the package that installed the path, or "".
func (d *dpkg) owner(p string) string {
	d.load()
	if pkg, ok := d.owners[p]; ok {
		return pkg
	}
	for pkg := range d.lists {
		if !strings.HasPrefix(pkg, "python") {
			continue
		}
		for _, f := range d.list(pkg) {
			if isInfo(f) {
				d.owners[f] = pkg
			}
		}
	}
	if _, ok := d.owners[p]; !ok {
		d.owners[p] = ""
	}
	return d.owners[p]
}

// list returns the paths a package installed, directories included.
func (d *dpkg) list(pkg string) []string {
	d.load()
	if files, ok := d.files[pkg]; ok {
		return files
	}
	var files []string
	if base := d.lists[pkg]; base != "" {
		data, _ := d.h.readFile(path.Join(dpkgDir, "info", base))
		files = strings.Fields(string(data))
	}
	d.files[pkg] = files
	return files
}

// requires returns the installed packages pkg depends on, sorted.
func (d *dpkg) requires(pkg string) []string {
	d.load()
	var out []string
	for _, alts := range d.depends[pkg] {
		for _, a := range alts {
			if virtual := d.provided[a]; virtual != "" && d.depends[a] == nil {
				a = virtual
			}
			if _, ok := d.depends[a]; ok {
				out = append(out, a)
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// notFollowed are packages that dh_python3 or packagers add to Depends though
// no cell needs them, unless the code itself names them.
var notFollowed = map[string]string{
	"python3-pkg-resources": "added for every package with entry points",
	"python3-setuptools":    "builds packages",
	"python3-pip":           "is a package manager",
	"python3-tk":            "needs a display",
	"python3-distutils":     "part of the standard library",
	"python3-pythran":       "a compiler that scipy's packaging names",
}

// isData says whether a package holds data for others: fonts, matplotlib's
// styles and images.
func isData(pkg string) bool {
	return strings.HasPrefix(pkg, "fonts-") ||
		strings.HasPrefix(pkg, "python") && strings.HasSuffix(pkg, "-data")
}

// notData are directories of data packages that mean nothing in a cell.
var notData = []string{
	"/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/lintian", "/usr/share/bug",
	"/usr/share/fontconfig", "/usr/share/metainfo", "/usr/share/applications", "/usr/share/icons",
	"/etc/fonts", "/etc/X11", "/etc/defoma",
}

// data returns the data files of the packages that pkg depends on, at any depth.
func (d *dpkg) data(pkg string) []string {
	var files []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(name string) {
		for _, dep := range d.requires(name) {
			if seen[dep] || !isData(dep) {
				continue
			}
			seen[dep] = true
			for _, f := range d.list(dep) {
				if !below(f, "/usr/share") && !below(f, "/etc") ||
					slices.ContainsFunc(notData, func(dir string) bool { return below(f, dir) }) {
					continue
				}
				files = append(files, f)
			}
			visit(dep)
		}
	}
	visit(pkg)
	return files
}
