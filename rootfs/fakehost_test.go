package rootfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// fakeHost is a machine held in memory: path → content; a content that begins
// with "-> " is a link.
type fakeHost map[string]string

func (f fakeHost) fs() fs.FS {
	m := fstest.MapFS{}
	for p, content := range f {
		file := &fstest.MapFile{Data: []byte(content), Mode: 0o644}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			file.Data, file.Mode = []byte(target), fs.ModeSymlink|0o777
		}
		if p == "/etc/shadow" {
			file.Mode = 0o600
		}
		m[strings.TrimPrefix(p, "/")] = file
	}
	return m
}

func (f fakeHost) with(more fakeHost) fakeHost {
	out := fakeHost{}
	for _, m := range []fakeHost{f, more} {
		for p, c := range m {
			out[p] = c
		}
	}
	return out
}

// elfFile writes the smallest ELF object that names what the loader reads.
func elfFile(interp string, needed []string, runpath string) string {
	var str bytes.Buffer
	str.WriteByte(0)
	text := func(s string) uint64 {
		at := str.Len()
		str.WriteString(s + "\x00")
		return uint64(at)
	}
	var dyn []elf.Dyn64
	for _, n := range needed {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: text(n)})
	}
	if runpath != "" {
		dyn = append(dyn, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: text(runpath)})
	}
	dyn = append(dyn, elf.Dyn64{})
	interp += "\x00"
	var dynData bytes.Buffer
	binary.Write(&dynData, binary.LittleEndian, dyn)

	const header, prog, section = 64, 56, 64
	interpAt := uint64(header + prog)
	strAt := interpAt + uint64(len(interp))
	dynAt := strAt + uint64(str.Len())
	sectionsAt := dynAt + uint64(dynData.Len())
	h := elf.Header64{
		Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: header, Shoff: sectionsAt,
		Ehsize: header, Phentsize: prog, Phnum: 1, Shentsize: section, Shnum: 3, Shstrndx: 1,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	progType := elf.PT_INTERP
	if interp == "\x00" {
		progType = elf.PT_NULL
	}
	var out bytes.Buffer
	for _, v := range []any{
		h,
		elf.Prog64{Type: uint32(progType), Off: interpAt, Filesz: uint64(len(interp)), Memsz: uint64(len(interp))},
		[]byte(interp), str.Bytes(), dynData.Bytes(),
		elf.Section64{},
		elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: strAt, Size: uint64(str.Len())},
		elf.Section64{Type: uint32(elf.SHT_DYNAMIC), Off: dynAt, Size: uint64(dynData.Len()), Link: 1, Entsize: 16},
	} {
		binary.Write(&out, binary.LittleEndian, v)
	}
	return out.String()
}

func lib(needed ...string) string { return elfFile("", needed, "") }

const loaderPath = "/lib64/ld-linux-x86-64.so.2"

// debianHost has the layout of a Debian: merged /usr, /usr/bin/python3.11.
var debianHost = fakeHost{
	"/lib":                            "-> usr/lib",
	"/lib64":                          "-> usr/lib64",
	"/usr/lib64/ld-linux-x86-64.so.2": "-> /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
	"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2":                   lib(),
	"/usr/lib/x86_64-linux-gnu/libc.so.6":                              lib("ld-linux-x86-64.so.2"),
	"/usr/lib/x86_64-linux-gnu/libgcc_s.so.1":                          lib("libc.so.6"),
	"/usr/lib/x86_64-linux-gnu/libz.so.1":                              "-> libz.so.1.2.13",
	"/usr/lib/x86_64-linux-gnu/libz.so.1.2.13":                         lib("libc.so.6"),
	"/usr/lib/x86_64-linux-gnu/libtk.so.1":                             lib(),
	"/usr/bin/python3":                                                 "-> python3.11",
	"/usr/bin/python3.11":                                              elfFile(loaderPath, []string{"libz.so.1", "libc.so.6"}, ""),
	"/usr/bin/sh":                                                      "shell",
	"/usr/lib/python3.11/os.py":                                        "# os",
	"/usr/lib/python3.11/__pycache__/os.pyc":                           "old",
	"/usr/lib/python3.11/test/support.py":                              "",
	"/usr/lib/python3.11/tkinter/__init__.py":                          "",
	"/usr/lib/python3.11/unittest/case.py":                             "",
	"/usr/lib/python3.11/unittest/test/test_case.py":                   "",
	"/usr/lib/python3.11/sitecustomize.py":                             "-> /etc/python3.11/sitecustomize.py",
	"/usr/lib/python3.11/config-3.11-x/install-sh":                     "#!/bin/sh",
	"/usr/lib/python3.11/lib-dynload/_ssl.cpython.so":                  lib("libssl.so.3", "libc.so.6"),
	"/usr/lib/python3.11/lib-dynload/_tkinter.x.so":                    lib("libtk.so.1"),
	"/usr/lib/python3.11/lib-dynload/_testcapi.x.so":                   lib(),
	"/usr/lib/ssl3/libssl.so.3":                                        lib("libc.so.6"),
	"/etc/python3.11/sitecustomize.py":                                 "",
	"/etc/shadow":                                                      "secret",
	"/etc/ld.so.cache":                                                 ldCache(map[string]string{"libc.so.6": "/lib/x86_64-linux-gnu/libc.so.6", "libssl.so.3": "/usr/lib/ssl3/libssl.so.3"}),
	"/usr/share/zoneinfo/UTC":                                          "TZif",
	"/usr/share/zoneinfo/Etc/UTC":                                      "-> ../UTC",
	"/usr/share/zoneinfo/right/UTC":                                    "TZif",
	"/usr/lib/python3/dist-packages/six.py":                            "",
	"/usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO":      "Name: six\nVersion: 1.16.0\n",
	"/usr/lib/python3/dist-packages/six-1.16.0.egg-info/top_level.txt": "six\n",
	"/usr/lib/python3/dist-packages/hook.pth":                          "import hook",
}

