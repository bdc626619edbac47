package rootfs

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// An object is what the loader reads of an ELF file.
type object struct {
	class   elf.Class
	machine elf.Machine
	interp  string
	needed  []string
	rpath   []string // DT_RPATH, only when there is no DT_RUNPATH
	runpath []string
}

func readObject(r io.ReaderAt) (*object, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	o := &object{class: f.Class, machine: f.Machine}
	for _, prog := range f.Progs {
		if prog.Type != elf.PT_INTERP || prog.Filesz > 4096 {
			continue
		}
		data := make([]byte, prog.Filesz)
		if _, err := prog.ReadAt(data, 0); err != nil {
			return nil, err
		}
		o.interp = string(bytes.TrimRight(data, "\x00"))
	}
	if o.needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return o, nil // a static program has no dynamic section
	}
	o.runpath = splitPath(f, elf.DT_RUNPATH)
	if o.runpath == nil {
		o.rpath = splitPath(f, elf.DT_RPATH)
	}
	return o, nil
}

func splitPath(f *elf.File, tag elf.DynTag) (dirs []string) {
	values, _ := f.DynString(tag)
	for _, v := range values {
		for d := range strings.SplitSeq(v, ":") {
			if d != "" {
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}

// expand puts the object's own directory into a search path. $LIB and
// $PLATFORM differ by loader and are not used by Python packages.
func expand(dirs []string, origin string) (out []string) {
	for _, d := range dirs {
		d = strings.ReplaceAll(strings.ReplaceAll(d, "${ORIGIN}", origin), "$ORIGIN", origin)
		if path.IsAbs(d) && !strings.Contains(d, "$") {
			out = append(out, path.Clean(d))
		}
	}
	return out
}

// dlopened are libraries that no DT_NEEDED names and glibc opens by itself.
var dlopened = map[string]string{
	"libgcc_s.so.1":     "pthread_cancel and pthread_exit unwind with it",
	"libnss_files.so.2": "getpwuid before glibc 2.34",
}

var sharedObject = lazily(`\.so(\.[0-9][0-9A-Za-z.]*)?$`)

// linker finds libraries twice: where the host's loader takes them from, and
// whether the root's loader will find them. There is no ld.so.cache in a root,
// so what is not found through a relative path goes where the loader looks by
// itself, which is where libc lies.
type linker struct {
	*planner
	cache    map[string][]string
	program  *object  // the interpreter
	libdir   string   // in the root
	defaults []string // on the host
	wanted   map[string]bool
}

// libraries plans the closure of shared libraries of everything planned so far.
func (p *planner) libraries() error {
	l := &linker{planner: p, wanted: map[string]bool{}}
	if data, err := p.h.readFile("/etc/ld.so.cache"); err == nil {
		// A cache that cannot be read leaves the standard directories.
		if l.cache, err = parseLdCache(data); err != nil {
			p.warn("/etc/ld.so.cache: %v", err)
		}
	}
	if err := l.openProgram(); err != nil {
		return err
	}
	var queue []*Entry
	for _, e := range p.entries {
		if e.Kind == File && (e.Exec || sharedObject().MatchString(path.Base(e.Path))) {
			queue = append(queue, e)
		}
	}
	slices.SortFunc(queue, func(a, b *Entry) int { return strings.Compare(a.Path, b.Path) })
	for _, name := range slices.Sorted(maps.Keys(dlopened)) {
		if e := l.add(name, nil, ""); e != nil {
			queue = append(queue, e)
		}
	}
	for len(queue) > 0 {
		e := queue[0]
		more, err := l.needs(e)
		if err != nil {
			return err
		}
		queue = append(queue[1:], more...)
		if strings.HasPrefix(path.Base(e.Path), "libcrypto.so") {
			if err := l.cryptoModules(path.Dir(e.Source)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cryptoModules plans what libcrypto opens by itself: the provider of the
// older ciphers, without which cryptography cannot be imported. They need
// nothing but libcrypto and libc.
func (l *linker) cryptoModules(dir string) error {
	if dir = path.Join(dir, "ossl-modules"); !l.h.isDir(dir) {
		return nil
	}
	return l.tree(dir, path.Join(l.libdir, "ossl-modules"), keepSources)
}

// openProgram reads the interpreter, plans the loader at the path the
// interpreter names, and finds the directory of libc.
func (l *linker) openProgram() error {
	e := l.entries[l.plan.Python]
	o, err := l.read(e)
	if err != nil {
		return err
	}
	if o == nil {
		return fmt.Errorf("%w: %q is not an ELF program", ErrPython, e.Source)
	}
	l.program = o
	if o.interp == "" {
		return fmt.Errorf("%w: %q is linked statically and cannot load extension modules", ErrPython, e.Source)
	}
	loader, _, err := l.h.stat(o.interp)
	if err != nil {
		return fmt.Errorf("cannot find the loader of %q: %w", e.Source, err)
	}
	l.put(Entry{Path: l.rootPath(o.interp), Kind: File, Source: loader, Exec: true})
	l.witness(loader)
	l.wanted[path.Base(o.interp)] = true // named by libc, and loaded already

	l.defaults = []string{path.Dir(loader), "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	for _, n := range append([]string{"libc.so.6"}, o.needed...) {
		if !strings.HasPrefix(n, "libc.") {
			continue
		}
		if libc := l.onHost(n, o, path.Dir(e.Source)); libc != "" {
			l.libdir = l.rootPath(path.Dir(libc))
			l.defaults = append([]string{path.Dir(libc)}, l.defaults...)
			return nil
		}
	}
	return fmt.Errorf("cannot find the C library that %q needs", e.Source)
}

// read returns nil without an error for a file that is no ELF object, such as
// a linker script with the name of a library: it cannot be loaded anyway.
func (l *linker) read(e *Entry) (*object, error) {
	var r io.ReaderAt = bytes.NewReader(e.Content)
	if e.Source != "" {
		file, c, err := l.h.readerAt(e.Source)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		r = file
	}
	o, err := readObject(r)
	if err != nil {
		return nil, nil
	}
	return o, nil
}

// needs plans what one object needs and returns what was new.
func (l *linker) needs(e *Entry) ([]*Entry, error) {
	o, err := l.read(e)
	if err != nil {
		return nil, fmt.Errorf("cannot read the libraries %q needs: %w", e.Path, err)
	}
	if o == nil || o.class != l.program.class || o.machine != l.program.machine {
		return nil, nil
	}
	var added []*Entry
	for _, name := range o.needed {
		if l.inRoot(name, o, path.Dir(e.Path)) {
			continue
		}
		origin := ""
		if e.Source != "" {
			origin = path.Dir(e.Source)
		}
		if lib := l.add(name, o, origin); lib != nil {
			added = append(added, lib)
		} else if !l.wanted[name] {
			l.warn("%s needs %s, which is not installed: it cannot be loaded", e.Path, name)
		}
	}
	return added, nil
}

// search lists the directories the loader looks in before the system's.
func (l *linker) search(o *object, origin, programDir string) []string {
	var dirs []string
	if o != nil && o.runpath == nil {
		dirs = append(expand(o.rpath, origin), expand(l.program.rpath, programDir)...)
	}
	if o != nil {
		dirs = append(dirs, expand(o.runpath, origin)...)
	}
	return dirs
}

// inRoot says whether the root's loader finds the library among what is planned.
func (l *linker) inRoot(name string, o *object, origin string) bool {
	if l.wanted[name] {
		return true
	}
	dirs := append(l.search(o, origin, path.Dir(l.plan.Python)), l.libdir)
	return slices.ContainsFunc(dirs, func(dir string) bool {
		e := l.entries[path.Join(dir, name)]
		return e != nil && e.Kind == File
	})
}

// onHost finds the file the host's loader would take, or "".
func (l *linker) onHost(name string, o *object, origin string) string {
	var candidates []string
	if strings.Contains(name, "/") {
		candidates = []string{name}
	} else {
		for _, dir := range l.search(o, origin, path.Dir(l.in.Executable)) {
			candidates = append(candidates, path.Join(dir, name))
		}
		candidates = append(candidates, l.cache[name]...)
		for _, dir := range l.defaults {
			candidates = append(candidates, path.Join(dir, name))
		}
	}
	for _, c := range candidates {
		if !path.IsAbs(c) || !l.h.isFile(c) {
			continue
		}
		r, closer, err := l.h.readerAt(c)
		if err != nil {
			continue
		}
		lib, err := readObject(r)
		closer.Close()
		if err == nil && lib.class == l.program.class && lib.machine == l.program.machine {
			return c
		}
	}
	return ""
}

// add plans a library of the host under the name that is asked for: Debian's
// libblas.so.3 is a link over /etc/alternatives to a directory of its own.
func (l *linker) add(name string, o *object, origin string) *Entry {
	found := l.onHost(name, o, origin)
	if found == "" {
		return nil
	}
	real, err := l.h.resolve(found)
	if err != nil {
		return nil
	}
	l.wanted[name] = true
	l.witness(found)
	file := path.Join(l.libdir, path.Base(name))
	l.put(Entry{Path: file, Kind: File, Source: real})
	return l.entries[file]
}
