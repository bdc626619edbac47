package escape

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// What code plants in its workspace, the host meets when it lists, brings out,
// brings in or deletes. It must refuse or skip it, never wait, and never leave
// the workspace and the session's folder.
func TestHostSideFiles(t *testing.T) { table(t, hostFileProbes) }

// inFolder wants exactly these names in the session's folder, and nothing
// beside it.
func inFolder(names ...string) func(*testing.T, *stage, executor.Result) {
	return func(t *testing.T, s *stage, _ executor.Result) {
		t.Helper()
		s.contained(t)
		var got []string
		for _, name := range s.list(t) {
			if base := filepath.Base(name); base != "script.py" && base != "<prelude>" {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("the folder holds %q, want %q", got, names)
		}
	}
}

// list gives the regular files and directories below the folder; anything else
// there is an error.
func (s *stage) list(t *testing.T) (names []string) {
	t.Helper()
	must(t, filepath.Walk(s.folder, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == s.folder {
			return err
		}
		if !info.Mode().IsRegular() && !info.IsDir() {
			t.Errorf("%s in the folder is %s", path, info.Mode())
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uint32(os.Geteuid()) || st.Mode&0o6000 != 0 {
			t.Errorf("%s belongs to %d with mode %o", path, st.Uid, st.Mode)
		}
		if info.Mode().IsRegular() {
			names = append(names, strings.TrimPrefix(path, s.folder+"/"))
		}
		return nil
	}))
	sort.Strings(names)
	return names
}

// contained: beside the folder there is nothing.
func (s *stage) contained(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(s.outside)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "folder" {
		t.Errorf("beside the folder: %v", entries)
	}
}

// again runs one more execution and wants it to take no longer than that.
func (s *stage) again(t *testing.T, code string) executor.Result {
	t.Helper()
	began := time.Now()
	r := s.run(t, s.session, executor.Request{Code: code})
	if took := time.Since(began); took > testkit.Paced(8*time.Second) {
		t.Errorf("the next execution took %s", took)
	}
	return r
}

// collected runs code and brings what it made to a directory of the host.
func (s *stage) collected(t *testing.T, code string, want ...string) {
	t.Helper()
	dir := t.TempDir()
	r := s.run(t, s.session, executor.Request{Code: code, Collect: dir})
	var got []string
	must(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && info.Name() != "script.py" {
			if !info.Mode().IsRegular() {
				t.Errorf("%s was collected as %s", path, info.Mode())
			}
			got = append(got, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("collected %q, want %q (%s)", got, want, r.Verdict)
	}
}

var hostFileProbes = []probe{
	{n: "29", name: "symbolic links of every kind", folder: true, code: `
os.symlink('/etc/passwd', 'passwd'); os.symlink('..', 'up'); os.symlink('up/up/up@CANARY@', 'far'); os.symlink('a', 'b'); os.symlink('b', 'a')
os.symlink('nowhere', 'dangling'); os.symlink('/proc/self/fd/3', 'magic'); os.symlink('@CANARY@/secret', 'secret'); os.symlink('plain', 'inner')
open('plain', 'w').write('x')
`, then: func(t *testing.T, s *stage, r executor.Result) {
		inFolder("plain")(t, s, r)
		s.collected(t, "import os\nos.symlink('/etc/passwd', 'again')\nopen('new', 'w').write('x')\nos.mkdir('d'); os.symlink('/etc', 'd/etc')", "new")
	}},
	{n: "30", name: "the host's file is not written through a link", folder: true, code: `
os.symlink('@CANARY@/secret', 'out.txt'); os.mkdir('d'); os.symlink('@CANARY@', 'd/l')
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		// The folder's own file of that name goes in over the link, by an upload.
		must(t, os.MkdirAll(s.folder+"/d/l", 0o755))
		must(t, os.WriteFile(s.folder+"/out.txt", []byte("from the host"), 0o644))
		must(t, os.WriteFile(s.folder+"/d/l/other", []byte("from the host"), 0o644))
		r, err := s.session.Execute(t.Context(), executor.Request{Code: "print(open('out.txt').read())"})
		if err == nil && !strings.Contains(r.Output, "from the host") {
			t.Errorf("out.txt: %q %s", r.Output, deref(r.Error))
		}
		os.RemoveAll(s.folder + "/d/l")
		s.again(t, "os.path.lexists('d/l') and os.unlink('d/l')")
	}},
	{n: "30", name: "links in the folder itself", folder: true, code: `
open('a', 'w').write('1'); os.makedirs('d/sub'); open('d/b', 'w').write('1'); open('d/sub/other', 'w').write('1')
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		// Someone on the host, or an earlier hole, puts links where the mirror writes.
		must(t, os.Remove(s.folder+"/a"))
		must(t, os.Symlink(s.canary+"/secret", s.folder+"/a"))
		must(t, os.RemoveAll(s.folder+"/d"))
		must(t, os.Symlink(s.canary, s.folder+"/d"))
		s.again(t, "open('a', 'w').write('2'); open('d/other', 'w').write('2'); open('d/sub/other', 'w').write('2'); open('d/b', 'w').write('2'); os.unlink('d/b')")
		os.Remove(s.folder + "/d")
		os.Remove(s.folder + "/a")
	}},
	{n: "31", name: "a directory and a link swapped in a race", folder: true, code: `
os.mkdir('d'); os.mkdir('e'); open('d/secret', 'w').write('mine')
os.symlink('@CANARY@', 'l')
pid = os.fork()
if pid == 0:
    try: os.close(3)
    except OSError: pass
    for _ in range(100_000):
        try:
            os.rename('d', 't'); os.rename('l', 'd'); os.rename('d', 'l'); os.rename('t', 'd')
        except OSError: pass
    os._exit(0)
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		for i := range 30 {
			dir := t.TempDir()
			r, err := s.session.Execute(t.Context(), executor.Request{Code: "for n in ('d', 'l'):\n    try: open(n + '/secret', 'w').write('mine %d' % " + string(rune('0'+i%10)) + ")\n    except OSError: pass", Collect: dir})
			if err == nil && r.Verdict != executor.VerdictOK {
				t.Errorf("%s %s", r.Verdict, deref(r.Error))
			}
			for _, top := range []string{dir, s.folder} {
				filepath.Walk(top, func(path string, info os.FileInfo, err error) error {
					if err == nil && info.Mode().IsRegular() {
						if b, _ := os.ReadFile(path); strings.Contains(string(b), "canary") {
							t.Errorf("%s holds %q", path, b)
						}
					}
					if err == nil && info.Mode()&os.ModeSymlink != 0 {
						t.Errorf("%s is a link", path)
					}
					return nil
				})
			}
			s.contained(t)
		}
		s.again(t, "import signal\nos.kill(pid, 9); os.waitpid(pid, 0)")
	}},
	{n: "32", name: "a FIFO is never waited for", folder: true, code: `
os.mkfifo('pipe'); os.mkdir('d'); os.mkfifo('d/out.csv'); open('z', 'w').write('x')
`, then: func(t *testing.T, s *stage, r executor.Result) {
		inFolder("z")(t, s, r)
		s.collected(t, "os.unlink('z'); os.mkfifo('z'); open('y', 'w').write('x')", "y")
		inFolder("y")(t, s, r)
	}},
	{n: "33", name: "sockets and devices", folder: true, code: `
a, b = socket.socketpair()
print(E(a.bind, 'sock'), E(os.mknod, 'sock', 0o140666), E(os.mknod, 'null', 0o020666, os.makedev(1, 3)), E(os.mknod, 'sda', 0o060666, os.makedev(8, 0)))
for n in ('fd', 'stdin'): os.symlink('/dev/' + n, n)
`, want: "EPERM EPERM EPERM EPERM", then: inFolder()},
	{n: "34", name: "a lease does not stall the host", folder: true, code: `
import fcntl
f = open('leased', 'w+'); f.write('x'); f.flush()
print(E(fcntl.fcntl, f, 1024, 1), E(fcntl.fcntl, f, 1024, 0), E(fcntl.fcntl, os.open('.', 0), 1026, 1))
fcntl.lockf(f, fcntl.LOCK_EX); fcntl.flock(f, fcntl.LOCK_EX)
`, want: "EINVAL EINVAL EINVAL", then: inFolder("leased")},
	{n: "35", name: "a sparse giant", folder: true, code: `
f = open('sparse', 'w')
print(E(f.truncate, 1 << 50), E(f.truncate, 1 << 30), S('fallocate', f.fileno(), 0, 0, 1 << 40), E(f.truncate, 15 << 20))
os.pwrite(f.fileno(), b'x', (15 << 20) - 1)
`, want: "EFBIG EFBIG EFBIG ok", match: true, then: func(t *testing.T, s *stage, r executor.Result) {
		inFolder("sparse")(t, s, r)
		var st syscall.Stat_t
		must(t, syscall.Stat(s.folder+"/sparse", &st))
		if st.Blocks*512 > 1<<20 {
			t.Errorf("the hole takes %d bytes of the host's disk", st.Blocks*512)
		}
	}},
	{n: "36", name: "a file that grows and shrinks while it is read", folder: true, code: `
pid = os.fork()
if pid == 0:
    try: os.close(3)
    except OSError: pass
    while True:
        with open('wild', 'wb', 0) as f:
            for i in range(8): f.write(bytes(1 << 20))
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		for range 10 {
			s.again(t, "1")
		}
		s.contained(t)
		s.again(t, "os.kill(pid, 9); os.waitpid(pid, 0)")
		if st, err := os.Stat(s.folder + "/wild"); err == nil && st.Size() > 16<<20 {
			t.Errorf("wild has %d bytes", st.Size())
		}
	}},
	{n: "37", name: "odd names", folder: true, code: `
for n in (b'new\nline', b'\x1b[2J', b'\xff\xfe', b'-rf', b' ', b'a' * 255, '\u202e'.encode(), b'...', b'%2e%2e', b'~', b'$(id)', b'*'): open(n, 'w').write('x')
`, then: func(t *testing.T, s *stage, r executor.Result) {
		s.contained(t)
		if n := len(s.list(t)); n < 12 || len(r.Files) < 12 {
			t.Errorf("%d of 12 names arrived, %d are in the result", n, len(r.Files))
		}
	}},
	{n: "38", name: "names in a request", folder: true, code: `print(1)`, want: "1", then: func(t *testing.T, s *stage, _ executor.Result) {
		src := s.dir + "/input"
		must(t, os.WriteFile(src, []byte("input"), 0o644))
		defer os.Remove(src)
		for _, name := range []string{"../x", "/x", "a/../../x", "a\x00b", "..", ".", "", "x/", strings.Repeat("n", 300), strings.Repeat("d/", 3000) + "x"} {
			_, err := s.session.Execute(t.Context(), executor.Request{Code: "1", InputFiles: map[string]string{src: name}})
			if err == nil && name != "" && name != "x/" {
				t.Errorf("the name %q was taken", clip(name))
			}
		}
		for _, id := range []string{"../../x", "/x", "a/b", "a\x00", "", ".x", strings.Repeat("i", 65), "%2e%2e/x", "a\n"} {
			if id == "" {
				continue
			}
			if _, err := s.ex.NewSession(t.Context(), executor.SessionOptions{ID: id}); err == nil {
				t.Errorf("the id %q was taken", clip(id))
			}
			if _, err := s.ex.Execute(t.Context(), executor.Request{Code: "1", SessionID: id}); err == nil {
				t.Errorf("the id %q was taken", clip(id))
			}
		}
		for _, stage := range []string{"../x", "a/b", "a.b", strings.Repeat("s", 65)} {
			if _, err := s.session.Execute(t.Context(), executor.Request{Code: "1", StageName: stage}); err == nil {
				t.Errorf("the stage %q was taken", clip(stage))
			}
		}
		s.contained(t)
	}},
	{n: "39", name: "directories very deep", folder: true, code: `
n = 0
try:
    for n in range(3000): os.mkdir('d'); os.chdir('d')
except OSError as e: print(errno.errorcode[e.errno])
for d in range(200): os.chdir('..'); os.rmdir('d')
open('deep', 'w').write('x'); os.chdir('/workspace'); open('top', 'w').write('x')
`, want: "ENOSPC", then: func(t *testing.T, s *stage, _ executor.Result) {
		s.contained(t)
		if _, err := os.Stat(s.folder + "/top"); err != nil {
			t.Error(err)
		}
		s.again(t, "1")
	}},
	{n: "40", name: "as many entries as there can be", folder: true, code: `
n = 0
try:
    for n in range(10**6): os.symlink('x', '%d' % n)
except OSError as e: print(errno.errorcode[e.errno], n < 2000)
for i in range(n): os.unlink('%d' % i)
f = open('f', 'w'); f.close()
try:
    for n in range(10**6): os.link('f', 'h%d' % n)
except OSError as e: print(errno.errorcode[e.errno])
`, match: true, want: "ENOSPC True", within: 20 * time.Second, then: func(t *testing.T, s *stage, _ executor.Result) { s.again(t, "1") }},
	{n: "41", name: "trees that nobody may read", folder: true, alone: true, code: `
os.mkdir('shut'); open('shut/x', 'w').write('x'); open('closed', 'w').write('x'); os.chmod('closed', 0); os.chmod('shut', 0)
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		s.contained(t)
		s.again(t, "os.chmod('shut', 0o700); open('shut/y', 'w').write('x'); os.chmod('.', 0)")
		s.again(t, "os.chmod('.', 0o700)")
		must(t, os.RemoveAll(s.folder)) // the folder can be deleted as it is
	}},
	{n: "42", name: "one file under ten thousand names", folder: true, code: `
open('f', 'wb').write(bytes(1 << 20))
n = 0
try:
    for n in range(10_000): os.link('f', 'l%d' % n)
except OSError as e: print(errno.errorcode[e.errno], n < 2000)
`, want: "ENOSPC True", within: 20 * time.Second, then: func(t *testing.T, s *stage, _ executor.Result) {
		total := int64(0)
		filepath.Walk(s.folder, func(_ string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
			return nil
		})
		if total > 17<<20 {
			t.Errorf("%d bytes came out of a workspace of 16 MiB", total)
		}
	}},
}