var debianPython = Interpreter{
	Path: "/usr/bin/python3", Executable: "/usr/bin/python3.11", Version: [3]int{3, 11, 2}, Implementation: "cpython",
	CacheTag: "cpython-311", Prefix: "/usr", ExecPrefix: "/usr", Stdlib: "/usr/lib/python3.11",
	Dynload: "/usr/lib/python3.11/lib-dynload",
	Site:    []string{"/usr/local/lib/python3.11/dist-packages", "/usr/lib/python3/dist-packages"},
	Modules: []string{"json", "os", "sys", "tkinter"},
}

// ownHost has a Python somewhere in a home directory, linked to its own libpython.
var ownHost = debianHost.with(fakeHost{
	"/home/u/py/bin/python3.12":                           elfFile(loaderPath, []string{"libpython3.12.so.1.0", "libc.so.6"}, "/home/u/py/lib"),
	"/home/u/py/lib/libpython3.12.so.1.0":                 lib("libc.so.6"),
	"/home/u/py/lib/python3.12/os.py":                     "",
	"/home/u/py/lib/python3.12/_sysconfigdata__linux_.py": "build_time_vars = {'prefix': '/home/u/py'}",
})

var ownPython = Interpreter{
	Path: "/home/u/py/bin/python3.12", Executable: "/home/u/py/bin/python3.12", Version: [3]int{3, 12, 1}, Implementation: "cpython",
	CacheTag: "cpython-312", Prefix: "/home/u/py", ExecPrefix: "/home/u/py", Stdlib: "/home/u/py/lib/python3.12",
	Site: []string{"/home/u/py/lib/python3.12/site-packages"},
}

// ldCache writes a cache of the newer format.
func ldCache(libs map[string]string) string {
	var names []string
	for n := range libs {
		names = append(names, n)
	}
	slices.Sort(names)
	var entries, text bytes.Buffer
	at := uint32(48 + 24*len(libs))
	put := func(s string) uint32 {
		off := at + uint32(text.Len())
		text.WriteString(s + "\x00")
		return off
	}
	for _, n := range names {
		binary.Write(&entries, binary.NativeEndian, []uint32{0x303, put(n), put(libs[n]), 0, 0, 0})
	}
	head := make([]byte, 48)
	copy(head, "glibc-ld.so.cache1.1")
	binary.NativeEndian.PutUint32(head[20:], uint32(len(libs)))
	binary.NativeEndian.PutUint32(head[24:], uint32(text.Len()))
	return string(head) + entries.String() + text.String()
}

func plan(t *testing.T, h fakeHost, in Interpreter, spec Spec) *Plan {
	t.Helper()
	if spec.Python == "" {
		spec.Python = in.Path
	}
	p, err := NewPlan(h.fs(), &in, spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// files lists the plan's files and links below dir as "path" or "path < source".
func (p *Plan) files(dir string) (out []string) {
	for _, e := range p.Entries {
		if e.Kind == Dir || !below(e.Path, dir) {
			continue
		}
		s := e.Path
		if e.Source != "" && e.Source != e.Path {
			s += " < " + e.Source
		}
		if e.Kind == Link {
			s += " -> " + e.Target
		}
		out = append(out, s)
	}
	return out
}

func (p *Plan) entry(file string) *Entry {
	for i := range p.Entries {
		if p.Entries[i].Path == path.Clean(file) {
			return &p.Entries[i]
		}
	}
	return nil
}
