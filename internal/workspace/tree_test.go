package workspace

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// FuzzTree makes a tree of whatever the bytes say, on both sides, and copies:
// afterwards the regular files are there, nothing else is new, and nothing
// outside was touched.
func FuzzTree(f *testing.F) {
	f.Add([]byte("fa1fb2"), []byte(""))
	f.Add([]byte("da fa/1la/x"), []byte("la"))
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13"), []byte("\x10\x20\x30\x40\x50\x60"))
	f.Add(bytes.Repeat([]byte("\x41\x83\x1c\x77\x09\xe2\x5a"), 12), bytes.Repeat([]byte("\x93\x05\xcc\x7f"), 9))
	f.Fuzz(func(t *testing.T, cell, host []byte) {
		p, out, outside := newPlace(t), newPlace(t), newPlace(t)
		outside.write(t, "canary", "alive")
		grow(p, cell, outside.path)
		grow(out, host, outside.path)
		links := linksOf(t, out)
		s := p.snap(t, Limits{})
		r := copyAll(t, p, out, Limits{})
		if len(r.Copied)+len(r.Skipped) != len(s.Files) {
			t.Fatalf("%d files, %+v", len(s.Files), r)
		}
		for _, path := range r.Copied {
			var st syscall.Stat_t
			must(t, syscall.Lstat(out.at(path), &st))
			if st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Mode&0o7000 != 0 || out.read(t, path) != p.read(t, path) {
				t.Fatalf("%q is not what was copied (mode %o)", path, st.Mode)
			}
		}
		for link := range linksOf(t, out) {
			if !links[link] {
				t.Fatalf("%q: a link was made", link)
			}
		}
		same(t, "outside", outside.names(t), "canary")
		if outside.read(t, "canary") != "alive" {
			t.Fatal("the canary is dead")
		}
		must(t, out.Empty(t.Context()))
		same(t, "after Empty", out.names(t))
		same(t, "outside", outside.names(t), "canary")
	})
}

// grow makes one thing of each pair of bytes; what does not work is left out.
func grow(p place, program []byte, outside string) {
	names := []string{"a", "b", "c\n", "\xff", "-d", "a/b", "a/c", "b/a", "a/b/c", "\xff/x", "b/a/a", ".e"}
	targets := []string{outside, outside + "/canary", "..", "a", "../..", "/", "nowhere", "b/a", outside + "/new"}
	for i := 0; i+1 < len(program) && i < 200; i += 2 {
		path := p.at(names[int(program[i])%len(names)])
		arg := int(program[i+1])
		if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err != nil || dir != filepath.Dir(path) {
			continue // the test itself stays inside
		}
		switch arg % 7 {
		case 0, 1:
			writeFile(path, fmt.Sprint(arg))
		case 2:
			os.Mkdir(path, 0o755)
		case 3, 4:
			os.Symlink(targets[arg/7%len(targets)], path)
		case 5:
			syscall.Mkfifo(path, 0o644)
		case 6:
			os.Remove(path)
		}
	}
}

func writeFile(path, content string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o6755)
	if err == nil {
		f.WriteString(content)
		f.Close()
	}
}

func linksOf(t *testing.T, p place) map[string]bool {
	links := map[string]bool{}
	for _, name := range p.names(t) {
		if st, err := os.Lstat(p.at(name)); err == nil && st.Mode()&os.ModeSymlink != 0 {
			links[name] = true
		}
	}
	return links
}

// FuzzDirents: the kernel is trusted, a mistake in our arithmetic is not.
func FuzzDirents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x18\x00\x08abcd\x00"))
	f.Fuzz(func(t *testing.T, buf []byte) {
		for len(buf) > 0 {
			name, _, rest := nextDirent(buf)
			if name == nil {
				return
			}
			if name[len(name)-1] != 0 || bytes.IndexByte(name, 0) != len(name)-1 || len(rest) >= len(buf) {
				t.Fatalf("%q, %d of %d bytes left", name, len(rest), len(buf))
			}
			buf = rest
		}
	})
}
